//! A pod that missed its sidecar.

use flipt_e2e_cluster::{app, apply, kubectl, reach::ready_pod};
use kube::Client;
use serde_json::json;

/// Starts a pod that the webhook never sees, as it is labelled only once it is there; gives its name.
pub(crate) async fn missed_pod(client: &Client, namespace: &str) -> String {
    let mut template = app::template("missed", namespace, "serve");
    template["metadata"]["labels"] = json!({ "app": "missed" });
    apply(client, namespace, &app::deployment("missed", &template)).await.unwrap();
    let pod = ready_pod(client, namespace, "app=missed").await.unwrap().metadata.name.unwrap();
    kubectl(&["label", "pod", &pod, "flipt.io/inject=true", "--namespace", namespace]).await.unwrap();
    pod
}
