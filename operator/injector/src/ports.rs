//! Which ports a sidecar takes: a pod has one network, and its containers share it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    annotation::{Overrides, Warnings},
    pod,
};

/// First port that needs no privileges.
const FIRST: u16 = 1024;

/// Ports of one sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ChosenPorts {
    pub(crate) http: u16,
    pub(crate) grpc: u16,
    pub(crate) health: u16,
}

impl ChosenPorts {
    /// The wanted ports, or the next ones that no other container of the pod declares.
    pub(crate) fn choose(
        pod: &Value,
        sidecar: &str,
        profile: &flipt_crds::Ports,
        overrides: &Overrides,
        warnings: &mut Warnings,
    ) -> Self {
        let mut taken = declared(pod, sidecar);
        let mut choose = |what: &str, wanted: Option<u16>, default: i32| {
            let wanted = wanted.or_else(|| u16::try_from(default).ok()).unwrap_or(FIRST);
            let port = next_free(wanted, &taken);
            if let Some(owner) = taken.get(&wanted) {
                warnings.push(format!(
                    "port {wanted} is used by {owner}: the sidecar listens for {what} on {port}"
                ));
            }
            taken.insert(port, format!("the sidecar for {what}"));
            port
        };
        Self {
            http: choose("http", overrides.http_port, profile.http),
            grpc: choose("grpc", overrides.grpc_port, profile.grpc),
            health: choose("health", overrides.health_port, profile.health),
        }
    }
}

/// Ports that other containers declare, or are probed on, and whose they are.
fn declared(pod: &Value, sidecar: &str) -> BTreeMap<u16, String> {
    let mut taken = BTreeMap::new();
    for container in pod::containers_except(pod, sidecar) {
        let declared = pod::items(container, "ports")
            .iter()
            .flat_map(|port| [&port["containerPort"], &port["hostPort"]]);
        let probed = ["startupProbe", "readinessProbe", "livenessProbe"].into_iter().flat_map(|probe| {
            ["httpGet", "tcpSocket", "grpc"].into_iter().map(move |kind| &container[probe][kind]["port"])
        });
        for port in
            declared.chain(probed).filter_map(Value::as_u64).filter_map(|port| u16::try_from(port).ok())
        {
            taken.entry(port).or_insert_with(|| format!("container {}", pod::name(container)));
        }
    }
    taken
}

fn next_free(wanted: u16, taken: &BTreeMap<u16, String>) -> u16 {
    (wanted..=u16::MAX).chain(FIRST..wanted).find(|port| !taken.contains_key(port)).unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_that_the_pod_uses_is_left_to_it() {
        let pod = json!({"spec": {
            "containers": [
                {"name": "app", "ports": [{"containerPort": 18080}, {"containerPort": 18081, "hostPort": 19000}]},
                {"name": "web", "livenessProbe": {"httpGet": {"port": 18082}}, "readinessProbe": {"tcpSocket": {"port": "named"}}},
            ],
            "initContainers": [{"name": "flipt-sidecar", "ports": [{"containerPort": 18083}]}],
        }});
        let mut warnings = Warnings::default();
        let chosen = ChosenPorts::choose(
            &pod,
            "flipt-sidecar",
            &flipt_crds::Ports::default(),
            &Overrides::default(),
            &mut warnings,
        );
        assert_eq!(chosen, ChosenPorts { http: 18083, grpc: 19001, health: 18084 });
        let warnings = warnings.into_vec();
        assert_eq!(warnings.len(), 3);
        assert!(warnings[0].contains("container app") && warnings[0].contains("18083"), "{warnings:?}");
    }

    #[test]
    fn three_ports_are_three_whatever_a_pod_asks_for() {
        let overrides = Overrides {
            http_port: Some(65535),
            grpc_port: Some(65535),
            health_port: Some(65535),
            ..Overrides::default()
        };
        let chosen = ChosenPorts::choose(
            &json!({}),
            "flipt-sidecar",
            &flipt_crds::Ports::default(),
            &overrides,
            &mut Warnings::default(),
        );
        assert_eq!(chosen, ChosenPorts { http: 65535, grpc: 1024, health: 1025 });
    }
}
