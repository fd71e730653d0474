//! The compiled state of an environment, for the evaluator.

use std::sync::Arc;

use flipt_evaluation::Snapshot;
use flipt_serving::{Source, UnknownEnvironment, UnknownNamespace};
use flipt_store::{Environment, Environments};

/// One environment, with the others to choose from.
pub(crate) struct LiveEnvironment {
    environments: Environments,
    environment: Arc<dyn Environment>,
}

impl LiveEnvironment {
    /// The default environment.
    pub(crate) fn default_of(environments: &Environments) -> Self {
        let environment = Arc::clone(environments.default_store()) as Arc<dyn Environment>;
        Self { environments: environments.clone(), environment }
    }
}

impl Source for LiveEnvironment {
    fn snapshot(&self) -> Option<Snapshot> {
        Some(self.environment.live().snapshot.clone())
    }

    fn environment(&self, key: &str) -> Result<Option<Arc<dyn Source>>, UnknownEnvironment> {
        if self.environments.is_single() {
            return Ok(None);
        }
        let (_, environment) = self.environments.resolve(key).ok_or(UnknownEnvironment)?;
        Ok(Some(Arc::new(Self { environments: self.environments.clone(), environment })))
    }

    fn version(&self) -> Option<String> {
        let live = self.environment.live();
        let version = &live.version;
        Some(format!("{}/{}", version.epoch, version.revision))
    }

    fn unknown_namespace(&self) -> UnknownNamespace {
        if self.environment.knows_every_namespace() {
            UnknownNamespace::NamesNamespace
        } else {
            UnknownNamespace::NamesFlag
        }
    }

    fn fails_bulk_in_unknown_namespace(&self) -> bool {
        self.environment.knows_every_namespace()
    }
}
