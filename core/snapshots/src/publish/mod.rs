//! The writer: makes a snapshot the current one.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use flipt_model::Snapshot;

use crate::format::{
    EncodedObject, FormatError, Keys, MAX_OBJECT_BYTES, MAX_POINTER_BYTES, MAX_RAW_BYTES, Pointer,
    SCHEMA_VERSION, decode, encode, feature_file_is_valid,
};
use crate::signature::SigningKey;
use crate::store::{Etag, Got, Headers, Precondition, Put, Source, Store, StoreError, StoreErrorKind};

mod garbage;

pub use garbage::{Collected, collect_garbage};

/// How often a lost race for the pointer is run again.
const RETRIES: usize = 3;

const POINTER_HEADERS: Headers = Headers { content_type: "application/json", cache_control: "no-cache" };
const OBJECT_HEADERS: Headers =
    Headers { content_type: "application/gzip", cache_control: "immutable, max-age=31536000" };
const FEATURES_HEADERS: Headers = Headers { content_type: "application/yaml", cache_control: "no-cache" };

/// Identifies a state of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The database instance. A restored backup gets a new one.
    pub epoch: String,
    /// Grows with every change within the epoch.
    pub revision: u64,
}

/// Whether writes are conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConditionalWrites {
    /// Conditional, unless the store says that it knows no such thing.
    #[default]
    Auto,
    /// Conditional; a store that says that it knows no such thing is an error.
    On,
    /// Never. Two publishers may then overwrite each other; readers ignore the older one and the next
    /// publication repairs it.
    Off,
}

/// Refuses publications that look like an accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Whether a snapshot without any flag may follow one that had some.
    pub allow_empty: bool,
    /// By how much the number of flags may shrink at once, in percent.
    pub max_shrink_percent: u8,
}

/// How to publish.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Program and version, for the pointer.
    pub writer: String,
    /// Files for a stock Flipt to read: `features/<namespace>/features.yaml` with its content.
    pub features: Vec<(String, Vec<u8>)>,
    /// Whether writes are conditional.
    pub conditional_writes: ConditionalWrites,
    /// How many history entries keep their objects.
    pub keep_revisions: usize,
    /// How long everything is kept in any case.
    pub min_age: Duration,
    /// Publish although the current pointer is of another epoch, of a newer revision, or unreadable. Readers
    /// accept that only from a new epoch, and only if they trust the change.
    pub new_epoch: bool,
    /// Signs the pointer; `None` leaves it unsigned.
    pub signing_key: Option<Arc<SigningKey>>,
    /// Protection against empty and shrunk snapshots; `None` publishes anything.
    pub guard: Option<Guard>,
    /// The time to write; `None` takes the clock.
    pub now: Option<DateTime<Utc>>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            writer: concat!("flipt-snapshots ", env!("CARGO_PKG_VERSION")).to_owned(),
            features: Vec::new(),
            conditional_writes: ConditionalWrites::Auto,
            keep_revisions: 50,
            min_age: Duration::from_secs(7 * 24 * 3600),
            new_epoch: false,
            signing_key: None,
            guard: None,
            now: None,
        }
    }
}

/// What a publication did.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Whether the pointer now names another revision or content than before, by our doing.
    pub changed: bool,
    /// Whether another publisher was faster with this very state, or with a newer revision; then nothing was left to
    /// do.
    pub superseded: bool,
    /// The pointer as it is now in the store.
    pub pointer: Pointer,
    /// Key of the current object, below the location's prefix.
    pub object_key: String,
    /// How many feature files were written.
    pub features_written: usize,
    /// What was collected; `None` if nothing changed.
    pub collected: Option<Collected>,
    /// What went wrong after the snapshot had been published, for people; logged already.
    pub warnings: Vec<String>,
}

/// Why a snapshot was not published. The current one stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot cannot be published.
    #[error("the snapshot cannot be published: {0}")]
    Snapshot(#[from] FormatError),
    /// A feature file has a path that no Flipt would read.
    #[error("`{0}` is no path of a feature file; it must be features/<namespace>/features.yaml")]
    InvalidFeaturePath(String),
    /// The pointer there is no pointer, or of a newer release.
    #[error(
        "{place} was not written by this release ({reason}); remove it, update this publisher, or force with a new \
         epoch"
    )]
    PointerUnreadable {
        /// Where the pointer is.
        place: String,
        /// What is wrong with it.
        reason: FormatError,
    },
    /// Another database publishes here.
    #[error(
        "{place} belongs to the database `{current}`, this one is `{ours}`: two databases must not publish to one \
         place; if this one replaces the other, publish with a new epoch"
    )]
    EpochMismatch {
        /// Where the pointer is.
        place: String,
        /// The pointer's epoch.
        current: String,
        /// The epoch to publish.
        ours: String,
    },
    /// A newer revision is published already.
    #[error(
        "{place} is at revision {current}, this database only at {ours}: it may have been restored from a backup; if \
         so, publish with a new epoch"
    )]
    RevisionRegressed {
        /// Where the pointer is.
        place: String,
        /// The pointer's revision.
        current: u64,
        /// The revision to publish.
        ours: u64,
    },
    /// The guard refuses.
    #[error(
        "{place} has {current} flags, this snapshot only {ours}: refused by the guard (allow it if intended)"
    )]
    Guarded {
        /// Where the pointer is.
        place: String,
        /// Flags in the current snapshot.
        current: u64,
        /// Flags in the snapshot to publish.
        ours: u64,
    },
    /// What was written does not read back as it was written.
    #[error("{place} has {found:?} bytes after writing {expected}; the store is not reliable")]
    NotStored {
        /// Where the object should be.
        place: String,
        /// Its size.
        expected: u64,
        /// The size found.
        found: Option<u64>,
    },
    /// Others kept moving the pointer.
    #[error(
        "{place} was changed by others {RETRIES} times in a row; it is tried again at the next publication"
    )]
    Contended {
        /// Where the pointer is.
        place: String,
    },
}

/// The current pointer of an environment; `None` if nothing is published.
///
/// # Errors
///
/// [`PublishError::Store`]; [`PublishError::PointerUnreadable`]; [`PublishError::Snapshot`] for an invalid
/// environment.
pub async fn current(store: &dyn Store, environment: &str) -> Result<Option<Pointer>, PublishError> {
    let key = Keys::new(environment)?.pointer();
    match read_pointer(store, &key).await? {
        None => Ok(None),
        Some((Ok(pointer), _)) => Ok(Some(pointer)),
        Some((Err(reason), _)) => {
            Err(PublishError::PointerUnreadable { place: store.describe(&key), reason })
        }
    }
}

async fn read_pointer(
    store: &dyn Store,
    key: &str,
) -> Result<Option<(Result<Pointer, FormatError>, Etag)>, StoreError> {
    match store.get(key, None, MAX_POINTER_BYTES).await {
        Ok(Got::Found { bytes, etag }) => Ok(Some((Pointer::parse(&bytes), etag))),
        Ok(Got::Missing | Got::NotModified) => Ok(None),
        // Unlike a bucket, a folder is created by the first write.
        Err(error) if error.kind == StoreErrorKind::BucketMissing && store.source() == Source::File => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Makes `snapshot` the current one of `environment`.
///
/// # Expected flow
///
/// 1. Read the pointer; refuse what must not be published over it.
/// 2. Write the object unless it is there; check its size in the store.
/// 3. Move the pointer by compare-and-swap. If somebody else moved it: done if theirs is newer or the same, else again,
///    at most three times.
/// 4. Write the history entry and the feature files that differ; collect garbage if something changed.
///
/// An unchanged state moves only the pointer's `verifiedAt`.
///
/// # Guarantees
///
/// - Readers see the old state or the new one, complete, at any moment and wherever this is interrupted.
/// - Of several publishers of one revision with equal content at most one answers `changed`. Publishers of one
///   revision with different content, such as another choice of namespaces, follow each other; the last one counts.
/// - After an error in steps 1 to 3 the pointer is unchanged by us. Failures in step 4 are warnings; the next
///   publication makes up for them.
///
/// # Errors
///
/// [`PublishError`].
pub async fn publish(
    store: &dyn Store,
    environment: &str,
    snapshot: Snapshot,
    version: Version,
    options: PublishOptions,
) -> Result<Published, PublishError> {
    let keys = Keys::new(environment)?;
    if let Some((path, _)) = options.features.iter().find(|(path, _)| !feature_file_is_valid(path)) {
        return Err(PublishError::InvalidFeaturePath(path.clone()));
    }
    let object = encode(snapshot)?;
    let mut publication = Publication {
        store,
        conditional: options.conditional_writes != ConditionalWrites::Off,
        now: options.now.unwrap_or_else(Utc::now).trunc_subsecs(0),
        keys,
        object,
        version,
        options,
    };
    let mut published = publication.swap().await?;
    // The winner may be ourselves: if the answer to our write was lost, the client's own retry finds it made.
    if publication.is_ours(&published.pointer) {
        publication.follow_up(&mut published).await;
    }
    Ok(published)
}

struct Publication<'a> {
    store: &'a dyn Store,
    keys: Keys,
    object: EncodedObject,
    version: Version,
    options: PublishOptions,
    conditional: bool,
    now: DateTime<Utc>,
}

impl Publication<'_> {
    async fn swap(&mut self) -> Result<Published, PublishError> {
        let key = self.keys.pointer();
        let mut stored = None;
        for attempt in 0..=RETRIES {
            let found = read_pointer(self.store, &key).await?;
            let precondition = match &found {
                _ if !self.conditional => Precondition::None,
                Some((_, etag)) => Precondition::IfMatch(etag.clone()),
                None => Precondition::IfAbsent,
            };
            let current = match found {
                Some((Ok(pointer), _)) => Some(pointer),
                Some((Err(reason), _)) if !self.options.new_epoch => {
                    return Err(PublishError::PointerUnreadable { place: self.store.describe(&key), reason });
                }
                _ => None,
            };
            if attempt > 0
                && let Some(current) = &current
                && current.epoch == self.version.epoch
                && (current.revision > self.version.revision || self.is_ours(current))
            {
                return Ok(self.published(current.clone(), false, true));
            }
            self.check(current.as_ref())?;
            let size = match stored {
                Some(size) => size,
                None => *stored.insert(self.store_object(current.as_ref()).await?),
            };
            let (pointer, changed) = self.next(current, size);
            let pointer = match &self.options.signing_key {
                Some(key) => key.sign(self.keys.environment(), pointer)?,
                None => pointer,
            };
            match self.put(&key, pointer.to_bytes()?, precondition, POINTER_HEADERS).await? {
                Put::Stored(_) => return Ok(self.published(pointer, changed, false)),
                Put::PreconditionFailed => {}
            }
        }
        Err(PublishError::Contended { place: self.store.describe(&key) })
    }

    /// Refuses what must not be published over `current`.
    fn check(&self, current: Option<&Pointer>) -> Result<(), PublishError> {
        let Some(current) = current else { return Ok(()) };
        let place = || self.store.describe(&self.keys.pointer());
        if !self.options.new_epoch {
            if current.schema_version > SCHEMA_VERSION {
                let reason = FormatError::SchemaTooNew { found: current.schema_version };
                return Err(PublishError::PointerUnreadable { place: place(), reason });
            }
            if current.epoch != self.version.epoch {
                return Err(PublishError::EpochMismatch {
                    place: place(),
                    current: current.epoch.clone(),
                    ours: self.version.epoch.clone(),
                });
            }
            if current.revision > self.version.revision && !self.confirms(current) {
                return Err(PublishError::RevisionRegressed {
                    place: place(),
                    current: current.revision,
                    ours: self.version.revision,
                });
            }
        }
        if let Some(guard) = self.options.guard {
            let (before, after) = (current.counts.flags, self.object.counts.flags);
            let emptied = before > 0 && after == 0 && !guard.allow_empty;
            let kept_percent = u64::from(100_u8.saturating_sub(guard.max_shrink_percent));
            let shrunk = after > 0 && after.saturating_mul(100) < before.saturating_mul(kept_percent);
            if emptied || shrunk {
                return Err(PublishError::Guarded { place: place(), current: before, ours: after });
            }
        }
        Ok(())
    }

    /// The pointer to write, and whether it names something new.
    fn next(&self, current: Option<Pointer>, size: u64) -> (Pointer, bool) {
        if let Some(current) = current
            && (self.is_ours(&current) || self.confirms(&current))
        {
            // The signature there is over the old `verifiedAt`.
            return (Pointer { verified_at: self.now, size, sig: None, ..current }, false);
        }
        let (version, writer) = (&self.version, self.options.writer.as_str());
        let pointer = Pointer::of(&self.object, version.epoch.as_str(), version.revision, self.now, writer);
        // As the store has it, which may have the object from another release.
        (Pointer { size, ..pointer }, true)
    }

    /// Whether a pointer names the very state that we publish.
    fn is_ours(&self, pointer: &Pointer) -> bool {
        pointer.schema_version == SCHEMA_VERSION
            && pointer.epoch == self.version.epoch
            && pointer.revision == self.version.revision
            && pointer.digest == self.object.digest
    }

    /// Whether a pointer of a later revision names the very content that we publish: then it is as true as
    /// ever, and only its time is moved. Publishers that count revisions each for themselves, as of copies of
    /// one folder, would otherwise fall silent behind the one that counts furthest.
    fn confirms(&self, pointer: &Pointer) -> bool {
        !self.options.new_epoch
            && pointer.schema_version == SCHEMA_VERSION
            && pointer.epoch == self.version.epoch
            && pointer.revision > self.version.revision
            && pointer.digest == self.object.digest
    }

    fn published(&self, pointer: Pointer, changed: bool, superseded: bool) -> Published {
        Published {
            changed,
            superseded,
            object_key: self.keys.absolute(&pointer.path),
            pointer,
            features_written: 0,
            collected: None,
            warnings: Vec::new(),
        }
    }

    /// Makes sure that the object is in the store, and answers its size there.
    async fn store_object(&mut self, current: Option<&Pointer>) -> Result<u64, PublishError> {
        let key = self.keys.absolute(&Keys::object_path(&self.object.digest));
        let ours = self.object.bytes.len() as u64;
        let known = current.filter(|current| current.digest == self.object.digest);
        if known.is_some() || !self.conditional {
            match self.store.size(&key).await? {
                Some(size) if size == ours || known.is_some_and(|known| known.size == size) => {
                    return Ok(size);
                }
                Some(size) if self.is_intact(&key).await? => return Ok(size),
                _ => {}
            }
        } else {
            let put =
                self.put(&key, self.object.bytes.clone(), Precondition::IfAbsent, OBJECT_HEADERS).await?;
            let found = self.store.size(&key).await?;
            if found == Some(ours) {
                return Ok(ours);
            }
            // Another release may have compressed the same content differently.
            if put == Put::PreconditionFailed
                && let Some(size) = found
                && self.is_intact(&key).await?
            {
                return Ok(size);
            }
        }
        // Missing, or damaged: then nobody can be using it.
        self.put(&key, self.object.bytes.clone(), Precondition::None, OBJECT_HEADERS).await?;
        let found = self.store.size(&key).await?;
        if found == Some(ours) {
            Ok(ours)
        } else {
            Err(PublishError::NotStored { place: self.store.describe(&key), expected: ours, found })
        }
    }

    async fn is_intact(&self, key: &str) -> Result<bool, StoreError> {
        match self.store.get(key, None, MAX_OBJECT_BYTES).await {
            Ok(Got::Found { bytes, .. }) => Ok(decode(&bytes, &self.object.digest, MAX_RAW_BYTES).is_ok()),
            Ok(Got::Missing | Got::NotModified) => Ok(false),
            Err(error) if error.kind == StoreErrorKind::TooLarge => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes, and learns when the store knows no conditional writes.
    async fn put(
        &mut self,
        key: &str,
        bytes: Vec<u8>,
        precondition: Precondition,
        headers: Headers,
    ) -> Result<Put, StoreError> {
        if precondition == Precondition::None {
            return self.store.put(key, bytes, precondition, headers).await;
        }
        match self.store.put(key, bytes.clone(), precondition, headers).await {
            Err(error)
                if error.kind == StoreErrorKind::Unsupported
                    && self.options.conditional_writes == ConditionalWrites::Auto =>
            {
                tracing::warn!(%error, "the store knows no conditional writes, going on without");
                self.conditional = false;
                self.store.put(key, bytes, Precondition::None, headers).await
            }
            other => other,
        }
    }

    /// Everything that may fail without harm once the pointer stands.
    async fn follow_up(&mut self, published: &mut Published) {
        if let Err(error) = self.write_history(published).await {
            published.warnings.push(format!("history entry not written: {error}"));
        }
        let features = std::mem::take(&mut self.options.features);
        if published.changed
            && !features.is_empty()
            && let Err(error) = self.delete_stale_features(&features).await
        {
            published.warnings.push(format!("feature files of removed namespaces not deleted: {error}"));
        }
        for (path, content) in features {
            match self.write_feature_file(&path, content).await {
                Ok(written) => published.features_written += usize::from(written),
                Err(error) => published.warnings.push(format!("feature file not written: {error}")),
            }
        }
        if published.changed {
            let (keep, min_age) = (self.options.keep_revisions, self.options.min_age);
            match collect_garbage(self.store, &self.keys, keep, min_age, self.now).await {
                Ok(collected) => published.collected = Some(collected),
                Err(error) => published.warnings.push(format!("garbage not collected: {error}")),
            }
        }
        for warning in &published.warnings {
            tracing::warn!(warning, "the snapshot is published, but not everything around it");
        }
    }

    /// Deletes the feature files of namespaces that are gone: a stock Flipt would go on serving their flags.
    async fn delete_stale_features(&self, current: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        for file in self.store.list("features/").await? {
            let is_current = current.iter().any(|(path, _)| *path == file.key);
            if !is_current && feature_file_is_valid(&file.key) {
                self.store.delete(&file.key).await?;
            }
        }
        Ok(())
    }

    async fn write_history(&mut self, published: &Published) -> Result<(), PublishError> {
        let key = self.keys.history(published.pointer.revision);
        // Unchanged, it is there already, unless the publisher was interrupted the last time.
        if published.changed || self.store.size(&key).await?.is_none() {
            self.store.put(&key, published.pointer.to_bytes()?, Precondition::None, POINTER_HEADERS).await?;
        }
        Ok(())
    }

    async fn write_feature_file(&mut self, path: &str, content: Vec<u8>) -> Result<bool, StoreError> {
        let unchanged = match self.store.get(path, None, content.len() as u64).await {
            Ok(Got::Found { bytes, .. }) => bytes == content,
            Ok(Got::Missing | Got::NotModified) => false,
            Err(error) if error.kind == StoreErrorKind::TooLarge => false,
            Err(error) => return Err(error),
        };
        if !unchanged {
            self.store.put(path, content, Precondition::None, FEATURES_HEADERS).await?;
        }
        Ok(!unchanged)
    }
}
