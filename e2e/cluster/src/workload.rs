//! Pods of our images, started and waited for.

use flipt_e2e::{Failure, Result};
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, LogParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::wait::until_some;

/// A pod of one container, as a namespace demands that Pod Security holds to its strictest level.
#[must_use]
pub fn pod_spec(mut container: Value) -> Value {
    container["imagePullPolicy"] = "IfNotPresent".into();
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    json!({
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    })
}

/// Creates an object of any kind of Kubernetes' own, or changes it to be like this.
///
/// # Errors
/// If the API server refuses it.
pub async fn apply(client: &Client, namespace: &str, object: &Value) -> Result<()> {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let (group, version) = match text("apiVersion").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), text("apiVersion")),
    };
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, &version, &text("kind")));
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind)
        .patch(name, &PatchParams::apply("flipt-e2e").force(), &Patch::Apply(object))
        .await
        .map(drop)
        .map_err(|error| Failure::new(format!("{} {name}: {error}", kind.kind)))
}

/// Waits until a Deployment has all its pods.
///
/// # Errors
/// If that does not happen in time; then with what its pods say.
pub async fn wait_until_available(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let available = until_some(&format!("the deployment {name} is available"), || async {
        let deployment = deployments.get(name).await.ok()?;
        let wanted = deployment.spec?.replicas.unwrap_or(1);
        (deployment.status?.available_replicas == Some(wanted)).then_some(())
    })
    .await;
    match available {
        Ok(()) => Ok(()),
        Err(failure) => Err(Failure::new(format!("{failure}\n{}", logs(client, namespace).await))),
    }
}

/// Runs a pod once to its end, and gives what it printed.
///
/// # Errors
/// If it fails or does not end in time; then with what it printed.
pub async fn run_to_end(client: &Client, namespace: &str, name: &str, pod: &Value) -> Result<String> {
    let mut pod = pod.clone();
    pod["restartPolicy"] = "Never".into();
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "metadata": { "labels": { "job": name } }, "spec": pod } },
    });
    apply(client, namespace, &job).await?;
    let jobs = Api::<Job>::namespaced(client.clone(), namespace);
    let succeeded = until_some(&format!("the job {name} ends"), || async {
        let conditions = jobs.get(name).await.ok()?.status?.conditions?;
        let is = |type_: &str| {
            conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
        };
        if is("Complete") { Some(true) } else { is("Failed").then_some(false) }
    })
    .await;
    if succeeded.as_ref() != Ok(&true) {
        return Err(Failure::new(format!("{succeeded:?}: {name}\n{}", logs(client, namespace).await)));
    }
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let failed = |error: kube::Error| Failure::new(format!("the log of {name}: {error}"));
    let list = pods.list(&ListParams::default().labels(&format!("job={name}"))).await.map_err(failed)?;
    let pod = list.items.first().and_then(|pod| pod.metadata.name.clone());
    let pod = pod.ok_or_else(|| Failure::new(format!("the job {name} has no pod")))?;
    pods.logs(&pod, &LogParams::default()).await.map_err(failed)
}

/// What all pods of a namespace have printed, and why they wait.
async fn logs(client: &Client, namespace: &str) -> String {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut said = String::new();
    for pod in pods.list(&ListParams::default()).await.into_iter().flatten() {
        let name = pod.metadata.name.unwrap_or_default();
        let status = serde_json::to_string(&pod.status).unwrap_or_default();
        let log = pods.logs(&name, &LogParams { tail_lines: Some(50), ..LogParams::default() }).await;
        said += &format!("pod {name}: {status}\n{}\n", log.unwrap_or_else(|error| error.to_string()));
    }
    said
}
