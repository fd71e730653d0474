//! The product, as Helm installs it for its users.

use std::path::PathBuf;

use flipt_e2e::{Failure, Result};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    app, helm, kubectl, kubectl_apply, kubectl_with,
    object_store::{self, BUCKET, STORE_ENDPOINT},
    volume::give_volume,
    wait::{TIMEOUT, until},
};

/// Namespace of the release.
pub const SYSTEM: &str = "flipt-system";
/// Name of the release.
pub const RELEASE: &str = "flipt";
/// Token of the tests: what an editor has.
pub const TOKEN: &str = "e2e-editor-token-of-the-tests";

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// The chart of this checkout, or that of the folder named in `CHART`.
#[must_use]
pub fn chart() -> String {
    std::env::var("CHART").unwrap_or_else(|_| {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/flipt").display().to_string()
    })
}

/// Values that every test works with: our images, the S3 server of the cluster, a token for editors.
#[must_use]
pub fn values() -> Value {
    json!({
        "global": { "image": { "tag": "test" } },
        "snapshots": {
            "bucket": BUCKET, "prefix": "e2e", "region": "us-east-1", "endpoint": STORE_ENDPOINT,
            "forcePathStyle": true, "existingSecret": "flipt-s3", "publish": true,
        },
        "export": { "enabled": true },
        // A busy machine may stand still longer than a node does.
        "webhook": { "timeoutSeconds": 10 },
        "profile": { "enabled": true, "spec": { "pollInterval": "5s" } },
        "server": {
            "allowedNamespaces": [{ "from": "All" }],
            "authentication": {
                "token": { "enabled": true, "bootstrap": { "existingSecret": { "name": "flipt-editor" } } },
                // Exports of the tests' namespaces are called `own`.
                "kubernetes": { "allow": [
                    { "namespace": "*", "serviceAccount": "own-export", "permission": "read" },
                ] },
            },
            "persistence": { "size": "64Mi" },
        },
    })
}

/// Installs the product, once for all tests, with an S3 server; gives what helm printed the first time.
///
/// # Panics
/// If it cannot be installed or is not ready in time; then with what its pods say.
pub async fn install(client: &Client) {
    INSTALLED.get_or_init(|| async { set_up(client).await.unwrap() }).await;
}

async fn set_up(client: &Client) -> Result<()> {
    object_store::start_object_store(client).await;
    prepare(client).await?;
    println!("{}", upgrade(&chart(), &values()).await?);
    // Helm waits for pods; the objects that the operator makes for itself come a moment later, and so does the way to it.
    ready(SYSTEM, "fliptserver/main").await?;
    let template = app::template("first", "default", "serve");
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"],
    });
    pod["metadata"]["name"] = "first".into();
    let pod = pod.to_string();
    until("new pods get a sidecar", || async {
        let create =
            ["create", "--dry-run=server", "--output", "yaml", "--namespace", "default", "--filename", "-"];
        kubectl_with(&create, &pod).await.is_ok_and(|(created, _)| created.contains("flipt-sidecar"))
    })
    .await
}

/// What an administrator has ready before the installation: the namespace, held to the strictest level of Pod Security,
/// the Secrets, and in a cluster of ours, which has no storage class, a volume.
///
/// # Errors
/// If the API server refuses it.
pub async fn prepare(client: &Client) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": SYSTEM, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    kubectl_apply("default", &namespace.to_string()).await?;
    object_store::give_credentials(client, SYSTEM).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "flipt-editor", "namespace": SYSTEM },
        "stringData": { "token": TOKEN },
    });
    kubectl_apply(SYSTEM, &secret.to_string()).await?;
    give_volume("flipt-e2e", SYSTEM, "flipt-server").await
}

/// `helm upgrade --install` with these values, waiting until everything is ready.
///
/// # Errors
/// If helm fails; then with what the pods say.
pub async fn upgrade(chart: &str, values: &Value) -> Result<String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| Failure::new(error.to_string()))?;
    std::fs::write(file.path(), values.to_string()).map_err(|error| Failure::new(error.to_string()))?;
    let file = file.path().display().to_string();
    let arguments = [
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        SYSTEM,
        "--values",
        &file,
        "--wait",
        "--timeout",
        TIMEOUT,
    ];
    match helm(&arguments).await {
        Ok(printed) => Ok(printed),
        Err(failure) => Err(Failure::new(format!("{failure}\n{}", state().await))),
    }
}

/// Upgrades to these values, and waits until the operators before are gone: the last of them may lead until it ends.
///
/// # Errors
/// As [`upgrade`]; if they do not end in time.
pub async fn replace(values: &Value) -> Result<()> {
    upgrade(&chart(), values).await?;
    operators_alone().await
}

/// Waits until there are the two operators that there should be, and none that ends.
async fn operators_alone() -> Result<()> {
    until("the operators before are gone", || async { operators().await.is_ok_and(|pods| pods.len() == 2) })
        .await
}

/// Names of the operator's pods, also of those that end.
///
/// # Errors
/// If the API server does not tell.
pub async fn operators() -> Result<Vec<String>> {
    let selector = "app.kubernetes.io/component=operator";
    let path = "jsonpath={.items[*].metadata.name}";
    let get = ["get", "pods", "--namespace", SYSTEM, "--selector", selector, "--output", path];
    Ok(kubectl(&get).await?.split_whitespace().map(str::to_owned).collect())
}

/// What the pods of the release are doing, for people.
pub async fn state() -> String {
    let mut text = String::new();
    for arguments in [
        ["get", "pods,jobs,pvc", "--namespace", SYSTEM, "--output", "wide"].as_slice(),
        &["get", "events", "--namespace", SYSTEM, "--sort-by", ".lastTimestamp"],
        &[
            "logs",
            "--namespace",
            SYSTEM,
            "--selector",
            "app.kubernetes.io/component=operator",
            "--tail",
            "40",
        ],
        &["logs", "--namespace", SYSTEM, "--selector", "app.kubernetes.io/component=server", "--tail", "40"],
    ] {
        let printed = kubectl(arguments).await.unwrap_or_else(|failure| failure.to_string());
        text += &format!("$ kubectl {}\n{printed}\n", arguments.join(" "));
    }
    text
}

/// Brings back what a test before has killed and not revived, and waits until it is ready.
///
/// # Errors
/// If it is not ready in time.
pub async fn make_whole() -> Result<()> {
    let parts = [
        (SYSTEM, "flipt-server", "1"),
        (SYSTEM, "flipt-operator", "2"),
        (object_store::STORE_NAMESPACE, "s3", "1"),
    ];
    for (namespace, deployment, replicas) in parts {
        kubectl(&["scale", "deployment", deployment, "--replicas", replicas, "--namespace", namespace])
            .await?;
        let rollout = format!("deployment/{deployment}");
        kubectl(&["rollout", "status", &rollout, "--namespace", namespace, "--timeout", TIMEOUT]).await?;
    }
    operators_alone().await?;
    ready(SYSTEM, "fliptserver/main").await
}

/// Waits until an object of ours says `Ready=True`.
///
/// # Errors
/// If it does not in time; then with the whole object.
pub async fn ready(namespace: &str, resource: &str) -> Result<()> {
    says(namespace, resource, "Ready", "True").await
}

/// Waits until an object that is being deleted is gone.
///
/// # Errors
/// If it is not in time.
pub async fn gone(namespace: &str, resource: &str) -> Result<()> {
    let wait = ["wait", "--for=delete", resource, "--namespace", namespace, "--timeout", TIMEOUT];
    kubectl(&wait).await.map(drop)
}

/// Waits until a condition of an object has this status, or this reason.
///
/// # Errors
/// As [`ready`].
pub async fn says(namespace: &str, resource: &str, condition: &str, expected: &str) -> Result<()> {
    let path = format!(
        "jsonpath={{.status.conditions[?(@.type==\"{condition}\")].status}} \
         {{.status.conditions[?(@.type==\"{condition}\")].reason}}"
    );
    let arguments = ["get", resource, "--namespace", namespace, "--output", &path];
    let what = format!("{namespace}/{resource} says {condition}={expected}");
    let waited = until(&what, || async {
        kubectl(&arguments).await.is_ok_and(|said| said.split_whitespace().any(|word| word == expected))
    })
    .await;
    match waited {
        Ok(()) => Ok(()),
        Err(failure) => {
            let object = kubectl(&["get", resource, "--namespace", namespace, "--output", "yaml"]).await;
            Err(Failure::new(format!("{failure}\n{}", object.unwrap_or_else(|failure| failure.to_string()))))
        }
    }
}
