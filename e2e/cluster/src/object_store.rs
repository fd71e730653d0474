//! A real S3 server in the cluster, with conditional writes: versitygw.

use flipt_e2e::{Failure, Result};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    kubectl,
    volume::give_volume,
    wait::until,
    workload::{apply, pod_spec, wait_until_available},
};

/// Namespace of the S3 server.
pub const STORE_NAMESPACE: &str = "flipt-e2e-s3";
/// Its address for pods.
pub const STORE_ENDPOINT: &str = "http://s3.flipt-e2e-s3:7070";
/// Its bucket.
pub const BUCKET: &str = "flags";

const ACCESS_KEY: &str = "e2e-access";
const SECRET_KEY: &str = "e2e-secret-key";

static STARTED: OnceCell<()> = OnceCell::const_new();

/// Starts the S3 server with its bucket, unless it runs.
///
/// # Panics
/// If it does not start.
pub async fn start_object_store(client: &Client) {
    STARTED.get_or_init(|| async { start(client).await.unwrap() }).await;
}

async fn start(client: &Client) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": STORE_NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    kubectl::kubectl_apply("default", &namespace.to_string()).await?;
    let labels = json!({ "app": "s3" });
    let mut pod = pod_spec(json!({
        "name": "versitygw",
        "image": "localhost/versitygw:test",
        "args": ["--port", ":7070", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "posix", "/data"],
        "ports": [{ "name": "s3", "containerPort": 7070 }],
        "readinessProbe": { "tcpSocket": { "port": "s3" }, "periodSeconds": 1 },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
    }));
    pod["securityContext"]["fsGroup"] = 65532.into();
    // Objects outlive the pod, which tests kill.
    give_volume("flipt-e2e-s3", STORE_NAMESPACE, "s3").await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "s3" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "64Mi" } } },
    });
    apply(client, STORE_NAMESPACE, &claim).await?;
    pod["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "s3" } }]);
    for object in [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s3" },
            "spec": { "selector": labels, "ports": [{ "name": "s3", "port": 7070, "targetPort": "s3" }] },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "s3" },
            "spec": {
                "strategy": { "type": "Recreate" },
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod },
            },
        }),
    ] {
        apply(client, STORE_NAMESPACE, &object).await?;
    }
    wait_until_available(client, STORE_NAMESPACE, "s3").await?;
    let store = store().await;
    until("the S3 server makes its bucket", || async {
        match store.create_bucket().bucket(BUCKET).send().await {
            Ok(_) => true,
            Err(error) => {
                let error = error.into_service_error();
                error.is_bucket_already_owned_by_you() || error.is_bucket_already_exists()
            }
        }
    })
    .await
}

/// A client of the S3 server, with the credentials of everybody.
pub async fn store() -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "e2e"))
        .region(Region::new("us-east-1"))
        .endpoint_url(STORE_ENDPOINT)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// The whole object at a key.
///
/// # Errors
/// If there is none.
pub async fn object(key: &str) -> Result<Vec<u8>> {
    let got = store().await.get_object().bucket(BUCKET).key(key).send().await;
    let got = got.map_err(|error| Failure::new(format!("{key}: {error:?}")))?;
    let body = got.body.collect().await.map_err(|error| Failure::new(format!("{key}: {error}")))?;
    Ok(body.to_vec())
}

/// The Secret `flipt-s3` with the credentials of the S3 server, in a namespace.
///
/// # Errors
/// If the API server refuses it.
pub async fn give_credentials(client: &Client, namespace: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "flipt-s3" },
        "stringData": { "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY },
    });
    apply(client, namespace, &secret).await
}

/// The bucket as custom resources name it, below this prefix.
#[must_use]
pub fn bucket(prefix: &str) -> Value {
    json!({
        "bucket": BUCKET, "prefix": prefix, "region": "us-east-1", "endpoint": STORE_ENDPOINT,
        "forcePathStyle": true, "credentialsSecretRef": { "name": "flipt-s3" },
    })
}

/// The place below this prefix, for programs of ours that publish. Their credentials are those of the environment, which
/// `make e2e` sets.
///
/// # Panics
/// Never: the text is one.
#[must_use]
pub fn location(prefix: &str) -> flipt_snapshots::Location {
    let url = format!("s3://{BUCKET}/{prefix}?region=us-east-1&endpoint={STORE_ENDPOINT}&pathStyle=true");
    url.parse().unwrap()
}
