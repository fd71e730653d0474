//! The store on a SQL database: transactions, versions and the compiled state.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use flipt_model::DEFAULT_ENVIRONMENT;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use uuid::Uuid;

use crate::{
    Database, Live, StoreError, Version,
    database::{Transaction, params},
    live::Change,
    state::{self, Scope},
};

/// Flag state in a SQL database.
///
/// # Guarantees
/// - A write is one transaction: its effect, the namespace's version and the environment's revision appear
///   together or not at all.
/// - When a write returns, [`SqlStore::live`] holds it, and it is durable.
#[derive(Clone)]
pub struct SqlStore {
    pub(crate) database: Database,
    shared: Arc<Shared>,
}

struct Shared {
    live: ArcSwap<Live>,
    revision: watch::Sender<u64>,
    /// One write at a time, so that compiled states follow each other as commits do.
    writing: Arc<Mutex<()>>,
    clock: Clock,
}

/// Strictly increasing wall clock in microseconds: creation order is list order, also within one import.
struct Clock(AtomicI64);

impl Clock {
    fn now(&self) -> i64 {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(wall.max(last + 1)))
            .unwrap_or(wall);
        wall.max(before + 1)
    }
}

/// What a write changed, in an order that compiles segments before the flags that use them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Namespace(String),
    Segment(String, String),
    Flag(String, String),
}

/// A write in progress. Dropped without [`SqlStore::commit`] it leaves no trace.
pub(crate) struct Writer {
    pub(crate) transaction: Transaction<'static>,
    touched: BTreeSet<Touched>,
    shared: Arc<Shared>,
    guard: OwnedMutexGuard<()>,
}

impl Writer {
    /// An instant later than every one given before, in microseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    pub(crate) fn touch_namespace(&mut self, key: &str) {
        self.touched.insert(Touched::Namespace(key.to_owned()));
    }

    pub(crate) fn touch_flag(&mut self, namespace: &str, key: &str) {
        self.touched.insert(Touched::Flag(namespace.to_owned(), key.to_owned()));
    }

    pub(crate) fn touch_segment(&mut self, namespace: &str, key: &str) {
        self.touched.insert(Touched::Segment(namespace.to_owned(), key.to_owned()));
    }
}

/// A new random identifier (UUID version 4).
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

impl SqlStore {
    /// Compiles the state of a migrated database and gives the store on it.
    ///
    /// # Errors
    /// [`StoreError`] if the state cannot be read.
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        let mut transaction = database.write().await?;
        let known = transaction
            .exists("SELECT 1 FROM environments WHERE key = ?", params![DEFAULT_ENVIRONMENT])
            .await?;
        if !known {
            transaction
                .execute(
                    "INSERT INTO environments (key, epoch, revision) VALUES (?, ?, 1)",
                    params![DEFAULT_ENVIRONMENT, new_id()],
                )
                .await?;
        }
        let version = state::version(&mut transaction).await?;
        let state = state::load(&mut transaction, &Scope::All).await?;
        transaction.commit().await?;
        let live = Live { snapshot: flipt_evaluation::Snapshot::compile(&state), version };
        Ok(Self {
            database,
            shared: Arc::new(Shared {
                revision: watch::Sender::new(live.version.revision),
                live: ArcSwap::from_pointee(live),
                writing: Arc::new(Mutex::new(())),
                clock: Clock(AtomicI64::new(0)),
            }),
        })
    }

    /// The compiled state. Never older than the last acknowledged write of this process.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.shared.live.load_full()
    }

    /// Tells every new revision of the environment.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// The whole state at one version, read in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_state(&self) -> Result<(flipt_model::Snapshot, Version), StoreError> {
        state::read(&self.database).await
    }

    /// Declares that the state does not continue the history that readers know, as after a restore from a
    /// backup: revisions before and after can no longer be compared.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was changed.
    pub async fn start_new_epoch(&self) -> Result<(), StoreError> {
        let mut writer = self.begin().await?;
        writer
            .transaction
            .execute(
                r#"UPDATE environments SET epoch = ?, revision = revision + 1 WHERE "key" = ?"#,
                params![new_id(), DEFAULT_ENVIRONMENT],
            )
            .await?;
        self.commit(writer).await?;
        self.refresh().await
    }

    /// Catches up with writes of other processes, such as `flipt import` on the database of a running server.
    /// Costs one small read when there were none.
    ///
    /// # Errors
    /// [`StoreError`]; then the compiled state stays as it was.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        if self.recorded_version().await? == self.shared.live.load().version {
            return Ok(());
        }
        // Our own writes move the version too: look again when none is under way.
        let _guard = self.shared.writing.lock().await;
        if self.recorded_version().await? == self.shared.live.load().version {
            return Ok(());
        }
        let (state, version) = self.read_state().await?;
        let revision = version.revision;
        let snapshot = flipt_evaluation::Snapshot::compile(&state);
        self.shared.live.store(Arc::new(Live { snapshot, version }));
        self.shared.revision.send_replace(revision);
        tracing::info!(revision, "state written by another process loaded");
        Ok(())
    }

    async fn recorded_version(&self) -> Result<Version, StoreError> {
        let mut transaction = self.database.read().await?;
        let version = state::version(&mut transaction).await?;
        transaction.commit().await?;
        Ok(version)
    }

    /// Closes every connection, after the transactions that are still open.
    pub async fn close(&self) {
        self.database.close().await;
    }

    pub(crate) async fn begin(&self) -> Result<Writer, StoreError> {
        let guard = Arc::clone(&self.shared.writing).lock_owned().await;
        let transaction = self.database.write().await?;
        Ok(Writer { transaction, touched: BTreeSet::new(), shared: Arc::clone(&self.shared), guard })
    }

    /// Makes a write durable and visible. Runs to its end even if the caller goes away, because a commit
    /// without the compiled state behind it would answer evaluations from the past.
    pub(crate) async fn commit(&self, writer: Writer) -> Result<(), StoreError> {
        let finishing = tokio::spawn(finish(writer));
        finishing.await.map_err(|error| StoreError::Content(format!("write interrupted: {error}")))?
    }
}

async fn finish(writer: Writer) -> Result<(), StoreError> {
    if writer.touched.is_empty() {
        return writer.transaction.commit().await;
    }
    let now = writer.now();
    let Writer { mut transaction, touched, shared, guard } = writer;
    let namespaces: BTreeSet<&str> = touched
        .iter()
        .map(|touched| match touched {
            Touched::Namespace(key) | Touched::Segment(key, _) | Touched::Flag(key, _) => key.as_str(),
        })
        .collect();
    for namespace in &namespaces {
        state::touch(&mut transaction, namespace, now).await?;
    }
    let version = state::advance(&mut transaction).await?;
    let before = shared.live.load_full();
    let live = if version.follows(&before.version) {
        let changes = load_changes(&mut transaction, touched).await?;
        before.apply(changes, version)
    } else {
        // Another process has written in between: our changes on top of our old state would hide its own.
        let state = state::load(&mut transaction, &Scope::All).await?;
        Live { snapshot: flipt_evaluation::Snapshot::compile(&state), version }
    };
    transaction.commit().await?;
    let revision = live.version.revision;
    shared.live.store(Arc::new(live));
    shared.revision.send_replace(revision);
    drop(guard);
    Ok(())
}

async fn load_changes(
    transaction: &mut Transaction<'_>,
    touched: BTreeSet<Touched>,
) -> Result<Vec<Change>, StoreError> {
    let whole: BTreeSet<String> = touched
        .iter()
        .filter_map(|touched| match touched {
            Touched::Namespace(key) => Some(key.clone()),
            _ => None,
        })
        .collect();
    let mut changes = Vec::with_capacity(touched.len());
    for touched in touched {
        let change = match touched {
            Touched::Namespace(key) => {
                let mut state = state::load(transaction, &Scope::Namespace(&key)).await?;
                Change::Namespace { content: state.namespaces.pop(), key }
            }
            Touched::Segment(namespace, _) | Touched::Flag(namespace, _) if whole.contains(&namespace) => {
                continue;
            }
            Touched::Segment(namespace, key) => {
                let mut state = state::load(transaction, &Scope::Segment(&namespace, &key)).await?;
                let content = state.namespaces.pop().and_then(|mut loaded| loaded.segments.pop());
                Change::Segment { namespace, key, content }
            }
            Touched::Flag(namespace, key) => {
                let mut state = state::load(transaction, &Scope::Flag(&namespace, &key)).await?;
                let content = state.namespaces.pop().and_then(|mut loaded| loaded.flags.pop()).map(Box::new);
                Change::Flag { namespace, key, content }
            }
        };
        changes.push(change);
    }
    Ok(changes)
}
