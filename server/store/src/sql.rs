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
use flipt_model::DEFAULT_NAMESPACE;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use uuid::Uuid;

use crate::{
    Database, Live, StoreError, Version,
    database::{Param, Transaction, params},
    live::Change,
    namespaces,
    place::{Place, in_default_environment},
    state::{self, Scope},
};

/// Flag state of one environment in a SQL database.
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
    place: Place,
    live: ArcSwap<Live>,
    revision: watch::Sender<u64>,
    writing: Arc<Writing>,
}

/// What all environments of a database share.
struct Writing {
    /// One write at a time, so that compiled states follow each other as commits do.
    lock: Arc<Mutex<()>>,
    clock: Clock,
    /// Which state of the credentials is known.
    credentials: ArcSwap<String>,
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
        self.shared.writing.clock.now()
    }

    /// The environment that is written to.
    pub(crate) fn place(&self) -> &Place {
        &self.shared.place
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
    /// Compiles the state of a migrated database's default environment and gives the store on it.
    ///
    /// # Errors
    /// [`StoreError`] if the state cannot be read.
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        let writing = Writing {
            lock: Arc::new(Mutex::new(())),
            clock: Clock(AtomicI64::new(0)),
            credentials: ArcSwap::from_pointee(new_id()),
        };
        Self::open_place(database, Place::of_default(), Arc::new(writing)).await
    }

    /// The store on another environment of the same database, which is created if it does not exist.
    ///
    /// # Errors
    /// [`StoreError`] if the state cannot be read.
    pub(crate) async fn open_environment(&self, key: &str) -> Result<Self, StoreError> {
        Self::open_place(self.database.clone(), Place::of(key), Arc::clone(&self.shared.writing)).await
    }

    async fn open_place(database: Database, place: Place, writing: Arc<Writing>) -> Result<Self, StoreError> {
        let mut transaction = database.write().await?;
        let known =
            transaction.exists("SELECT 1 FROM environments WHERE key = ?", params![&place.row]).await?;
        if !known {
            create_environment(&mut transaction, &place, writing.clock.now()).await?;
        }
        let version = state::version(&mut transaction, &place).await?;
        let state = state::load(&mut transaction, &place, &Scope::All).await?;
        transaction.commit().await?;
        let live = Live { snapshot: flipt_evaluation::Snapshot::compile(&state), version };
        Ok(Self {
            database,
            shared: Arc::new(Shared {
                place,
                revision: watch::Sender::new(live.version.revision),
                live: ArcSwap::from_pointee(live),
                writing,
            }),
        })
    }

    pub(crate) fn credentials_revision(&self) -> String {
        self.shared.writing.credentials.load().as_ref().clone()
    }

    pub(crate) fn move_credentials_revision(&self) {
        self.shared.writing.credentials.store(Arc::new(new_id()));
    }

    /// The stored key of a namespace that a request names.
    pub(crate) fn stored(&self, requested: &str) -> String {
        self.place().stored(in_default_environment(requested))
    }

    /// The environment's place in the database.
    pub(crate) fn place(&self) -> &Place {
        &self.shared.place
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
        state::read(&self.database, self.place(), &Scope::All).await
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
                params![new_id(), &self.shared.place.row],
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
        let _guard = self.shared.writing.lock.lock().await;
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
        let version = state::version(&mut transaction, self.place()).await?;
        transaction.commit().await?;
        Ok(version)
    }

    /// Closes every connection, after the transactions that are still open.
    pub async fn close(&self) {
        self.database.close().await;
    }

    pub(crate) async fn begin(&self) -> Result<Writer, StoreError> {
        let guard = Arc::clone(&self.shared.writing.lock).lock_owned().await;
        let transaction = self.database.write().await?;
        Ok(Writer { transaction, touched: BTreeSet::new(), shared: Arc::clone(&self.shared), guard })
    }

    /// Makes a write durable and visible. Runs to its end even if the caller goes away, because a commit
    /// without the compiled state behind it would answer evaluations from the past.
    pub(crate) async fn commit(&self, writer: Writer) -> Result<(), StoreError> {
        self.commit_version(writer).await.map(|_| ())
    }

    /// As [`SqlStore::commit`]; gives the version that the write led to.
    pub(crate) async fn commit_version(&self, writer: Writer) -> Result<Version, StoreError> {
        let finishing = tokio::spawn(finish(writer));
        finishing.await.map_err(|error| StoreError::Content(format!("write interrupted: {error}")))?
    }
}

async fn finish(writer: Writer) -> Result<Version, StoreError> {
    if writer.touched.is_empty() {
        writer.transaction.commit().await?;
        return Ok(writer.shared.live.load().version.clone());
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
    let place = &shared.place;
    let version = state::advance(&mut transaction, place).await?;
    stamp(&mut transaction, &touched, &version).await?;
    let before = shared.live.load_full();
    let live = if version.follows(&before.version) {
        let changes = load_changes(&mut transaction, place, touched).await?;
        before.apply(changes, version)
    } else {
        // Another process has written in between: our changes on top of our old state would hide its own.
        let state = state::load(&mut transaction, place, &Scope::All).await?;
        Live { snapshot: flipt_evaluation::Snapshot::compile(&state), version }
    };
    transaction.commit().await?;
    let version = live.version.clone();
    shared.live.store(Arc::new(live));
    shared.revision.send_replace(version.revision);
    drop(guard);
    Ok(version)
}

/// Creates an environment with its protected default namespace.
async fn create_environment(
    transaction: &mut Transaction<'_>,
    place: &Place,
    now: i64,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO environments (key, epoch, revision) VALUES (?, ?, 1)",
            params![&place.row, new_id()],
        )
        .await?;
    let stored = place.stored(DEFAULT_NAMESPACE);
    if namespaces::exists(transaction, &stored).await? || *place == Place::of_default() {
        return Ok(());
    }
    transaction
        .execute(
            r#"INSERT INTO namespaces ("key", environment_key, name, description, protected, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)"#,
            &[
                stored.into(),
                place.row.as_str().into(),
                "Default".into(),
                "Default namespace".into(),
                true.into(),
                Param::Time(now),
                Param::Time(now),
            ],
        )
        .await?;
    Ok(())
}

/// Records at which revision each of the touched resources last changed, for expected revisions of writes.
async fn stamp(
    transaction: &mut Transaction<'_>,
    touched: &BTreeSet<Touched>,
    version: &Version,
) -> Result<(), StoreError> {
    let revision = Param::Int(i64::try_from(version.revision).unwrap_or(i64::MAX));
    for touched in touched {
        match touched {
            Touched::Namespace(key) => {
                let sql = r#"UPDATE namespaces SET revision = ? WHERE "key" = ?"#;
                transaction.execute(sql, &[revision.clone(), key.into()]).await?;
            }
            Touched::Segment(namespace, key) => {
                let sql = r#"UPDATE segments SET revision = ? WHERE namespace_key = ? AND "key" = ?"#;
                transaction.execute(sql, &[revision.clone(), namespace.into(), key.into()]).await?;
            }
            Touched::Flag(namespace, key) => {
                let sql = r#"UPDATE flags SET revision = ? WHERE namespace_key = ? AND "key" = ?"#;
                transaction.execute(sql, &[revision.clone(), namespace.into(), key.into()]).await?;
            }
        }
    }
    Ok(())
}

async fn load_changes(
    transaction: &mut Transaction<'_>,
    place: &Place,
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
                let mut state = state::load(transaction, place, &Scope::Namespace(&key)).await?;
                Change::Namespace { content: state.namespaces.pop(), key: place.namespace(&key).to_owned() }
            }
            Touched::Segment(namespace, _) | Touched::Flag(namespace, _) if whole.contains(&namespace) => {
                continue;
            }
            Touched::Segment(namespace, key) => {
                let mut state = state::load(transaction, place, &Scope::Segment(&namespace, &key)).await?;
                let content = state.namespaces.pop().and_then(|mut loaded| loaded.segments.pop());
                Change::Segment { namespace: place.namespace(&namespace).to_owned(), key, content }
            }
            Touched::Flag(namespace, key) => {
                let mut state = state::load(transaction, place, &Scope::Flag(&namespace, &key)).await?;
                let content = state.namespaces.pop().and_then(|mut loaded| loaded.flags.pop()).map(Box::new);
                Change::Flag { namespace: place.namespace(&namespace).to_owned(), key, content }
            }
        };
        changes.push(change);
    }
    Ok(changes)
}
