//! Who sent a request.

use std::time::SystemTime;

use crate::access::{Grant, Permission};

/// A verified sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Kubernetes namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// The pod that the token is bound to, if it is bound to one.
    pub pod: Option<Pod>,
    /// When the token expires.
    pub expires_at: SystemTime,
    /// What the caller may do; everything not granted is refused.
    pub grants: Vec<Grant>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Uid, unique over all time.
    pub uid: String,
}

impl Caller {
    /// Whether a grant allows this in this Flipt namespace.
    #[must_use]
    pub fn allows(&self, flipt_namespace: &str, permission: Permission) -> bool {
        self.grants.iter().any(|grant| {
            grant.permission >= permission
                && grant.flipt_namespaces.iter().any(|pattern| pattern.matches(flipt_namespace))
        })
    }
}
