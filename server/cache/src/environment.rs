//! State and snapshots of an environment, through a cache.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use flipt_model::namespace_or_default;
use flipt_proto::evaluation::EvaluationNamespaceSnapshot;
use flipt_store::{Edit, Environment, ImportMode, ImportedNamespace, Live, Part, StoreError, Version};
use tokio::sync::watch;

use crate::{
    Cache,
    key::{OfEnvironment, OfNamespace},
    value::{SnapshotAtVersion, StateAtVersion, Value},
};

/// An environment, or a store, whose reads are cached. Everything else is its own.
///
/// # Guarantees
/// - What is read holds every write that this process acknowledged before: the revision, which names what is
///   cached, is taken before anything is read.
/// - What other processes write is seen as soon as the revision of the inner environment tells of it.
pub struct Cached<T: ?Sized> {
    pub(crate) inner: Arc<T>,
    cache: Cache,
    /// The environment's key.
    environment: String,
}

impl<T: Environment + ?Sized> Cached<T> {
    /// Reads of the environment with this key through a cache.
    #[must_use]
    pub fn new(inner: Arc<T>, cache: Cache, environment: &str) -> Self {
        Self { inner, cache, environment: environment.to_owned() }
    }

    /// Something of a namespace: from the cache, or else by reading it.
    pub(crate) async fn of_namespace<V: Value>(
        &self,
        namespace: &str,
        what: OfNamespace<'_>,
        read: impl Future<Output = Result<V, StoreError>> + Send,
    ) -> Result<V, StoreError> {
        self.find_of_namespace(namespace, what, read, |_, _| true).await.map(Found::value)
    }

    /// Something of the list of namespaces: from the cache, or else by reading it.
    pub(crate) async fn of_environment<V: Value>(
        &self,
        what: OfEnvironment<'_>,
        read: impl Future<Output = Result<V, StoreError>> + Send,
    ) -> Result<V, StoreError> {
        self.find_of_environment(what, read, |_, _| true).await.map(Found::value)
    }

    /// As [`Cached::of_namespace`]. What was read is kept only if it `is_fit` to be found beside this compiled
    /// state, which was in force when the read began: a replica of the database that lags behind gives the past.
    async fn find_of_namespace<V: Value>(
        &self,
        namespace: &str,
        what: OfNamespace<'_>,
        read: impl Future<Output = Result<V, StoreError>> + Send,
        is_fit: impl FnOnce(&V, &Live) -> bool + Send,
    ) -> Result<Found<V>, StoreError> {
        let key = namespace_or_default(namespace);
        let revision = self.inner.namespace_revision(key);
        let live = self.inner.live();
        if live.snapshot.namespace(key).is_none() {
            // Callers may ask for any name: no room is spent on what is not there.
            return read.await.map(Found::Read);
        }
        let cached = self.cache.keys().of_namespace(&self.environment, namespace, &revision, what);
        if let Some(value) = self.cache.get(&cached).await {
            return Ok(Found::Cached(value));
        }
        let value = read.await?;
        // A write in between means that it is not known which side of it was read.
        if self.inner.namespace_revision(key) == revision && is_fit(&value, &live) {
            self.cache.set(cached, &value).await;
        }
        Ok(Found::Read(value))
    }

    async fn find_of_environment<V: Value>(
        &self,
        what: OfEnvironment<'_>,
        read: impl Future<Output = Result<V, StoreError>> + Send,
        is_fit: impl FnOnce(&V, &Live) -> bool + Send,
    ) -> Result<Found<V>, StoreError> {
        let live = self.inner.live();
        let revision = format!("{}/{}", live.version.epoch, live.version.revision);
        let cached = self.cache.keys().of_environment(&self.environment, &revision, what);
        if let Some(value) = self.cache.get(&cached).await {
            return Ok(Found::Cached(value));
        }
        let value = read.await?;
        if self.inner.live().version == live.version && is_fit(&value, &live) {
            self.cache.set(cached, &value).await;
        }
        Ok(Found::Read(value))
    }
}

/// Where a value comes from.
enum Found<V> {
    Cached(V),
    Read(V),
}

impl<V> Found<V> {
    fn value(self) -> V {
        match self {
            Self::Cached(value) | Self::Read(value) => value,
        }
    }
}

/// Whether state was read at the version of the compiled one, or after it.
fn is_current(state: &StateAtVersion, live: &Live) -> bool {
    state.version.epoch == live.version.epoch && state.version.revision >= live.version.revision
}

/// The same for one resource, whose absence is not kept.
fn is_current_and_there(state: &StateAtVersion, live: &Live) -> bool {
    let is_there =
        |namespace: &flipt_model::Namespace| !namespace.flags.is_empty() || !namespace.segments.is_empty();
    is_current(state, live) && state.state.namespaces.iter().any(is_there)
}

#[async_trait]
impl<T: Environment + ?Sized> Environment for Cached<T> {
    fn live(&self) -> Arc<Live> {
        self.inner.live()
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.inner.revisions()
    }

    fn knows_every_namespace(&self) -> bool {
        self.inner.knows_every_namespace()
    }

    fn namespace_revision(&self, key: &str) -> String {
        self.inner.namespace_revision(key)
    }

    async fn read_state(&self, part: Part<'_>) -> Result<(flipt_model::Snapshot, Version), StoreError> {
        // Before the revision that names what is cached is taken, so that this is never the later one.
        let now = self.inner.live().version.clone();
        let read = async {
            let (state, version) = self.inner.read_state(part).await?;
            Ok(StateAtVersion { state, version })
        };
        let found = match part {
            // Publication reads it once per change.
            Part::All => read.await.map(Found::Read)?,
            Part::Namespaces => {
                self.find_of_environment(OfEnvironment::StateOfNamespaces, read, is_current).await?
            }
            Part::Flags(namespace) => {
                self.find_of_namespace(namespace, OfNamespace::StateOfFlags, read, is_current).await?
            }
            Part::Segments(namespace) => {
                self.find_of_namespace(namespace, OfNamespace::StateOfSegments, read, is_current).await?
            }
            Part::Flag(namespace, key) => {
                let what = OfNamespace::StateOfFlag(key);
                self.find_of_namespace(namespace, what, read, is_current_and_there).await?
            }
            Part::Segment(namespace, key) => {
                let what = OfNamespace::StateOfSegment(key);
                self.find_of_namespace(namespace, what, read, is_current_and_there).await?
            }
        };
        Ok(match found {
            // Nothing of it has changed since it was cached, however often other parts have: it is the state of
            // the version in force, too, which is what callers compare with the version of other answers.
            Found::Cached(StateAtVersion { state, version })
                if version.epoch == now.epoch && version.revision < now.revision =>
            {
                (state, now)
            }
            Found::Cached(StateAtVersion { state, version })
            | Found::Read(StateAtVersion { state, version }) => (state, version),
        })
    }

    async fn namespace_version(&self, key: &str) -> Result<String, StoreError> {
        self.inner.namespace_version(key).await
    }

    async fn namespace_snapshot(
        &self,
        key: &str,
    ) -> Result<(EvaluationNamespaceSnapshot, String), StoreError> {
        let read = async {
            let (snapshot, version) = self.inner.namespace_snapshot(key).await?;
            Ok(SnapshotAtVersion { snapshot, version })
        };
        // Times of different servers' clocks have no order: the very same version, or none that is kept.
        let is_latest = |read: &SnapshotAtVersion, live: &Live| {
            let known = live.namespaces.get(namespace_or_default(key)).copied();
            read.version == known.unwrap_or_default().text()
        };
        let found = self.find_of_namespace(key, OfNamespace::Snapshot, read, is_latest).await?;
        let SnapshotAtVersion { snapshot, version } = found.value();
        Ok((snapshot, version))
    }

    async fn import(&self, namespaces: &[ImportedNamespace], mode: ImportMode) -> Result<(), StoreError> {
        self.inner.import(namespaces, mode).await
    }

    async fn apply(&self, edit: &Edit, expected: &str) -> Result<Version, StoreError> {
        self.inner.apply(edit, expected).await
    }
}
