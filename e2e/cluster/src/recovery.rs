//! Whether Kubernetes itself has recovered from an outage of its API server.

use std::time::Duration;

use flipt_e2e::Result;
use kube::Client;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    app::IMAGE,
    kubectl,
    wait::until,
    workload::{apply, pod_spec},
};

const CONNECT: Duration = Duration::from_secs(2);

const NAME: &str = "recovered";

/// Waits until a new pod can be reached through a new Service: until then, a Service may lead to pods that are gone, such
/// as that of the webhook. Only where the addresses of Services can be reached, as in a cluster of ours.
///
/// # Errors
/// If it is not in time: each of Kubernetes' watches asks again after up to a minute, and may be told to list anew and wait
/// as long once more.
pub async fn kubernetes_recovers(client: &Client, namespace: &str) -> Result<()> {
    let labels = json!({ "app": NAME });
    let container = json!({ "name": "app", "image": IMAGE, "args": ["serve"] });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod_spec(container) },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME },
        "spec": { "selector": labels, "ports": [{ "port": 8000 }] },
    });
    apply(client, namespace, &deployment).await?;
    apply(client, namespace, &service).await?;
    let path = "jsonpath={.spec.clusterIP}:8000";
    let address = kubectl(&["get", "service", NAME, "--namespace", namespace, "--output", path]).await?;
    until("a new pod is reached through a new Service", || async {
        tokio::time::timeout(CONNECT, TcpStream::connect(&address))
            .await
            .is_ok_and(|connected| connected.is_ok())
    })
    .await
}
