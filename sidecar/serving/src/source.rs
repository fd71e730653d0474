//! Where the evaluator gets the state to evaluate on.

use std::sync::Arc;

use flipt_evaluation::Snapshot;
use http::HeaderMap;

/// What a request for a namespace that does not exist is told (api spec, section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownNamespace {
    /// That the namespace does not exist: declarative storage, snapshots.
    NamesNamespace,
    /// That the flag does not exist: relational storage.
    NamesFlag,
}

/// The environment that a request names does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEnvironment;

/// The current state of one environment, as often as it changes.
pub trait Source: Send + Sync + 'static {
    /// The state; `None` while nothing is loaded, which every evaluation answers with "unavailable".
    fn snapshot(&self) -> Option<Snapshot>;

    /// A text that is another whenever the state is; `None` while nothing is loaded. The same state has the same
    /// text in every process, so that callers may ask one after the other.
    fn version(&self) -> Option<String>;

    /// The state of the environment with this key; `None` if it is this one. Who has a single environment
    /// takes every name for it, because clients of Flipt v1 may send any (api spec, item 52).
    ///
    /// # Errors
    /// [`UnknownEnvironment`].
    fn environment(&self, _key: &str) -> Result<Option<Arc<dyn Source>>, UnknownEnvironment> {
        Ok(None)
    }

    /// What a request for an unknown namespace is told.
    fn unknown_namespace(&self) -> UnknownNamespace;

    /// Whether a bulk evaluation in an unknown namespace fails, as it does on Flipt's declarative storage, rather
    /// than be about no flags (api spec, section 10).
    fn fails_bulk_in_unknown_namespace(&self) -> bool {
        false
    }

    /// Adds headers that tell the version and age of the state to an answer.
    fn annotate(&self, _headers: &mut HeaderMap) {}
}
