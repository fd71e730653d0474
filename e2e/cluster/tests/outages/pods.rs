//! New pods by the dozen.

use flipt_e2e_cluster::{app, kubectl_with};
use serde_json::json;

/// Creates pods one after the other, as a dry run, and counts those without a sidecar.
pub(crate) async fn create_pods(namespace: &str, pods: usize) -> usize {
    let template = app::template("many", namespace, "serve");
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
    let mut missed = 0;
    for first in (0..pods).step_by(20) {
        let mut batch = String::new();
        for number in first..(first + 20).min(pods) {
            pod["metadata"]["name"] = format!("many-{number}").into();
            batch += &format!("{pod}\n---\n");
        }
        // Printed for each pod.
        let path = "jsonpath={.spec.initContainers[0].name}{\"\\n\"}";
        let arguments =
            ["create", "--dry-run=server", "--output", path, "--namespace", namespace, "--filename", "-"];
        let (printed, _) = kubectl_with(&arguments, &batch).await.unwrap();
        let injected = printed.matches("flipt-sidecar").count();
        missed += (first + 20).min(pods) - first - injected.min(20);
    }
    missed
}
