//! A write: one transaction with all its consequences, tried again if it lost against another one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::OwnedMutexGuard,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    SqlStore, StoreError, Version,
    changes::{self, Touched},
    database::{self, Param, Transaction},
    ownership::{self, Past, Verdict},
    place::Place,
    sql::Shared,
    state::{self, Locked},
};

/// How often a write is tried that loses against others.
const ATTEMPTS: u32 = 8;
/// How long a write waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest pause after the first loss; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(10);

/// Does something in a transaction, given as a block that ends in a `Result`; does it again, after a random
/// pause, while it loses against other transactions, up to a limit. The block must do nothing but work on its
/// transaction. A macro, because closures cannot borrow across `await` in futures that move between threads.
macro_rules! retried {
    ($attempt:block) => {{
        let mut losses = $crate::writer::Losses::default();
        loop {
            let outcome: Result<_, $crate::StoreError> = async { $attempt }.await;
            match outcome {
                Err(error) if error.is_lost_race() => {
                    if let Err(error) = losses.pause(&error).await {
                        break Err(error);
                    }
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use retried;

/// Performs a write in one transaction; gives what it gives, with the version that it led to. If something owned was
/// touched, it is performed once more, knowing what was there before.
macro_rules! written {
    ($store:expr, |$writer:ident| $operation:expr) => {{
        let mut remembered = std::collections::BTreeSet::new();
        loop {
            let outcome = $crate::writer::retried!({
                let mut begun = $store.begin().await?;
                begun.remember(&remembered).await?;
                let $writer = &mut begun;
                let answer = $operation.await?;
                let committed = $store.commit(begun).await?;
                Ok((answer, committed))
            });
            match outcome {
                Ok((answer, $crate::writer::Committed::Yes(version))) => break Ok((answer, version)),
                Ok((_, $crate::writer::Committed::NotYet(owned))) => remembered.extend(owned),
                Err(error) => break Err(error),
            }
        }
    }};
}
pub(crate) use written;

/// Performs a read in one transaction, of one consistent state. CockroachDB may make even that lose.
macro_rules! looked_up {
    ($database:expr, |$transaction:ident| $operation:expr) => {
        $crate::writer::retried!({
            let mut begun = $database.read().await?;
            let $transaction = &mut begun;
            $operation.await
        })
    };
}
pub(crate) use looked_up;

/// How often a transaction has lost against others.
#[derive(Default)]
pub(crate) struct Losses(u32);

impl Losses {
    /// Waits for a random time, so that those who lost do not meet again.
    pub(crate) async fn pause(&mut self, error: &StoreError) -> Result<(), StoreError> {
        self.0 += 1;
        if self.0 == ATTEMPTS {
            return Err(StoreError::Contended);
        }
        tracing::debug!(losses = self.0, error = %error, "transaction lost against another one");
        let longest = u64::try_from(PAUSE.as_micros()).unwrap_or_default() << self.0;
        let (random, _) = Uuid::new_v4().as_u64_pair();
        sleep(Duration::from_micros(random % longest)).await;
        Ok(())
    }
}

/// What became of a write.
pub(crate) enum Committed {
    /// Describes the version that it led to.
    Yes(Version),
    /// Indicates that it was taken back, because these are owned: what was there before must be known.
    NotYet(BTreeSet<Touched>),
}

/// A write in progress. Dropped without being committed it leaves no trace.
pub(crate) struct Writer {
    pub(crate) transaction: Transaction,
    /// The version that the write starts from. Nobody else moves it until the transaction ends.
    head: Version,
    touched: BTreeSet<Touched>,
    /// Whether something in the environment is owned, and the write is none of its owner's.
    is_guarded: bool,
    /// What was there before, as far as it is needed.
    past: Past,
    shared: Arc<Shared>,
    guard: OwnedMutexGuard<()>,
    notifies: bool,
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

    /// The version before the write.
    pub(crate) const fn head(&self) -> &Version {
        &self.head
    }

    /// Lets the write change what is owned: it is the owner's, or force.
    pub(crate) const fn force(&mut self) {
        self.is_guarded = false;
    }

    /// Reads what is there before anything is written.
    pub(crate) async fn remember(&mut self, owned: &BTreeSet<Touched>) -> Result<(), StoreError> {
        for touched in owned {
            let before = changes::load(&mut self.transaction, &self.shared.place, touched).await?;
            self.past.insert(touched.clone(), before);
        }
        Ok(())
    }

    pub(crate) fn touch(&mut self, touched: Touched) {
        self.touched.insert(touched);
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

impl SqlStore {
    /// Makes a write durable and visible, with its consequences, if it leaves alone what others own.
    ///
    /// Runs to its end even if the caller goes away, because a commit without the compiled state behind it
    /// would answer evaluations from the past.
    pub(crate) async fn commit(&self, writer: Writer) -> Result<Committed, StoreError> {
        let finishing = tokio::spawn(finish(writer));
        finishing.await.map_err(|error| StoreError::Content(format!("write interrupted: {error}")))?
    }

    /// Starts a write. It has the environment for itself: what it finds is what it changes.
    pub(crate) async fn begin(&self) -> Result<Writer, StoreError> {
        let locking = Arc::clone(&self.shared.writing.lock).lock_owned();
        let guard = in_turn(locking).await?;
        let mut transaction = self.database.write().await?;
        let Locked { version: head, written_at, claims } =
            state::lock_row(&mut transaction, &self.place().row).await?;
        self.shared.writing.clock.observe(written_at);
        let before = self.shared.live.load_full();
        if head != before.version {
            // Others have written meanwhile. Nobody moves the version now, and this write may take long: evaluations
            // should not wait for its end.
            let live = changes::catch_up(&mut transaction, self.place(), &before, head.clone()).await?;
            self.shared.revision.send_replace(live.version.revision);
            self.shared.live.store(Arc::new(live));
        }
        Ok(Writer {
            transaction,
            head,
            touched: BTreeSet::new(),
            is_guarded: claims > 0,
            past: Past::new(),
            shared: Arc::clone(&self.shared),
            guard,
            notifies: self.database.notifies(),
        })
    }
}

/// Waits for those before, but not for ever: while the database is gone, each of them takes its time.
pub(crate) async fn in_turn<G>(locking: impl Future<Output = G>) -> Result<G, StoreError> {
    timeout(PATIENCE, locking).await.map_err(|_| {
        StoreError::Unavailable(format!("writes have been waiting for {} s", PATIENCE.as_secs()))
    })
}

async fn finish(writer: Writer) -> Result<Committed, StoreError> {
    if writer.touched.is_empty() {
        writer.transaction.commit().await?;
        return Ok(Committed::Yes(writer.head));
    }
    let now = writer.now();
    let Writer { mut transaction, head, touched, is_guarded, past, shared, guard, notifies } = writer;
    let place = &shared.place;
    let before = shared.live.load_full();
    let touched = changes::spelt_as_stored(&mut transaction, place, &before, touched).await?;
    let version = Version { epoch: head.epoch, revision: head.revision + 1 };
    state::set_revision(&mut transaction, &place.row, version.revision, now).await?;
    let namespaces: BTreeSet<&str> = touched.iter().map(Touched::namespace).collect();
    for namespace in namespaces {
        state::touch(&mut transaction, namespace, now, version.revision).await?;
    }
    stamp(&mut transaction, &touched, version.revision).await?;
    let changes = changes::read(&mut transaction, place, &touched).await?;
    if is_guarded
        && let Verdict::Unknown(owned) =
            ownership::check(&mut transaction, place, &touched, &changes, &past).await?
    {
        return Ok(Committed::NotYet(owned));
    }
    changes::record(&mut transaction, place, version.revision, (&touched, &changes), now).await?;
    if notifies {
        database::notify(&mut transaction).await?;
    }
    // The state before is that of the head: the write's begin has seen to that, and nobody else moved it since.
    let live = changes::apply(&mut transaction, place, &before, (&touched, changes), version).await?;
    transaction.commit().await?;
    let version = live.version.clone();
    shared.live.store(Arc::new(live));
    shared.revision.send_replace(version.revision);
    drop(guard);
    Ok(Committed::Yes(version))
}

/// Records at which revision each of the touched resources last changed, for expected revisions of writes.
async fn stamp(
    transaction: &mut Transaction,
    touched: &BTreeSet<Touched>,
    revision: u64,
) -> Result<(), StoreError> {
    let revision = Param::Int(i64::try_from(revision).unwrap_or(i64::MAX));
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
