//! `FliptNamespace`: a namespace of a server.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Management, ResourceStatus,
    rule::{MAX_DESCRIPTION, MAX_NAME, immutable_key, name_is_key, only_description_is_editable},
};

/// A namespace of a server. Flags and segments in it are resources of their own, or come from the UI.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "FliptNamespace",
    plural = "fliptnamespaces",
    doc = "A namespace of a server. Flags and segments in it are resources of their own, or come from the UI.",
    namespaced,
    status = "ResourceStatus",
    shortname = "fns",
    category = "flipt",
    selectable = ".spec.serverRef.name",
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Synced", type_ = "date", json_path = ".status.lastSyncTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.serverRef.name", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.serverRevision", priority = 1),
    printcolumn(name = "Hash", type_ = "string", json_path = ".status.contentHash", priority = 1),
    validation = name_is_key()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = immutable_key(), validation = only_description_is_editable())]
pub struct FliptNamespaceSpec {
    /// Where the namespace goes and who may change it there.
    #[serde(flatten)]
    pub management: Management,
    /// Name for people; without it, the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME))]
    pub name: Option<String>,
    /// Description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_DESCRIPTION))]
    pub description: String,
}
