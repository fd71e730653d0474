//! The follower: asks the source for news and hands over what is good.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use flipt_model::Snapshot;

use super::cache::{CacheDir, CacheError};
use super::pace::Pace;
use super::status::{LoadResult, PollResult, Status, Upstream};
use crate::format::{
    Digest, FormatError, Keys, MAX_OBJECT_BYTES, MAX_POINTER_BYTES, MAX_RAW_BYTES, ObjectRef, Pointer, decode,
};
use crate::signature::{SignatureError, VerifyKeys};
use crate::store::{Etag, Got, Source, Store, StoreError, StoreErrorKind};

/// How to follow.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// Key of the environment.
    pub environment: String,
    /// Time between polls, ±20 %; at least 10 ms.
    pub poll_interval: Duration,
    /// Spreads the polls of many readers; see [`super::seed_from`].
    pub jitter_seed: u64,
    /// Whether to accept that another database publishes, as after a restored backup, although nobody has signed it.
    pub trust_epoch_change: bool,
    /// The keys that pointers must be signed with; `None` asks for no signatures. A signed pointer is trusted when
    /// it changes the epoch.
    pub verify: Option<Arc<VerifyKeys>>,
    /// Where else to look, best first, while nothing is loaded and the source does not answer.
    pub fallbacks: Vec<Arc<dyn Store>>,
    /// Where to keep the last known good snapshot; `None` keeps none.
    pub cache: Option<CacheDir>,
    /// What is too large.
    pub limits: Limits,
}

impl FollowOptions {
    /// The defaults for an environment.
    #[must_use]
    pub fn new(environment: impl Into<String>) -> Self {
        Self {
            environment: environment.into(),
            poll_interval: Duration::from_secs(15),
            jitter_seed: 0,
            trust_epoch_change: false,
            verify: None,
            fallbacks: Vec::new(),
            cache: None,
            limits: Limits::default(),
        }
    }
}

/// What is too large to be loaded.
#[derive(Clone)]
pub struct Limits {
    /// Compressed object, in bytes; at most [`MAX_OBJECT_BYTES`].
    pub object_bytes: u64,
    /// Uncompressed object, in bytes; at most [`MAX_RAW_BYTES`].
    pub raw_bytes: u64,
    /// Answers how much memory is left before the process is killed. A snapshot of a quarter of that or less is
    /// loaded: text, parsed model and the old state live at the same time.
    pub memory_left: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
}

impl Limits {
    /// Limits for the compressed and the uncompressed object, whatever was configured.
    fn effective(&self) -> (u64, u64) {
        (self.object_bytes.min(MAX_OBJECT_BYTES), self.raw_bytes.min(MAX_RAW_BYTES))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { object_bytes: MAX_OBJECT_BYTES, raw_bytes: MAX_RAW_BYTES, memory_left: None }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("object_bytes", &self.object_bytes)
            .field("raw_bytes", &self.raw_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a poll brought nothing. What was loaded before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FollowError {
    /// The class.
    pub upstream: Upstream,
    /// What happened, where, and what to do about it.
    pub message: String,
    /// How long the source wants not to be asked again, if it said so.
    pub retry_after: Option<Duration>,
}

impl FollowError {
    fn new(upstream: Upstream, message: String) -> Self {
        Self { upstream, message, retry_after: None }
    }
}

/// How a poll ended.
#[derive(Debug, Clone, PartialEq)]
pub enum PollOutcome {
    /// The pointer has not been rewritten since the last poll.
    NotModified,
    /// The pointer has been rewritten and names the content loaded; time or revision may have moved.
    Unchanged,
    /// New content was accepted.
    Loaded(Box<Pointer>),
    /// Nothing new could be had; the old state stays.
    Failed(FollowError),
}

/// What the cache had.
#[derive(Debug)]
pub enum CacheOutcome {
    /// A snapshot, which was accepted.
    Loaded(Box<Pointer>),
    /// Nothing, or there is no cache.
    Empty,
    /// Something unusable. It has been deleted if it was damaged.
    Failed(CacheError),
    /// A snapshot that the program refused, with its reason. It has been deleted.
    Rejected(String),
}

/// Keeps a program at the current snapshot of one environment.
///
/// # Guarantees
///
/// - Only complete snapshots with the right digest are handed over, and never an older revision than the last
///   one of the same epoch.
/// - A failure changes nothing but the status; there is no such thing as falling back to no flags.
/// - No credentials stand in any text.
#[derive(Debug)]
pub struct Follower {
    store: Arc<dyn Store>,
    keys: Keys,
    options: FollowOptions,
    status: Arc<Status>,
    pace: Pace,
    /// Entity tag of the last pointer that was dealt with to the end. A pointer that led to a failure is read
    /// again in full, as what it names may be repaired without the pointer changing.
    etag: Option<Etag>,
    loaded: Option<Loaded>,
    /// What the cache on disk holds; `None` if that is not known for sure.
    cached: Option<Cached>,
    /// How many of the fallbacks, counted from the first, are better than what is loaded.
    better_fallbacks: usize,
    /// When each fallback may be asked again, and how often it failed.
    fallback_pauses: Vec<(Option<Instant>, u32)>,
}

#[derive(Debug)]
struct Cached {
    digest: Digest,
    revision: u64,
    epoch: String,
    verified_at: DateTime<Utc>,
}

impl Cached {
    fn of(pointer: &Pointer, digest: Digest) -> Self {
        Self {
            digest,
            revision: pointer.revision,
            epoch: pointer.epoch.clone(),
            verified_at: pointer.verified_at,
        }
    }

    /// Whether the pointer on disk says the same as this one, give or take its confirmation of a minute ago.
    fn is_current(&self, pointer: &Pointer, digest: &Digest) -> bool {
        self.digest == *digest
            && self.revision == pointer.revision
            && self.epoch == pointer.epoch
            && pointer.verified_at - self.verified_at < CONFIRMATION
    }
}

/// How far the confirmation on disk may lag behind: a restart during an outage must not look like one of a
/// state that nobody has confirmed for days, and a disk need not be written at every heartbeat.
const CONFIRMATION: TimeDelta = TimeDelta::minutes(1);

/// How long the source may take while there are fallbacks to turn to; doubles with each failure.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Over which time readers that all lost their source spread their requests to a fallback.
const FALLBACK_SPREAD: Duration = Duration::from_secs(3);

/// How far the clocks of two publishers may be apart.
const CLOCK_LEEWAY: TimeDelta = TimeDelta::minutes(10);

#[derive(Debug)]
struct Loaded {
    epoch: String,
    revision: u64,
    digest: Digest,
}

impl Follower {
    /// A follower that has nothing loaded yet.
    ///
    /// # Errors
    ///
    /// [`FormatError::InvalidEnvironment`].
    pub fn new(store: Arc<dyn Store>, options: FollowOptions) -> Result<Self, FormatError> {
        Ok(Self {
            keys: Keys::new(&options.environment)?,
            pace: Pace::new(options.poll_interval, options.jitter_seed),
            status: Arc::default(),
            etag: None,
            loaded: None,
            cached: None,
            better_fallbacks: options.fallbacks.len(),
            fallback_pauses: vec![(None, 0); options.fallbacks.len()],
            store,
            options,
        })
    }

    /// The view to share with others.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Hands over the last known good snapshot from the cache; meant for the start, before the first poll.
    ///
    /// A damaged or refused cache is deleted and reported; the next poll brings the real thing.
    pub async fn load_cache(
        &mut self,
        mut accept: impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
    ) -> CacheOutcome {
        let Some(cache) = self.options.cache.clone() else { return CacheOutcome::Empty };
        let keys = self.keys.clone();
        let (max_object, max_raw) = self.options.limits.effective();
        let (reader, verify) = (cache.clone(), self.options.verify.clone());
        let read = blocking(move || {
            let read = reader.read(&keys, max_object, max_raw, verify.as_deref());
            if matches!(read, Err(CacheError::Unusable { .. }))
                && let Err(error) = reader.delete(&keys)
            {
                tracing::warn!(%error, "the unusable snapshot cache cannot be deleted");
            }
            read
        })
        .await;
        match read {
            Ok(Ok(None)) => CacheOutcome::Empty,
            Ok(Ok(Some((pointer, object, snapshot)))) => match accept(snapshot, &pointer) {
                Ok(()) => {
                    self.status.count_load(Source::Cache, LoadResult::Ok);
                    self.accepted(&pointer, &object, Some(Source::Cache));
                    self.cached = Some(Cached::of(&pointer, object.digest));
                    self.better_fallbacks = 0;
                    CacheOutcome::Loaded(Box::new(pointer))
                }
                Err(reason) => {
                    self.status.count_load(Source::Cache, LoadResult::Rejected);
                    let keys = self.keys.clone();
                    if let Ok(Err(error)) = blocking(move || cache.delete(&keys)).await {
                        tracing::warn!(%error, "the refused snapshot cache cannot be deleted");
                    }
                    CacheOutcome::Rejected(reason)
                }
            },
            Ok(Err(error)) => {
                let result = match &error {
                    CacheError::Io { .. } => LoadResult::Failed,
                    CacheError::Unusable { .. } => LoadResult::Corrupt,
                };
                self.status.count_load(Source::Cache, result);
                CacheOutcome::Failed(error)
            }
            Err(panicked) => CacheOutcome::Failed(CacheError::Io {
                place: self.options.environment.clone(),
                cause: std::io::Error::other(panicked),
            }),
        }
    }

    /// Asks the source once.
    ///
    /// # Expected flow
    ///
    /// 1. Conditional read of the pointer; not rewritten: done.
    /// 2. Epoch, revision and schema version are checked, then whether the content differs from the loaded one.
    /// 3. The object is read, unpacked within limits, its digest checked, and parsed off the runtime's thread.
    /// 4. `accept` gets it. What it accepts is written to the cache.
    ///
    /// `accept` must have switched to the snapshot when it answers `Ok`, and must keep the old one when it
    /// answers `Err` with a reason.
    ///
    /// # Caveats
    ///
    /// Dropping the future loses nothing but the work done so far.
    pub async fn poll_once(
        &mut self,
        mut accept: impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
    ) -> PollOutcome {
        let outcome = match self.poll_in_time(&mut accept).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.etag = None;
                PollOutcome::Failed(error)
            }
        };
        let result = match &outcome {
            PollOutcome::NotModified => PollResult::NotModified,
            PollOutcome::Unchanged => PollResult::Unchanged,
            PollOutcome::Loaded(_) => PollResult::Loaded,
            PollOutcome::Failed(error) => PollResult::failed(error.upstream),
        };
        self.status.count_poll(result);
        self.status.update(|state| match &outcome {
            PollOutcome::Failed(error) => {
                state.upstream = Some(error.upstream);
                state.last_error = Some(error.message.clone());
                state.consecutive_failures = state.consecutive_failures.saturating_add(1);
            }
            _ => {
                state.upstream = Some(Upstream::Ok);
                state.last_error = None;
                state.consecutive_failures = 0;
            }
        });
        outcome
    }

    /// Polls until `shutdown` completes: at once, then every poll interval, after failures with growing pauses
    /// of at most a minute, or as long as the source wants. Each kind of failure is logged when it begins, not at
    /// every poll.
    ///
    /// While nothing is loaded and the source does not answer, the fallbacks are asked in turn, each after a moment
    /// of its own for every reader. The source goes on being polled; what it has takes over as soon as it answers,
    /// unless it is older.
    pub async fn run(
        &mut self,
        mut accept: impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut before = Some(Upstream::Ok);
        loop {
            let outcome = tokio::select! {
                biased;
                () = shutdown.as_mut() => return,
                outcome = self.poll_once(&mut accept) => outcome,
            };
            let now = match &outcome {
                PollOutcome::Failed(error) => Some(error.upstream),
                _ => Some(Upstream::Ok),
            };
            match &outcome {
                PollOutcome::Failed(error) if now != before => {
                    tracing::warn!(
                        upstream = error.upstream.name(),
                        error = error.message,
                        "no new flag state, going on with what is loaded"
                    );
                }
                PollOutcome::Loaded(pointer) => tracing::info!(
                    revision = pointer.revision,
                    digest = %pointer.digest,
                    flags = pointer.counts.flags,
                    "flag state loaded"
                ),
                _ if now != before => tracing::info!("the source of flag state answers again"),
                _ => {}
            }
            before = now;
            let mut pause = self.pace.pause(self.status.state().consecutive_failures);
            if let PollOutcome::Failed(error) = &outcome {
                pause = pause.max(self.wanted_pause(error));
                tokio::select! {
                    biased;
                    () = shutdown.as_mut() => return,
                    () = self.ask_fallbacks(&mut accept) => {}
                }
            }
            tokio::select! {
                biased;
                () = shutdown.as_mut() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The pause that the other side asked for, and a bit, so that not everybody comes back at once.
    fn wanted_pause(&mut self, error: &FollowError) -> Duration {
        error
            .retry_after
            .map_or(Duration::ZERO, |wanted| wanted + self.pace.spread(wanted.max(Duration::from_secs(1))))
    }

    /// Polls; while there is a fallback to turn to, not for longer than patience lasts, which grows.
    async fn poll_in_time(
        &mut self,
        accept: &mut impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
    ) -> Result<PollOutcome, FollowError> {
        if self.better_fallbacks == 0 {
            return self.poll(accept).await;
        }
        let failures = self.status.state().consecutive_failures;
        let patience = FIRST_PATIENCE.saturating_mul(1 << failures.min(4)).min(LONGEST_PATIENCE);
        let place = self.store.describe(&self.keys.pointer());
        tokio::time::timeout(patience, self.poll(accept)).await.unwrap_or_else(|_| {
            let message =
                format!("no answer from {place} within {} s; turning to others", patience.as_secs());
            Err(FollowError::new(Upstream::Unreachable, message))
        })
    }

    async fn poll(
        &mut self,
        accept: &mut impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
    ) -> Result<PollOutcome, FollowError> {
        let store = Arc::clone(&self.store);
        let etag = self.etag.clone().filter(|_| !store.vouches() || self.may_be_vouched_for());
        let (outcome, etag) = self.take(&*store, etag.as_ref(), accept).await?;
        self.etag = etag.filter(|etag| !etag.0.is_empty());
        Ok(outcome)
    }

    /// Whether it is enough to hear that nothing changed: not if that must be signed, and not if the time of it has
    /// to be written to the cache.
    fn may_be_vouched_for(&self) -> bool {
        self.options.verify.is_none()
            && (self.options.cache.is_none()
                || self.cached.as_ref().is_some_and(|cached| Utc::now() - cached.verified_at < CONFIRMATION))
    }

    /// Asks the fallbacks that are better than what is loaded, until one has something.
    async fn ask_fallbacks(&mut self, accept: &mut impl FnMut(Snapshot, &Pointer) -> Result<(), String>) {
        for index in 0..self.better_fallbacks {
            let Some(store) = self.options.fallbacks.get(index).cloned() else { return };
            let Some((until, failures)) = self.fallback_pauses.get(index).copied() else { return };
            if until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            if !store.is_given() {
                // A failure of the source brings all readers here at the same time.
                tokio::time::sleep(self.pace.spread(FALLBACK_SPREAD)).await;
            }
            match self.take(&*store, None, accept).await {
                Ok(_) => {
                    // A document is for want of anything better; the others are as good as the source.
                    self.better_fallbacks = if store.is_given() { index } else { 0 };
                    let place = store.describe(&self.keys.pointer());
                    tracing::warn!(
                        place,
                        "flag state loaded from a fallback; the source is still being asked"
                    );
                    return;
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(error = error.message, "the fallback has no flag state either");
                    }
                    let failures = failures.saturating_add(1);
                    let pause = self.pace.pause(failures).max(self.wanted_pause(&error));
                    if let Some(slot) = self.fallback_pauses.get_mut(index) {
                        *slot = (Some(Instant::now() + pause), failures);
                    }
                }
            }
        }
    }

    /// Takes what a store has, if it is good and new; answers its tag, too.
    async fn take(
        &mut self,
        store: &dyn Store,
        etag: Option<&Etag>,
        accept: &mut impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
    ) -> Result<(PollOutcome, Option<Etag>), FollowError> {
        let key = self.keys.pointer();
        let (bytes, new_etag) = match store.get(&key, etag, MAX_POINTER_BYTES).await {
            Ok(Got::NotModified) => {
                if store.vouches() {
                    self.status.update(|state| state.verified_at = Some(Utc::now()));
                }
                return Ok((PollOutcome::NotModified, etag.cloned()));
            }
            Ok(Got::Found { bytes, etag }) => (bytes, etag),
            Ok(Got::Missing) => {
                let message = format!(
                    "there is no snapshot at {}; check the location and that a publisher runs",
                    store.describe(&key)
                );
                return Err(FollowError::new(Upstream::Missing, message));
            }
            Err(error) => return Err(from_store(&error)),
        };
        let unusable = |error: &FormatError| Self::unusable(store, &key, error);
        let pointer = Pointer::parse(&bytes).map_err(|error| unusable(&error))?;
        if let Some(verify) = self.options.verify.as_ref().filter(|_| !store.is_given()) {
            verify
                .verify(self.keys.environment(), &bytes)
                .map_err(|error| unusable(&FormatError::Untrusted(error)))?;
        }
        self.check_version(store, &pointer)?;
        let object = pointer.readable().map_err(|error| unusable(&error))?;
        let outcome = match &self.loaded {
            Some(loaded) if loaded.digest == object.digest => {
                // What the cache had is from the cache, also when the source has the same.
                let is_cached = self.status.state().source == Some(Source::Cache);
                self.accepted(&pointer, &object, Some(store.source()).filter(|_| !is_cached));
                if !store.is_given() {
                    self.renew_cache(store, &pointer, &object, bytes).await;
                }
                PollOutcome::Unchanged
            }
            _ => {
                let compressed = self.load(store, &pointer, &object, accept).await?;
                if !store.is_given() {
                    self.write_cache(&pointer, object.digest, bytes, Some(compressed)).await;
                }
                PollOutcome::Loaded(Box::new(pointer))
            }
        };
        Ok((outcome, Some(new_etag)))
    }

    /// Refuses the past and the foreign.
    fn check_version(&self, store: &dyn Store, pointer: &Pointer) -> Result<(), FollowError> {
        // A document has no epoch; whatever comes after it is better.
        let Some(loaded) = self.loaded.as_ref().filter(|loaded| !loaded.epoch.is_empty()) else {
            return Ok(());
        };
        let place = || store.describe(&self.keys.pointer());
        if loaded.epoch != pointer.epoch {
            if self.options.verify.is_some() && !store.is_given() {
                // Its signature is good. What was signed in an epoch that is over must not come back.
                let confirmed = self.status.state().verified_at.unwrap_or_default();
                if pointer.verified_at + CLOCK_LEEWAY >= confirmed {
                    return Ok(());
                }
            } else if self.options.trust_epoch_change && !pointer.epoch.is_empty() {
                return Ok(());
            }
            let message = format!(
                "{} now belongs to the database `{}`, loaded is the state of `{}`; if the database was restored or \
                 replaced, trust the change of epoch",
                place(),
                pointer.epoch,
                loaded.epoch
            );
            return Err(FollowError::new(Upstream::EpochChanged, message));
        }
        if pointer.revision < loaded.revision {
            let message = format!(
                "{} went back to revision {}, loaded is {}; if the database was restored from a backup, publish with \
                 a new epoch",
                place(),
                pointer.revision,
                loaded.revision
            );
            return Err(FollowError::new(Upstream::RevisionRegressed, message));
        }
        Ok(())
    }

    /// Fetches and hands over an object; answers its compressed bytes.
    async fn load(
        &mut self,
        store: &dyn Store,
        pointer: &Pointer,
        object: &ObjectRef,
        accept: &mut impl FnMut(Snapshot, &Pointer) -> Result<(), String>,
    ) -> Result<Vec<u8>, FollowError> {
        let source = store.source();
        let loaded = self.fetch(store, object).await;
        let (compressed, snapshot) = loaded.inspect_err(|error| {
            let result = match error.upstream {
                Upstream::Corrupt => LoadResult::Corrupt,
                Upstream::TooLarge => LoadResult::TooLarge,
                _ => LoadResult::Failed,
            };
            self.status.count_load(source, result);
        })?;
        if let Err(reason) = accept(snapshot, pointer) {
            self.status.count_load(source, LoadResult::Rejected);
            let place = store.describe(&self.keys.absolute(&object.path));
            let message = format!("the snapshot {place} cannot be used: {reason}");
            return Err(FollowError::new(Upstream::Corrupt, message));
        }
        self.status.count_load(source, LoadResult::Ok);
        self.accepted(pointer, object, Some(source));
        self.better_fallbacks = 0;
        Ok(compressed)
    }

    async fn fetch(&self, store: &dyn Store, object: &ObjectRef) -> Result<(Vec<u8>, Snapshot), FollowError> {
        let key = self.keys.absolute(&object.path);
        let limits = &self.options.limits;
        let (max_object, max_raw) = limits.effective();
        // The pointer says how large it will be, so nothing needs to be fetched to refuse it.
        for (what, size, limit) in [
            ("the compressed object", object.size, max_object),
            ("the uncompressed object", object.raw_size, max_raw),
        ] {
            if size > limit {
                return Err(Self::unusable(store, &key, &FormatError::TooLarge { what, limit }));
            }
        }
        if let Some(left) = limits.memory_left.as_ref().map(|left| left())
            && object.raw_size.saturating_mul(4) > left
        {
            let message = format!(
                "the snapshot {} has {} bytes and needs about four times that, but only {left} bytes of memory are \
                 left; raise the memory limit",
                store.describe(&key),
                object.raw_size
            );
            return Err(FollowError::new(Upstream::TooLarge, message));
        }
        let compressed = match store.get(&key, None, max_object).await {
            Ok(Got::Found { bytes, .. }) => bytes,
            Ok(Got::Missing | Got::NotModified) => {
                let message = format!(
                    "the pointer names {}, which does not exist; the next publication writes it again",
                    store.describe(&key)
                );
                return Err(FollowError::new(Upstream::Missing, message));
            }
            Err(error) => return Err(from_store(&error)),
        };
        // Content beyond the size announced is wrong whatever it is, so there is no need to unpack it.
        let announced = object.raw_size.min(max_raw);
        let digest = object.digest;
        let decoded = blocking(move || {
            let decoded = decode(&compressed, &digest, announced);
            (compressed, decoded)
        })
        .await;
        match decoded {
            Ok((compressed, Ok(snapshot))) => Ok((compressed, snapshot)),
            Ok((_, Err(FormatError::TooLarge { .. }))) => {
                let reason =
                    format!("it unpacks to more than the {announced} bytes that the pointer announces");
                Err(Self::unusable(store, &key, &FormatError::Corrupt(reason)))
            }
            Ok((_, Err(error))) => Err(Self::unusable(store, &key, &error)),
            Err(panicked) => Err(Self::unusable(store, &key, &FormatError::Corrupt(panicked))),
        }
    }

    /// Takes note of what is loaded now; `source` only if the content itself is new.
    fn accepted(&mut self, pointer: &Pointer, object: &ObjectRef, source: Option<Source>) {
        self.loaded =
            Some(Loaded { epoch: pointer.epoch.clone(), revision: pointer.revision, digest: object.digest });
        self.status.update(|state| {
            state.loaded = true;
            state.revision = pointer.revision;
            state.epoch.clone_from(&pointer.epoch);
            state.digest = Some(object.digest);
            state.raw_size = object.raw_size;
            state.counts = pointer.counts;
            state.verified_at = Some(pointer.verified_at);
            if source.is_some() {
                state.source = source;
            }
        });
    }

    /// Brings the cache up to a pointer whose content is loaded already. If the content itself is not on disk,
    /// because it could not be written then, it is fetched once more.
    async fn renew_cache(
        &mut self,
        store: &dyn Store,
        pointer: &Pointer,
        object: &ObjectRef,
        bytes: Vec<u8>,
    ) {
        if self.options.cache.is_none()
            || self.cached.as_ref().is_some_and(|cached| cached.is_current(pointer, &object.digest))
        {
            return;
        }
        let compressed = if self.cached.as_ref().is_some_and(|cached| cached.digest == object.digest) {
            None
        } else {
            match self.fetch(store, object).await {
                Ok((compressed, _)) => Some(compressed),
                // The state is loaded; the cache gets its next chance when the pointer moves again.
                Err(_) => return,
            }
        };
        self.write_cache(pointer, object.digest, bytes, compressed).await;
    }

    /// Writes the last known good state; without `compressed` only the pointer.
    async fn write_cache(
        &mut self,
        pointer: &Pointer,
        digest: Digest,
        bytes: Vec<u8>,
        compressed: Option<Vec<u8>>,
    ) {
        let Some(cache) = self.options.cache.clone() else { return };
        let keys = self.keys.clone();
        let written = blocking(move || match compressed {
            Some(object) => cache.write(&keys, &bytes, &digest, &object),
            None => cache.write_pointer(&keys, &bytes),
        })
        .await;
        let error = match written {
            Ok(Ok(())) => {
                self.cached = Some(Cached::of(pointer, digest));
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked,
        };
        // What is on disk now is not known; it is written in full the next time.
        self.cached = None;
        if self.status.count_cache_write_failure() == 0 {
            tracing::warn!(
                error,
                "the last known good flag state cannot be written to disk; a restart will need the source (said once)"
            );
        }
    }

    fn unusable(store: &dyn Store, key: &str, error: &FormatError) -> FollowError {
        let upstream = match error {
            FormatError::TooLarge { .. } => Upstream::TooLarge,
            FormatError::SchemaTooNew { .. } => Upstream::SchemaTooNew,
            FormatError::Untrusted(SignatureError::Unsigned) => Upstream::Unsigned,
            FormatError::Untrusted(_) => Upstream::BadSignature,
            _ => Upstream::Corrupt,
        };
        FollowError::new(upstream, format!("{} is unusable: {error}", store.describe(key)))
    }
}

fn from_store(error: &StoreError) -> FollowError {
    use StoreErrorKind as Kind;
    let upstream = match error.kind {
        Kind::Forbidden
        | Kind::Unauthenticated
        | Kind::NotPermitted
        | Kind::NoCredentials
        | Kind::WrongCredentials
        | Kind::ExpiredToken => Upstream::Forbidden,
        Kind::BucketMissing | Kind::InvalidKey => Upstream::Missing,
        Kind::ClockSkew => Upstream::ClockSkew,
        Kind::TooLarge => Upstream::TooLarge,
        Kind::Unreachable
        | Kind::Timeout
        | Kind::Unavailable
        | Kind::WrongRegion
        | Kind::Unsupported
        | Kind::Other => Upstream::Unreachable,
    };
    FollowError { retry_after: error.retry_after, ..FollowError::new(upstream, error.to_string()) }
}

/// Runs work that takes the processor or the disk for long off the runtime's own thread, which also serves
/// evaluations.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}
