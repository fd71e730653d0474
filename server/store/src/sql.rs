//! The store on a SQL database: versions and the compiled state.

use std::sync::Arc;

use arc_swap::ArcSwap;
use flipt_model::DEFAULT_NAMESPACE;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use crate::{
    Database, Live, StoreError, Version, changes,
    clock::Clock,
    database::{Param, Transaction, params},
    namespaces,
    place::{Place, in_default_environment},
    state::{self, Scope},
    writer::{looked_up, retried, written},
};

/// Row of the credentials' version among those of the environments. No environment can be called so.
pub(crate) const CREDENTIALS: &str = "/credentials";

/// Flag state of one environment in a SQL database.
///
/// # Guarantees
/// - A write is one transaction: its effect, the namespace's version, the environment's revision and the line in
///   the log of changes appear together or not at all.
/// - When a write returns, [`SqlStore::live`] holds it, and it is durable.
#[derive(Clone)]
pub struct SqlStore {
    pub(crate) database: Database,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) place: Place,
    pub(crate) live: ArcSwap<Live>,
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) writing: Arc<Writing>,
}

/// What all environments of a database share.
#[derive(Default)]
pub(crate) struct Writing {
    /// One write at a time, so that compiled states follow each other as commits do.
    pub(crate) lock: Arc<Mutex<()>>,
    pub(crate) clock: Clock,
    /// One change of credentials at a time, so that their versions follow each other as commits do.
    pub(crate) credentials_lock: Mutex<()>,
    /// Version of the credentials, as far as this process knows.
    pub(crate) credentials: ArcSwap<Version>,
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
        let writing = Writing::default();
        database.learn_letter_case().await?;
        let credentials = open_row(&database, &Place::of(CREDENTIALS), None).await?;
        writing.credentials.store(Arc::new(credentials));
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
        open_row(&database, &place, Some(writing.clock.now())).await?;
        let live = retried!({
            let mut transaction = database.read().await?;
            let version = state::version(&mut transaction, &place).await?;
            state::load_live(&mut transaction, &place, version).await
        })?;
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

    /// The stored key of a namespace that a request names.
    pub(crate) fn stored(&self, requested: &str) -> String {
        self.place().stored(in_default_environment(requested))
    }

    /// The environment's place in the database.
    pub(crate) fn place(&self) -> &Place {
        &self.shared.place
    }

    /// The database it is in.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
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
        let row = self.place().row.clone();
        let sql = r#"UPDATE environments SET epoch = ?, revision = revision + 1 WHERE "key" = ?"#;
        written!(self, |writer| writer.transaction.execute(sql, params![new_id(), &row]))?;
        self.refresh().await
    }

    /// Catches up with writes of other processes, such as other servers on the same database. Costs one small
    /// read when there were none, and otherwise reading what they changed.
    ///
    /// # Errors
    /// [`StoreError`]; then the compiled state stays as it was.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let recorded = looked_up!(self.database, |transaction| state::version(transaction, self.place()))?;
        self.catch_up_with(&recorded).await
    }

    /// Catches up if the state is not at this version, which was read from the database.
    pub(crate) async fn catch_up_with(&self, recorded: &Version) -> Result<(), StoreError> {
        if *recorded == self.shared.live.load().version {
            return Ok(());
        }
        // Our own writes move the version too: look again when none is under way.
        let _guard = self.shared.writing.lock.lock().await;
        let before = self.shared.live.load_full();
        let live = retried!({
            let mut transaction = self.database.read().await?;
            let version = state::version(&mut transaction, self.place()).await?;
            if version == before.version {
                return Ok(None);
            }
            changes::catch_up(&mut transaction, self.place(), &before, version).await.map(Some)
        })?;
        let Some(live) = live else { return Ok(()) };
        let revision = live.version.revision;
        self.shared.live.store(Arc::new(live));
        self.shared.revision.send_replace(revision);
        tracing::debug!(revision, "state written by another process loaded");
        Ok(())
    }

    /// Closes every connection, after the transactions that are still open.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// The version in a row, which is created if it does not exist.
async fn open_row(database: &Database, place: &Place, now: Option<i64>) -> Result<Version, StoreError> {
    let known = looked_up!(database, |transaction| state::find_version(transaction, &place.row))?;
    if let Some(version) = known {
        return Ok(version);
    }
    create_row(database, place, now).await?;
    looked_up!(database, |transaction| state::version(transaction, place))
}

/// Creates the row of a version. With an instant, the environment's protected default namespace too.
async fn create_row(database: &Database, place: &Place, now: Option<i64>) -> Result<(), StoreError> {
    match try_create_row(database, place, now).await {
        // Another program was first.
        Err(error) if error.is_duplicate() || error.is_lost_race() => Ok(()),
        Err(StoreError::ReadOnly) => Err(StoreError::Invalid(format!(
            "the database is read-only and has no row {:?} in its table environments yet; start a server that \
             may write to it first",
            place.row
        ))),
        outcome => outcome,
    }
}

async fn try_create_row(database: &Database, place: &Place, now: Option<i64>) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    let sql = r#"INSERT INTO environments ("key", epoch, revision) VALUES (?, ?, 1)"#;
    transaction.execute(sql, params![&place.row, new_id()]).await?;
    if let Some(now) = now {
        create_default_namespace(&mut transaction, place, now).await?;
    }
    transaction.commit().await
}

async fn create_default_namespace(
    transaction: &mut Transaction,
    place: &Place,
    now: i64,
) -> Result<(), StoreError> {
    let stored = place.stored(DEFAULT_NAMESPACE);
    if *place == Place::of_default() || namespaces::exists(transaction, &stored).await? {
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
