//! Ways to the ports of pods: straight in a cluster of ours, through the API server in any other.

use std::process::Stdio;

use flipt_e2e::{Failure, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    daemon::cluster_is_ours,
    wait::{PATIENCE, until_some},
};

/// An address under which a port of a pod is reached while the value lives.
#[derive(Debug)]
pub struct Reached {
    /// `http://host:port`.
    pub url: String,
    _forward: Option<Child>,
}

/// The first pod with these labels that is ready.
///
/// # Errors
/// If none is in time.
pub async fn ready_pod(client: &Client, namespace: &str, labels: &str) -> Result<Pod> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    until_some(&format!("a pod of {labels} in {namespace} is ready"), || async {
        let list = pods.list(&ListParams::default().labels(labels)).await.ok()?;
        list.items.into_iter().find(is_ready)
    })
    .await
}

/// Whether a pod is ready, and not about to go.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// A way to a port of a pod.
///
/// # Errors
/// If there is none in time.
pub async fn reach(client: &Client, namespace: &str, pod: &str, port: u16) -> Result<Reached> {
    if cluster_is_ours() {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let address = until_some(&format!("the pod {pod} has an address"), || async {
            pods.get(pod).await.ok()?.status?.pod_ip
        })
        .await?;
        return Ok(Reached { url: format!("http://{address}:{port}"), _forward: None });
    }
    let failed = |error: std::io::Error| Failure::new(format!("kubectl port-forward: {error}"));
    let mut forward = Command::new("kubectl")
        .args(["port-forward", "--namespace", namespace, &format!("pod/{pod}"), &format!(":{port}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let output = forward.stdout.take().ok_or_else(|| Failure::new("kubectl port-forward has no output"))?;
    let line = tokio::time::timeout(PATIENCE, BufReader::new(output).lines().next_line()).await;
    let line = line.ok().and_then(std::result::Result::ok).flatten().unwrap_or_default();
    let local = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
    let local = local.ok_or_else(|| Failure::new(format!("kubectl port-forward says {line:?}")))?;
    Ok(Reached { url: format!("http://{local}"), _forward: Some(forward) })
}
