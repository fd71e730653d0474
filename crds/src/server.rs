//! `FliptServer`: a server, run by the operator or elsewhere.

use k8s_openapi::{
    api::core::v1::LocalObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Duration, Image, Resources, SecretKeyRef,
    condition::MAX_CONDITIONS,
    rule::{HTTP_URL, KEY_GLOB, MAX_KEY, MAX_URL, either},
    schema::any_object,
};

/// A server, run by the operator or elsewhere, and who may put flags into it.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "FliptServer",
    plural = "fliptservers",
    doc = "A server, run by the operator or elsewhere, and who may put flags into it.",
    namespaced,
    status = "FliptServerStatus",
    shortname = "fsrv",
    category = "flipt",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Flags", type_ = "integer", json_path = ".status.flags"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 50")
        .message("metadata.name has more than 50 characters: names of its Deployment, Service and Jobs are made of it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = either("managed", "external"))]
pub struct FliptServerSpec {
    /// The operator runs the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedServer>,
    /// The server runs already, inside of the cluster or outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalServer>,
    /// How the operator authenticates.
    #[serde(default)]
    pub auth: ServerAuthentication,
    /// Namespaces whose resources may name this server. Only its own, unless others are listed.
    #[serde(default = "own_namespace")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allowed_namespaces: Vec<AllowedNamespaces>,
    /// How often everything is compared, besides when something changes.
    #[serde(default = "default_resync_period")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("resyncPeriod is at least 10s"))]
    pub resync_period: Duration,
}

fn own_namespace() -> Vec<AllowedNamespaces> {
    vec![AllowedNamespaces {
        from: NamespacesFrom::Same,
        selector: None,
        flipt_namespaces: Vec::new(),
        kinds: Vec::new(),
    }]
}

fn default_resync_period() -> Duration {
    Duration::from_minutes(10)
}

/// A server that the operator runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedServer {
    /// Number of pods. More than one needs a database that they share.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// Its image.
    #[serde(default)]
    pub image: Image,
    /// Secrets for pulling it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Where its flags are kept.
    pub database: Database,
    /// Configuration, as in the server's file. Secrets do not belong here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub config: Map<String, Value>,
    /// Resources of its container.
    #[serde(default)]
    pub resources: Resources,
    /// How it is reached.
    #[serde(default)]
    pub service: Service,
}

fn default_replicas() -> i32 {
    2
}

/// Where a server's flags are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// The database's URL, which usually holds a password.
    pub url_secret_ref: SecretKeyRef,
}

/// How a server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Type of the Service.
    #[serde(default, rename = "type")]
    pub service_type: ServiceType,
}

/// Type of a Service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are Kubernetes' and say it all")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// A server that runs already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalServer {
    /// Its address.
    #[schemars(length(max = MAX_URL), regex(pattern = HTTP_URL))]
    pub url: String,
    /// Certificates that its own is checked against, instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}

/// How the operator authenticates. With neither, it sends no credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.serviceAccountToken) && has(self.tokenSecretRef))")
    .message("set at most one of serviceAccountToken and tokenSecretRef"))]
pub struct ServerAuthentication {
    /// By a token of its service account. In a namespace that the operator is not told to trust (`--token-namespaces`),
    /// the audience has to be `flipt-server.<namespace>.<name>`, which no other server accepts. A server that the operator
    /// runs accepts it, and is shown it if the audience is not set otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_token: Option<ServiceAccountToken>,
    /// By a client token of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
}

/// A token of a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// Its audience.
    #[serde(default = "default_audience")]
    #[schemars(length(min = 1, max = 255))]
    pub audience: String,
}

fn default_audience() -> String {
    "flipt-server".to_owned()
}

/// Namespaces that may put something into a server, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
    .message("selector belongs to from: Selector, which needs it"))]
pub struct AllowedNamespaces {
    /// Which namespaces of the cluster.
    pub from: NamespacesFrom,
    /// Labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Keys of the namespaces of the server that they may use, `*` for any text; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = MAX_KEY), regex(pattern = KEY_GLOB)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub flipt_namespaces: Vec<String>,
    /// What they may put there; without any, everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub kinds: Vec<GrantedKind>,
}

/// Which namespaces of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// That of the server.
    Same,
    /// Those with certain labels.
    Selector,
    /// All.
    All,
}

/// A kind that names a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the kinds are documented themselves")]
pub enum GrantedKind {
    FliptNamespace,
    FliptFlag,
    FliptSegment,
    FliptSnapshotExport,
}

/// What the operator reports about a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FliptServerStatus {
    /// The last generation that has been processed to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` sums up the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Version that the server reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the operator reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Number of flags that resources of this cluster keep there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<i32>,
}
