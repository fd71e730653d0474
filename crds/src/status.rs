//! What the operator reports about a namespace, a flag or a segment.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::condition::MAX_CONDITIONS;

/// Status of a resource whose content lies in a server. It changes when something has changed, not at every look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// The last generation that has been processed to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` sums up the others: `Accepted`, `Synced`, and, only while they are true, `Drifted` and `Overridden`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The key in the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The namespace of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipt_namespace: Option<String>,
    /// Hash of the content that was written, without what belongs to the UI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Revision of the server's environment that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_revision: Option<String>,
    /// When the content in the server last changed to what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// The object that holds the key instead, on conflict: `cluster/namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}
