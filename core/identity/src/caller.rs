//! Who sent a request.

use std::time::SystemTime;

use crate::access::{Grant, Permission};
use crate::pattern::Pattern;

/// A verified sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Kubernetes namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// Uid of the service account, unique over all time; empty if the token does not say.
    pub service_account_uid: String,
    /// The pod that the token is bound to, if it is bound to one.
    pub pod: Option<Pod>,
    /// When the token was issued.
    pub issued_at: SystemTime,
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
    /// Whether a grant allows this in every Flipt namespace, also in those that do not exist yet.
    #[must_use]
    pub fn allows_everywhere(&self, permission: Permission) -> bool {
        self.grants.iter().any(|grant| {
            grant.permission >= permission && grant.flipt_namespaces.iter().any(Pattern::matches_everything)
        })
    }

    /// Whether a grant allows this in some Flipt namespace.
    #[must_use]
    pub fn allows_somewhere(&self, permission: Permission) -> bool {
        self.grants.iter().any(|grant| grant.permission >= permission && !grant.flipt_namespaces.is_empty())
    }

    /// Whether a grant allows this in this Flipt namespace.
    #[must_use]
    pub fn allows(&self, flipt_namespace: &str, permission: Permission) -> bool {
        self.grants.iter().any(|grant| {
            grant.permission >= permission
                && grant.flipt_namespaces.iter().any(|pattern| pattern.matches(flipt_namespace))
        })
    }
}
