//! `ClusterFliptSidecarProfile`: a profile for many namespaces.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{FliptSidecarProfileSpec, FliptSidecarProfileStatus};

/// How sidecars are injected into pods of all namespaces, or of some. A profile of the same name in the pod's
/// namespace comes first.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "ClusterFliptSidecarProfile",
    plural = "clusterfliptsidecarprofiles",
    doc = "How sidecars are injected into pods of all namespaces, or of some. A profile of the same name in the pod's namespace comes first.",
    status = "FliptSidecarProfileStatus",
    shortname = "cfprof",
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
#[x_kube(validation = Rule::new(
    "self.source.all(source, !has(source.exportRef) || has(source.exportRef.__namespace__))"
).message("exportRef.namespace is needed: a profile of the cluster has no namespace of its own"))]
pub struct ClusterFliptSidecarProfileSpec {
    /// Labels of the namespaces whose pods may use the profile; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// The profile.
    #[serde(flatten)]
    pub profile: FliptSidecarProfileSpec,
}
