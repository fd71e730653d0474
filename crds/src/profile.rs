//! `FliptSidecarProfile`: how sidecars are injected.

use k8s_openapi::{
    api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, SecurityContext},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Condition},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Bucket, Duration, Image, Resources,
    condition::MAX_CONDITIONS,
    rule::{HTTP_URL, KEY_GLOB, MAX_KEY, MAX_OBJECT_NAME, MAX_URL, OBJECT_NAME},
};

/// How sidecars are injected into pods of this namespace.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "FliptSidecarProfile",
    plural = "fliptsidecarprofiles",
    doc = "How sidecars are injected into pods of this namespace.",
    namespaced,
    status = "FliptSidecarProfileStatus",
    shortname = "fprof",
    category = "flipt",
    printcolumn(name = "Auth", type_ = "string", json_path = ".spec.auth.mode"),
    printcolumn(name = "Poll", type_ = "string", json_path = ".spec.pollInterval"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.injectedPods"),
    printcolumn(name = "Outdated", type_ = "integer", json_path = ".status.outdatedPods"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct FliptSidecarProfileSpec {
    /// Where snapshots come from: the first, and the others only at a start when those before do not answer.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub source: Vec<Source>,
    /// Keys of the namespaces that are kept in memory, `*` for any text.
    #[serde(default = "all_namespaces")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = MAX_KEY), regex(pattern = KEY_GLOB)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Image of the sidecar.
    #[serde(default)]
    pub image: Image,
    /// Secrets for pulling it, in the namespace of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Resources of the sidecar.
    #[serde(default = "default_resources")]
    pub resources: Resources,
    /// Ports of the sidecar.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.http != self.grpc && self.http != self.health && self.grpc != self.health")
        .message("the ports http, grpc and health are three"))]
    pub ports: Ports,
    /// Security context of the sidecar; without it, the restricted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Pause between two looks at the source.
    #[serde(default = "default_poll_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('5s')").message("pollInterval is at least 5s"))]
    pub poll_interval: Duration,
    /// Age of the snapshot from which it is reported as stale.
    #[serde(default = "default_stale_after")]
    pub stale_after: Duration,
    /// Age of the snapshot from which the pod is not ready; 0s: never.
    #[serde(default = "default_max_stale")]
    pub max_stale: Duration,
    /// What happens at a start without a snapshot: `block`, or `open-after=30s`.
    #[serde(default = "default_start_policy")]
    #[schemars(length(max = 32), regex(pattern = r"^(block|open-after=[0-9]+(\.[0-9]+)?(ms|s|m|h))$"))]
    pub start_policy: String,
    /// Where the last snapshot is kept for a restart of the container.
    #[serde(default)]
    pub cache: Cache,
    /// Who may evaluate.
    #[serde(default)]
    pub auth: Authentication,
    /// Which snapshots are trusted.
    #[serde(default)]
    pub trust: Trust,
    /// Identity towards AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<Aws>,
    /// Further environment variables of the sidecar; never of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub env: Vec<EnvVar>,
    /// Sources of further environment variables of the sidecar; never of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub env_from: Vec<EnvFromSource>,
    /// Tell the application where its sidecar and its token are: FLIPT_URL, FLIPT_TOKEN_FILE.
    #[serde(default = "yes")]
    pub client_env: bool,
    /// What a pod may override by annotation although it concerns security.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub overridable: Vec<Overridable>,
}

fn all_namespaces() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_resources() -> Resources {
    let list = |cpu: &str, memory: &str| {
        [("cpu", cpu), ("memory", memory)]
            .map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())))
            .into()
    };
    Resources { requests: list("10m", "32Mi"), limits: list("500m", "96Mi") }
}

fn default_poll_interval() -> Duration {
    Duration::from_secs(15)
}

fn default_stale_after() -> Duration {
    Duration::from_minutes(5)
}

fn default_max_stale() -> Duration {
    Duration::from_secs(0)
}

fn default_start_policy() -> String {
    "open-after=30s".to_owned()
}

fn yes() -> bool {
    true
}

/// Where snapshots come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.exportRef), has(self.s3), has(self.server), has(self.file)].filter(given, given).size() == 1"
).message("set exactly one of exportRef, s3, server and file"))]
pub struct Source {
    /// What an export publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_ref: Option<ExportRef>,
    /// A bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<Bucket>,
    /// A server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSource>,
    /// A file of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ConfigMapRef>,
}

/// A `FliptSnapshotExport`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportRef {
    /// Its name.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Its namespace; without it, that of the profile. A profile of the cluster has none, and needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = OBJECT_NAME))]
    pub namespace: Option<String>,
}

/// A server that gives snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSource {
    /// Its address.
    #[schemars(length(max = MAX_URL), regex(pattern = HTTP_URL))]
    pub url: String,
}

/// A ConfigMap in the namespace of the pod, with the documents of a Flipt namespace in `features.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRef {
    /// Its name.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub config_map_ref: String,
}

/// Ports of a sidecar. The first two are reached within the pod only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ports {
    /// Evaluation over HTTP and OFREP.
    #[schemars(range(min = 1024, max = 65535))]
    pub http: i32,
    /// Evaluation over gRPC.
    #[schemars(range(min = 1024, max = 65535))]
    pub grpc: i32,
    /// Probes and metrics.
    #[schemars(range(min = 1024, max = 65535))]
    pub health: i32,
}

impl Default for Ports {
    fn default() -> Self {
        Self { http: 18080, grpc: 19000, health: 18081 }
    }
}

/// Where the last snapshot is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Cache {
    /// Memory, or the node's disk, which keeps an autoscaler from removing the node.
    pub medium: CacheMedium,
    /// Room for it.
    pub size_limit: Quantity,
}

impl Default for Cache {
    fn default() -> Self {
        Self { medium: CacheMedium::Memory, size_limit: Quantity("64Mi".to_owned()) }
    }
}

/// What a cache is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheMedium {
    /// Memory, counted as the sidecar's.
    #[default]
    Memory,
    /// The node's disk.
    Disk,
}

/// Who may evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.mode == 'allowlist') == (self.allow.size() > 0)")
    .message("allow belongs to mode allowlist, which needs it"))]
pub struct Authentication {
    /// Whose tokens are accepted.
    #[serde(default)]
    pub mode: AuthMode,
    /// Accepted audiences.
    #[serde(default = "default_audiences")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 255)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
    /// Accept tokens for the API server, which unmodified SDKs send. Without it: in mode same-pod, where the token
    /// never leaves the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_api_audience: Option<bool>,
    /// Accepted issuer, exactly as in the tokens; without it, that of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_URL))]
    pub issuer: Option<String>,
    /// Callers, for mode allowlist.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Vec<AllowedCaller>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            mode: AuthMode::SamePod,
            audiences: default_audiences(),
            accept_api_audience: None,
            issuer: None,
            allow: Vec::new(),
        }
    }
}

fn default_audiences() -> Vec<String> {
    vec!["flipt".to_owned()]
}

/// Whose tokens are accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// Those of the same pod.
    #[default]
    SamePod,
    /// Those of the same service account.
    SameServiceAccount,
    /// Those of the same namespace.
    SameNamespace,
    /// Those of listed service accounts.
    Allowlist,
    /// Those of the cluster.
    Cluster,
    /// Everybody who reaches the port may evaluate.
    None,
}

/// Service accounts that may evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedCaller {
    /// Namespace, `*` for any text.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[-a-z0-9*]+$"))]
    pub namespace: String,
    /// Name, `*` for any text.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = r"^[-.a-z0-9*]+$"))]
    pub service_account: String,
    /// Keys of the namespaces they may evaluate, `*` for any text; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = MAX_KEY), regex(pattern = KEY_GLOB)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub flipt_namespaces: Vec<String>,
}

/// Which snapshots are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// Public keys, Ed25519 in base64, one of which must have signed; without any, signatures are not asked for. A key
    /// is its 32 bytes, or what stands in the PEM that `openssl pkey -pubout` writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 44, max = 60)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new(
        "self.all(key, key.matches('^(MCowBQYDK2VwAyEA)?[A-Za-z0-9+/]{43}=$'))"
    ).message("verifyKeys are public keys of Ed25519 in base64: 32 bytes, or what stands in the PEM of `openssl pkey -pubout`"))]
    pub verify_keys: Vec<String>,
}

/// Identity towards AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Aws {
    /// Role that the sidecar takes by a token of its pod.
    #[schemars(length(min = 20, max = 2048), regex(pattern = r"^arn:aws[-a-z]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: String,
}

/// What a pod may override by annotation although it concerns security.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Overridable {
    /// `flipt.io/image`.
    Image,
    /// `flipt.io/auth-mode`.
    AuthMode,
}

/// What the operator reports about a profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FliptSidecarProfileStatus {
    /// The last generation that has been processed to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` sums up the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Pods with a sidecar of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected_pods: Option<i32>,
    /// Those among them whose sidecar is not what the profile says today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated_pods: Option<i32>,
}
