//! Where among the init containers the sidecar stands: first, so that the application's own init containers can
//! evaluate; but after a mesh, which would keep the sidecar from its source until the mesh's proxy runs.

use serde_json::Value;

use crate::pod;

/// Init containers with which meshes prepare the network.
const MESH_INIT: &[&str] = &[
    "consul-connect-inject-init",
    "istio-init",
    "istio-validation",
    "kuma-init",
    "kuma-validation",
    "linkerd-init",
    "linkerd-network-validator",
];
/// Proxies of meshes: native sidecars, or containers of the older kind.
const MESH_PROXY: &[&str] = &["consul-dataplane", "istio-proxy", "kuma-sidecar", "linkerd-proxy"];

/// Whether a container belongs to a mesh and not to the application.
pub(crate) fn is_mesh(name: &str) -> bool {
    MESH_INIT.contains(&name) || MESH_PROXY.contains(&name)
}

/// The sidecar's place among the other init containers.
pub(crate) fn wanted(init_containers: &[Value], sidecar: &str) -> usize {
    init_containers
        .iter()
        .filter(|container| pod::name(container) != sidecar)
        .enumerate()
        .filter(|(_, container)| {
            let name = pod::name(container);
            MESH_INIT.contains(&name) || MESH_PROXY.contains(&name) && container["restartPolicy"] == "Always"
        })
        .last()
        .map_or(0, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sidecar_is_first_but_after_a_mesh() {
        let proxy = json!({"name": "istio-proxy", "restartPolicy": "Always"});
        let ours = json!({"name": "flipt-sidecar"});
        let setup = json!({"name": "setup"});
        let init = json!({"name": "linkerd-init"});
        for (containers, expected) in [
            (vec![], 0),
            (vec![setup.clone()], 0),
            (vec![ours.clone(), setup.clone()], 0),
            (vec![init.clone(), setup.clone()], 1),
            (vec![init, proxy.clone(), setup.clone()], 2),
            (vec![ours, setup.clone(), proxy], 2),
            // Not a proxy that keeps running.
            (vec![json!({"name": "istio-proxy"}), setup], 0),
        ] {
            assert_eq!(wanted(&containers, "flipt-sidecar"), expected, "{containers:?}");
        }
    }
}
