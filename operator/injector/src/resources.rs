//! How much of a node a sidecar gets, so that its pod keeps its class of service and its autoscaler.

use std::collections::BTreeMap;

use flipt_crds::Resources;
use serde_json::{Value, json};

use crate::{
    annotation::{Overrides, Warnings},
    pod, quantity,
};

/// What has to be requested, and how much of it when nobody says. An autoscaler that goes by utilisation does nothing
/// for a pod with a container that requests none.
const REQUESTED: [(&str, &str); 2] = [("cpu", "10m"), ("memory", "32Mi")];

/// Resources of the sidecar in this pod.
pub(crate) fn choose(
    pod: &Value,
    sidecar: &str,
    profile: &Resources,
    overrides: &Overrides,
    warnings: &mut Warnings,
) -> Value {
    let amounts = |list: &BTreeMap<String, _>, cpu: &Option<String>, memory: &Option<String>| {
        let mut amounts: BTreeMap<String, String> = list
            .iter()
            .map(|(name, amount): (&String, &k8s_openapi::apimachinery::pkg::api::resource::Quantity)| {
                (name.clone(), amount.0.clone())
            })
            .collect();
        for (name, amount) in [("cpu", cpu), ("memory", memory)] {
            if let Some(amount) = amount {
                amounts.insert(name.to_owned(), amount.clone());
            }
        }
        amounts
    };
    let mut requests = amounts(&profile.requests, &overrides.cpu_request, &overrides.memory_request);
    let mut limits = amounts(&profile.limits, &overrides.cpu_limit, &overrides.memory_limit);
    let limit_is_asked_for = [("cpu", &overrides.cpu_limit), ("memory", &overrides.memory_limit)];

    for (name, default) in REQUESTED {
        let request = requests
            .entry(name.to_owned())
            .or_insert_with(|| limits.get(name).cloned().unwrap_or_else(|| default.to_owned()));
        let Some(limit) = limits.get_mut(name) else { continue };
        if quantity::parse(request) > quantity::parse(limit) {
            // The API server would refuse the pod.
            if limit_is_asked_for.iter().any(|(asked, by)| *asked == name && by.is_some()) {
                warnings.push(format!(
                    "the sidecar's {name} request {request} is above its limit: {limit} is requested"
                ));
                request.clone_from(limit);
            } else {
                warnings.push(format!(
                    "the sidecar's {name} request {request} is above its limit {limit}, which is raised"
                ));
                limit.clone_from(request);
            }
        }
    }
    if is_guaranteed(pod, sidecar) {
        for (name, _) in REQUESTED {
            let amount = limits.get(name).or_else(|| requests.get(name)).cloned().unwrap_or_default();
            requests.insert(name.to_owned(), amount.clone());
            limits.insert(name.to_owned(), amount);
        }
    }
    // Where the pod as a whole has an amount, it is for all its containers, and theirs must fit into it.
    for (name, _) in REQUESTED {
        let whole = &pod["spec"]["resources"];
        if !whole["requests"][name].is_null() || !whole["limits"][name].is_null() {
            requests.remove(name);
            limits.remove(name);
        }
    }
    json!({ "requests": requests, "limits": limits })
}

/// Whether every other container is guaranteed what it may use.
fn is_guaranteed(pod: &Value, sidecar: &str) -> bool {
    pod::containers_except(pod, sidecar).all(|container| {
        REQUESTED.iter().all(|(name, _)| {
            let limit = amount(&container["resources"]["limits"][*name]);
            let request = &container["resources"]["requests"][*name];
            limit.is_some() && (request.is_null() || amount(request) == limit)
        })
    })
}

fn amount(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => quantity::parse(text),
        Value::Number(number) => quantity::parse(&number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(requests: Value, limits: Value) -> Resources {
        serde_json::from_value(json!({"requests": requests, "limits": limits})).unwrap()
    }

    fn chosen(pod: &Value, profile: &Resources, overrides: &Overrides) -> (Value, Vec<String>) {
        let mut warnings = Warnings::default();
        let chosen = choose(pod, "flipt-sidecar", profile, overrides, &mut warnings);
        (chosen, warnings.into_vec())
    }

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "app", "resources": resources}]}})
    }

    #[test]
    fn cpu_and_memory_are_always_requested() {
        let (chosen, warnings) =
            chosen(&pod(json!({})), &resources(json!({}), json!({"memory": "64Mi"})), &Overrides::default());
        assert_eq!(chosen["requests"], json!({"cpu": "10m", "memory": "64Mi"}));
        assert_eq!(chosen["limits"], json!({"memory": "64Mi"}));
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_guaranteed_pod_stays_guaranteed() {
        let profile =
            resources(json!({"cpu": "10m", "memory": "32Mi"}), json!({"cpu": "500m", "memory": "96Mi"}));
        let guaranteed =
            json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        let (chosen, _) = chosen(&pod(guaranteed), &profile, &Overrides::default());
        assert_eq!(chosen["requests"], json!({"cpu": "500m", "memory": "96Mi"}));
        assert_eq!(chosen["requests"], chosen["limits"]);
        let burstable = json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m"}});
        let (chosen, _) = self::chosen(&pod(burstable), &profile, &Overrides::default());
        assert_eq!(chosen["requests"], json!({"cpu": "10m", "memory": "32Mi"}));
    }

    #[test]
    fn a_request_above_its_limit_does_not_cost_the_pod() {
        let profile =
            resources(json!({"cpu": "10m", "memory": "32Mi"}), json!({"cpu": "500m", "memory": "96Mi"}));
        let raised = Overrides { cpu_request: Some("1".into()), ..Overrides::default() };
        let (chosen, warnings) = chosen(&pod(json!({})), &profile, &raised);
        assert_eq!((&chosen["requests"]["cpu"], &chosen["limits"]["cpu"]), (&json!("1"), &json!("1")));
        assert_eq!(warnings.len(), 1);
        let lowered = Overrides { memory_limit: Some("20Mi".into()), ..Overrides::default() };
        let (chosen, warnings) = self::chosen(&pod(json!({})), &profile, &lowered);
        assert_eq!(
            (&chosen["requests"]["memory"], &chosen["limits"]["memory"]),
            (&json!("20Mi"), &json!("20Mi"))
        );
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn amounts_of_the_whole_pod_are_left_to_it() {
        let mut pod = pod(json!({}));
        pod["spec"]["resources"] = json!({"limits": {"cpu": "1"}});
        let profile = resources(json!({}), json!({"cpu": "500m", "memory": "96Mi"}));
        let (chosen, _) = chosen(&pod, &profile, &Overrides::default());
        assert_eq!(chosen, json!({"requests": {"memory": "96Mi"}, "limits": {"memory": "96Mi"}}));
    }
}
