//! The store's compiled state, for the evaluator.

use std::sync::Arc;

use flipt_evaluation::Snapshot;
use flipt_serving::{Source, UnknownNamespace};
use flipt_store::Store;

pub(crate) struct LiveStore(pub(crate) Arc<dyn Store>);

impl Source for LiveStore {
    fn snapshot(&self) -> Option<Snapshot> {
        Some(self.0.live().snapshot.clone())
    }

    fn version(&self) -> Option<String> {
        let version = &self.0.live().version;
        Some(format!("{}/{}", version.epoch, version.revision))
    }

    fn unknown_namespace(&self) -> UnknownNamespace {
        UnknownNamespace::NamesFlag
    }
}
