//! The place in an object store where snapshots are published.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    SecretRef,
    rule::{HTTP_URL, MAX_URL},
};

/// A prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// The bucket.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][-.a-z0-9]+[a-z0-9]$"))]
    pub bucket: String,
    /// Prefix within the bucket, without slashes at its ends.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512), regex(pattern = r"^([-_.A-Za-z0-9]+(/[-_.A-Za-z0-9]+)*)?$"))]
    pub prefix: String,
    /// Region; without it, that of the pod's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Address of a store that is not AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_URL), regex(pattern = HTTP_URL))]
    pub endpoint: Option<String>,
    /// Name the bucket in the path instead of the host: MinIO, Ceph.
    #[serde(default)]
    pub force_path_style: bool,
    /// Whether the store understands conditional writes.
    #[serde(default)]
    pub conditional_writes: ConditionalWrites,
    /// Encryption at rest.
    #[serde(default)]
    pub sse: Encryption,
    /// Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without it, the identity of the pod. A sidecar looks for
    /// it in the namespace of its own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// Whether the store understands conditional writes, which keep two writers from undoing each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionalWrites {
    /// They are tried, and done without if the store does not know them.
    #[default]
    Auto,
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Encryption at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.mode == 'KMS') == has(self.kmsKeyId)")
    .message("kmsKeyId belongs to mode KMS, which needs it"))]
pub struct Encryption {
    /// Who encrypts.
    #[serde(default)]
    pub mode: EncryptionMode,
    /// Key of the key management service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub kms_key_id: Option<String>,
}

/// Who encrypts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EncryptionMode {
    /// As the bucket is set.
    #[default]
    None,
    /// The store, with keys of its own.
    S3,
    /// The store, with a key of the key management service.
    #[serde(rename = "KMS")]
    Kms,
}
