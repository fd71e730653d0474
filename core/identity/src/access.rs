//! Who may call, and what a caller may do.

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::pattern::Pattern;
use crate::token::Identity;

/// Whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Only the pod that the verifier itself runs in.
    SamePod {
        /// The pod's own uid. Empty accepts nobody.
        pod_uid: String,
    },
    /// Every pod of one service account.
    SameServiceAccount {
        /// Namespace of the service account.
        namespace: String,
        /// Name of the service account.
        name: String,
    },
    /// Every service account of one namespace.
    SameNamespace {
        /// The namespace.
        namespace: String,
    },
    /// Whom the allow-list names; nobody if it is empty.
    Allowlist,
    /// Every service account that the issuer vouches for.
    Cluster,
}

/// What a caller may do with flags. Each level includes the ones before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Evaluate flags.
    #[default]
    Evaluate,
    /// Read flags, too.
    Read,
    /// Change flags, too.
    Write,
}

/// An entry of the allow-list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// Kubernetes namespaces that the entry is about.
    pub namespace: Pattern,
    /// Service accounts in them.
    pub service_account: Pattern,
    /// Flipt namespaces that they may use; none if empty.
    pub flipt_namespaces: Vec<Pattern>,
    /// What they may do there.
    #[serde(default)]
    pub permission: Permission,
}

/// What a caller may do in some Flipt namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The Flipt namespaces.
    pub flipt_namespaces: Vec<Pattern>,
    /// What the caller may do there.
    pub permission: Permission,
}

/// What a verified identity may do, all matching entries of the allow-list together.
///
/// In the modes that say by themselves who may call, an empty list grants evaluation everywhere, and a list with
/// entries restricts further.
pub(crate) fn grants(mode: &Mode, allow: &[AllowEntry], identity: &Identity) -> Result<Vec<Grant>, Refusal> {
    let Identity { namespace, service_account, pod, .. } = identity;
    match mode {
        Mode::SamePod { pod_uid } => {
            // An unset uid must not equal an unset uid.
            if pod_uid.is_empty() || pod.as_ref().is_none_or(|pod| pod.uid != *pod_uid) {
                return Err(Refusal::OtherPod);
            }
        }
        Mode::SameServiceAccount { namespace: own, name } => {
            if namespace != own || service_account != name {
                return Err(Refusal::OtherServiceAccount);
            }
        }
        Mode::SameNamespace { namespace: own } => {
            if namespace != own {
                return Err(Refusal::OtherNamespace);
            }
        }
        Mode::Allowlist | Mode::Cluster => {}
    }
    if allow.is_empty() && *mode != Mode::Allowlist {
        return Ok(vec![Grant { flipt_namespaces: vec![Pattern::any()], permission: Permission::Evaluate }]);
    }
    let grants: Vec<Grant> = allow
        .iter()
        .filter(|entry| entry.namespace.matches(namespace) && entry.service_account.matches(service_account))
        .map(|entry| Grant { flipt_namespaces: entry.flipt_namespaces.clone(), permission: entry.permission })
        .collect();
    if grants.is_empty() { Err(Refusal::NotListed) } else { Ok(grants) }
}
