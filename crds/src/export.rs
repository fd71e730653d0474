//! `FliptSnapshotExport`: publication of a server's state on a schedule.

use std::collections::BTreeMap;

use flipt_model::DEFAULT_ENVIRONMENT;
use k8s_openapi::{
    api::core::v1::{EnvVar, LocalObjectReference, Toleration},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Bucket, Duration, Image, Resources, SecretKeyRef, ServerRef,
    condition::MAX_CONDITIONS,
    rule::{ENVIRONMENT_KEY, KEY_GLOB, MAX_KEY, MAX_OBJECT_NAME, OBJECT_NAME},
};

/// Publication of a server's state to S3, on a schedule and on change. Sidecars read what it publishes.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "FliptSnapshotExport",
    plural = "fliptsnapshotexports",
    doc = "Publication of a server's state to S3, on a schedule and on change. Sidecars read what it publishes.",
    namespaced,
    status = "FliptSnapshotExportStatus",
    shortname = "fexp",
    category = "flipt",
    selectable = ".spec.serverRef.name",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Last-Success", type_ = "date", json_path = ".status.lastSuccessTime"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.snapshot.revision"),
    printcolumn(name = "Flags", type_ = "integer", json_path = ".status.snapshot.flags"),
    printcolumn(name = "Size", type_ = "integer", json_path = ".status.snapshot.size"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.serverRef.name", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 45")
        .message("metadata.name has more than 45 characters: names of its CronJob and Jobs are made of it")
)]
#[serde(rename_all = "camelCase")]
pub struct FliptSnapshotExportSpec {
    /// The server whose state is published.
    pub server_ref: ServerRef,
    /// Environment of the server.
    #[serde(default = "default_environment")]
    #[schemars(length(min = 1, max = 128), regex(pattern = ENVIRONMENT_KEY))]
    pub environment: String,
    /// Keys of the namespaces that are published, `*` for any text.
    #[serde(default = "all_namespaces")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = MAX_KEY), regex(pattern = KEY_GLOB)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// When, as a CronJob writes it: five fields, or @hourly, @daily and so on.
    #[schemars(length(min = 6, max = 100))]
    #[x_kube(validation = schedule())]
    pub schedule: String,
    /// Time zone of the schedule.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: String,
    /// Export as well when the server's state has changed.
    #[serde(default)]
    pub on_change: Change,
    /// Publish nothing for now.
    #[serde(default)]
    pub suspend: bool,
    /// Where to.
    pub s3: Bucket,
    /// Identity of the pods that export.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.create || has(self.name)")
        .message("name the service account, or have it created"))]
    pub service_account: ServiceAccount,
    /// What is written.
    #[serde(default = "all_formats")]
    #[x_kube(validation = Rule::new("'Native' in self")
        .message("Native is what sidecars read: further formats come beside it"))]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub formats: Vec<Format>,
    /// Signature of the snapshots; without it, they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// What is not published, because it looks like an accident.
    #[serde(default)]
    pub guard: Guard,
    /// What is kept of former snapshots.
    #[serde(default)]
    pub retention: Retention,
    /// The Jobs that export.
    #[serde(default)]
    pub job: ExportJob,
}

fn default_environment() -> String {
    DEFAULT_ENVIRONMENT.to_owned()
}

fn all_namespaces() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_time_zone() -> String {
    "Etc/UTC".to_owned()
}

fn all_formats() -> Vec<Format> {
    vec![Format::Native, Format::FliptFeatures]
}

fn schedule() -> Rule {
    Rule::new(
        "self.matches('^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$') || \
         self.matches('^[-0-9A-Za-z*/,?]+( +[-0-9A-Za-z*/,?]+){4}$')",
    )
    .message("schedule has five fields such as \"*/5 * * * *\", or is a macro such as @hourly")
}

/// Exports between those of the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Whether there are any.
    pub enabled: bool,
    /// Wait this long for further changes.
    pub debounce: Duration,
    /// Pause between two exports.
    pub min_interval: Duration,
}

impl Default for Change {
    fn default() -> Self {
        Self { enabled: true, debounce: Duration::from_secs(5), min_interval: Duration::from_secs(10) }
    }
}

/// Identity of the pods that export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// Its name; without one, it is made of the export's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub name: Option<String>,
    /// Whether the operator creates it.
    pub create: bool,
    /// Annotations of the one that is created, such as the role it stands for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self { name: None, create: true, annotations: BTreeMap::new() }
    }
}

/// What an export writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    /// What sidecars follow.
    Native,
    /// Feature files, which a stock Flipt reads.
    FliptFeatures,
}

/// Signature of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// The private key, Ed25519 in PEM.
    pub secret_ref: SecretKeyRef,
}

/// What is not published, because it looks like an accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Guard {
    /// Publish a state without flags over one with flags.
    pub allow_empty: bool,
    /// Publish no state that lost more than this share of its flags.
    #[schemars(range(min = 0, max = 100))]
    pub max_shrink_percent: i32,
}

impl Default for Guard {
    fn default() -> Self {
        Self { allow_empty: false, max_shrink_percent: 50 }
    }
}

/// What is kept of former snapshots: whatever one of the two still covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// So many of the last.
    #[schemars(range(min = 1, max = 10000))]
    pub keep_revisions: i32,
    /// Those that are younger.
    pub min_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep_revisions: 50, min_age: Duration::from_hours(7 * 24) }
    }
}

/// The Jobs that export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportJob {
    /// Their image.
    pub image: Image,
    /// Resources of their container.
    pub resources: Resources,
    /// A Job that takes longer has failed.
    #[schemars(range(min = 1, max = 86400))]
    pub active_deadline_seconds: i64,
    /// How often a failed pod is replaced.
    #[schemars(range(min = 0, max = 10))]
    pub backoff_limit: i32,
    /// Remove a finished Job after this time; without it, only the history limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Secrets for pulling it, in the namespace of the export.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Further labels of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Further annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Labels of the nodes on which they run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that they tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Further environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub env: Vec<EnvVar>,
    /// How many finished Jobs are kept.
    pub history: CronHistory,
}

impl Default for ExportJob {
    fn default() -> Self {
        Self {
            image: Image::default(),
            resources: Resources::default(),
            active_deadline_seconds: 120,
            backoff_limit: 2,
            ttl_seconds_after_finished: None,
            image_pull_secrets: Vec::new(),
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            env: Vec::new(),
            history: CronHistory::default(),
        }
    }
}

/// How many finished Jobs are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CronHistory {
    /// Successful ones: at least the last, whose pod tells what it did.
    #[schemars(range(min = 1, max = 100))]
    pub successful: i32,
    /// Failed ones.
    #[schemars(range(min = 0, max = 100))]
    pub failed: i32,
}

impl Default for CronHistory {
    fn default() -> Self {
        Self { successful: 1, failed: 3 }
    }
}

/// What the operator reports about an export.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FliptSnapshotExportStatus {
    /// The last generation that has been processed to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` sums up the others; `Fresh` tells whether the last success is not too long ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the last export was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// When the last one succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,
    /// The last failure, if it is younger than the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<ExportFailure>,
    /// What is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<ExportedSnapshot>,
}

/// Why an export failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportFailure {
    /// When.
    pub time: Time,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// A published snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedSnapshot {
    /// Revision of the server's environment.
    pub revision: i64,
    /// Database that counts the revisions.
    pub epoch: String,
    /// SHA-256 of its content.
    pub digest: String,
    /// Its object in the bucket.
    pub object_key: String,
    /// Bytes of the object.
    pub size: i64,
    /// Number of flags.
    pub flags: i32,
    /// Number of namespaces.
    pub namespaces: i32,
    /// Whether the last export changed it.
    pub changed: bool,
}
