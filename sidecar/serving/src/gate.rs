//! Who may call, and which namespaces they may evaluate.

use std::sync::Arc;

use http::HeaderMap;

use crate::{Code, Error};

/// What an admitted caller may do.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Indicates that every namespace may be evaluated.
    All,
    /// Describes a caller with a list of its own.
    Caller(Arc<flipt_identity::Caller>),
}

impl Scope {
    /// Fails unless the caller may evaluate this namespace.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`].
    pub fn require(&self, namespace: &str) -> Result<(), Error> {
        match self {
            Self::All => Ok(()),
            Self::Caller(caller) if caller.allows(namespace, flipt_identity::Permission::Evaluate) => Ok(()),
            Self::Caller(caller) => Err(Error::new(
                Code::PermissionDenied,
                format!(
                    "service account {}/{} may not evaluate namespace {namespace:?}",
                    caller.namespace, caller.service_account
                ),
            )),
        }
    }
}

/// Decides about a caller from the request's headers (or gRPC metadata).
pub trait Gate: Send + Sync + 'static {
    /// Admits the caller.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`], [`Code::PermissionDenied`], or [`Code::Unavailable`] while it cannot decide.
    fn admit(&self, headers: &HeaderMap) -> Result<Scope, Error>;
}

/// Admits everybody: authentication is off, or done by somebody else.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Gate for Open {
    fn admit(&self, _: &HeaderMap) -> Result<Scope, Error> {
        Ok(Scope::All)
    }
}
