//! How a resource names another object.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rule::{MAX_OBJECT_NAME, OBJECT_NAME};

/// A `FliptServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerRef {
    /// Its name.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Its namespace, if it is another one than this object's. That server has to allow it in `allowedNamespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = OBJECT_NAME))]
    pub namespace: Option<String>,
}

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// One key of a Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// The key whose value is meant.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
