//! What ends the operator, or one of its parts.

use std::{fmt::Display, io, net::SocketAddr};

/// A part that cannot go on. What a reconcile meets is a condition instead, not an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Indicates that the API server refused something or could not be reached.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    /// Indicates an address that cannot be listened on.
    #[error("listening on {address}: {source}; is it taken?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Indicates something that could not be set up.
    #[error("{what}: {detail}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// Indicates a part that came to its end although the operator goes on.
    #[error("part {part} ended: {detail}")]
    Ended {
        /// Its name.
        part: &'static str,
        /// How.
        detail: String,
    },
    /// Indicates that the Lease was lost, and what only its holder may do did not stop in time.
    #[error("the Lease was lost and {part} did not stop within {seconds} s")]
    DidNotStop {
        /// Its name.
        part: &'static str,
        /// The limit.
        seconds: u64,
    },
}

impl Error {
    /// Something could not be set up.
    pub(crate) fn setup(what: &'static str, detail: impl Display) -> Self {
        Self::Setup { what, detail: detail.to_string() }
    }
}
