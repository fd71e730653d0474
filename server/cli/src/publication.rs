//! `flipt export --output URL`: publishes a snapshot once, as a job does it, and tells how that ended: by its exit
//! code, and by one line of JSON for whoever started it (design, section 4.4).

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use flipt_model::Snapshot;
use flipt_snapshots::{
    Location, Pointer, Selection, SigningKey, Store,
    format::{FormatError, Keys, MAX_OBJECT_BYTES, MAX_POINTER_BYTES, MAX_RAW_BYTES, decode},
    publish::{ConditionalWrites, Guard, PublishError, PublishOptions, Published, Version, current},
    store::{Got, ServerConfig, ServerStore, StoreError, StoreErrorKind},
};
use flipt_store::SqlStore;
use serde_json::{Value, json};

use crate::{
    arguments::{ExportOptions, Format},
    config::Sources,
    database, environment,
    failure::Failure,
    logging, publisher,
};

/// Exit codes that job controllers tell apart.
const FAILED: u8 = 1;
const REFUSED_BY_GUARD: u8 = 3;
const NOT_AUTHORISED: u8 = 4;
const STORE_FAILED: u8 = 5;
const OVERTAKEN: u8 = 6;

/// What a container's termination message may have, in bytes.
const LONGEST_RECEIPT: usize = 4096;
/// How much of a message a receipt repeats, in characters; each may need several bytes.
const LONGEST_MESSAGE: usize = 600;
/// Longest pause before the server is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How often a server is asked whether it knows of a revision that is published already. Its replicas hear of each
/// other's writes within a second.
const LOOKS: usize = 3;

/// Why nothing was published.
#[derive(Debug)]
struct Problem {
    code: u8,
    /// One word for machines.
    reason: &'static str,
    message: String,
}

impl Problem {
    fn new(code: u8, reason: &'static str, message: impl ToString) -> Self {
        Self { code, reason, message: message.to_string() }
    }

    fn of_options(message: impl ToString) -> Self {
        Self::new(FAILED, "InvalidOptions", message)
    }

    fn of_database(error: impl ToString) -> Self {
        Self::new(FAILED, "DatabaseFailed", error)
    }

    fn of_snapshot(error: &FormatError) -> Self {
        Self::new(FAILED, "SnapshotInvalid", error)
    }

    fn of_server(error: &StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unauthenticated => Self::new(NOT_AUTHORISED, "Unauthorized", error),
            StoreErrorKind::NotPermitted => Self::new(NOT_AUTHORISED, "Forbidden", error),
            _ => Self::new(FAILED, "ServerUnavailable", error),
        }
    }

    fn of_target(error: &StoreError) -> Self {
        Self::new(STORE_FAILED, "StoreFailed", error)
    }

    fn of_publication(error: &PublishError) -> Self {
        match error {
            PublishError::Store(error) => Self::of_target(error),
            PublishError::NotStored { .. } => Self::new(STORE_FAILED, "StoreFailed", error),
            PublishError::Guarded { .. } => Self::new(REFUSED_BY_GUARD, "GuardRefused", error),
            PublishError::RevisionRegressed { .. } => Self::new(FAILED, "RevisionRegressed", error),
            PublishError::EpochMismatch { .. } => Self::new(FAILED, "EpochMismatch", error),
            PublishError::PointerUnreadable { .. } => Self::new(FAILED, "PointerUnreadable", error),
            PublishError::Contended { .. } => Self::new(FAILED, "Contended", error),
            _ => Self::new(FAILED, "SnapshotInvalid", error),
        }
    }

    fn receipt(&self) -> Value {
        let message: String = self.message.chars().take(LONGEST_MESSAGE).collect();
        json!({ "reason": self.reason, "message": message })
    }
}

/// Where the state is read.
enum Origin {
    Database(Box<SqlStore>),
    Server(Box<dyn Store>),
}

/// A publication that worked.
struct Outcome {
    published: Published,
    /// Whether what is there now is newer than what we had.
    overtaken: bool,
    /// Put before the object's key: the location's prefix.
    prefix: String,
}

/// Publishes, and writes the receipt whatever came of it.
pub(crate) async fn run(sources: &Sources, url: &str, options: &ExportOptions) -> Result<ExitCode, Failure> {
    let publishing = tokio::time::timeout(options.timeout, publish(sources, url, options));
    let result = publishing.await.unwrap_or_else(|_| {
        let message = format!("not done within {} s; see --timeout", options.timeout.as_secs());
        Err(Problem::new(FAILED, "TimedOut", message))
    });
    let receipt = match &result {
        Ok(outcome) => outcome.receipt(),
        Err(problem) => problem.receipt(),
    };
    if let Some(path) = &options.receipt_file {
        write_receipt(path, &receipt);
    }
    match result {
        Ok(outcome) => {
            println!("{receipt}");
            Ok(if outcome.overtaken { ExitCode::from(OVERTAKEN) } else { ExitCode::SUCCESS })
        }
        Err(problem) => Err(Failure::with_code(problem.code, problem.message)),
    }
}

/// Writes into the file that is there: the one of the container runtime is mounted and cannot be replaced.
fn write_receipt(path: &Path, receipt: &Value) {
    let mut line = receipt.to_string();
    if line.len() >= LONGEST_RECEIPT {
        // Only a message can be that long.
        line = json!({ "reason": receipt["reason"], "message": "see the log" }).to_string();
    }
    line.push('\n');
    if let Err(error) = std::fs::write(path, line) {
        tracing::warn!(path = %path.display(), error = %error, "the receipt cannot be written");
    }
}

impl Outcome {
    /// One line about what is published now.
    fn receipt(&self) -> Value {
        let Published { pointer, object_key, .. } = &self.published;
        let object_key = match self.prefix.as_str() {
            "" => object_key.clone(),
            prefix => format!("{prefix}/{object_key}"),
        };
        json!({
            "changed": self.published.changed,
            "superseded": self.published.superseded,
            "revision": pointer.revision,
            "epoch": pointer.epoch,
            "digest": pointer.digest.to_string(),
            "objectKey": object_key,
            "size": pointer.size,
            "rawSize": pointer.raw_size,
            "flags": pointer.counts.flags,
            "namespaces": pointer.counts.namespaces,
        })
    }
}

async fn publish(sources: &Sources, url: &str, options: &ExportOptions) -> Result<Outcome, Problem> {
    if options.server.is_some() {
        logging::start_early(&environment::variables());
    }
    let selection = selection(options)?;
    if !options.formats.contains(&Format::Native) {
        return Err(Problem::of_options("--formats: `native` cannot be left out: sidecars read it"));
    }
    let location: Location = url.parse().map_err(Problem::of_options)?;
    if !location.is_writable() {
        return Err(Problem::of_options(
            "--output: nothing can be published there; give s3://bucket/prefix or file:///folder",
        ));
    }
    let prefix = match &location {
        Location::S3(config) => config.prefix.clone(),
        _ => String::new(),
    };
    let signing_key = match &options.signing_key_file {
        Some(path) => {
            let key = SigningKey::from_file(path)
                .map_err(|error| Problem::of_options(format!("--signing-key-file: {error}")))?;
            Some(Arc::new(key))
        }
        None => None,
    };
    let target = flipt_snapshots::open(&location).await.map_err(|error| Problem::of_target(&error))?;
    let origin = Origin::open(sources, options).await?;
    let (mut state, version) = origin.read(options).await?;
    select(&mut state, &selection, options)?;
    let publication = PublishOptions {
        writer: publisher::WRITER.to_owned(),
        features: if options.formats.contains(&Format::Features) {
            publisher::feature_files(&state)
        } else {
            Vec::new()
        },
        conditional_writes: options.conditional_writes.into(),
        keep_revisions: options.keep_revisions,
        min_age: options.keep_age,
        new_epoch: options.new_epoch,
        signing_key,
        guard: Some(Guard {
            allow_empty: options.guard_allow_empty,
            max_shrink_percent: options.guard_max_shrink,
        }),
        now: None,
    };
    let ours = version.revision;
    let published =
        flipt_snapshots::publish(&*target, &options.environment, state, version, publication).await;
    let outcome = match published {
        Ok(published) => {
            let overtaken = published.superseded && published.pointer.revision > ours;
            Ok(Outcome { published, overtaken, prefix })
        }
        // Between our reading and now, somebody may have published something newer of the same database.
        Err(PublishError::RevisionRegressed { current: theirs, .. })
            if origin.has_reached(theirs, options).await? =>
        {
            overtaken(&*target, &options.environment, prefix).await
        }
        Err(error) => Err(Problem::of_publication(&error)),
    };
    origin.close().await;
    let outcome = outcome?;
    for warning in &outcome.published.warnings {
        tracing::warn!(warning, "publication is not complete");
    }
    Ok(outcome)
}

/// What somebody else has published in the meantime.
async fn overtaken(target: &dyn Store, environment: &str, prefix: String) -> Result<Outcome, Problem> {
    let pointer = current(target, environment).await.map_err(|error| Problem::of_publication(&error))?;
    let pointer = pointer.ok_or_else(|| Problem::new(FAILED, "Contended", "the pointer has just gone"))?;
    let published = Published {
        changed: false,
        superseded: true,
        object_key: format!("v1/{environment}/{}", pointer.path),
        pointer,
        features_written: 0,
        collected: None,
        warnings: Vec::new(),
    };
    Ok(Outcome { published, overtaken: true, prefix })
}

fn selection(options: &ExportOptions) -> Result<Selection, Problem> {
    match options.namespaces.as_ref().or(options.namespace.as_ref()) {
        _ if options.all_namespaces => Ok(Selection::all()),
        Some(patterns) => Ok(Selection::new(patterns.iter().map(|pattern| pattern.trim()))),
        None => Err(Problem::of_options(
            "publishing to a URL needs --all-namespaces, or --namespaces with the keys or patterns of some",
        )),
    }
}

/// Takes the other namespaces away. A selection that fits nothing is a slip, not a wish to have no flags.
fn select(state: &mut Snapshot, selection: &Selection, options: &ExportOptions) -> Result<(), Problem> {
    for pattern in selection.idle(state) {
        tracing::warn!(pattern, "no namespace is called like this");
    }
    selection.apply(state);
    if state.namespaces.is_empty() && !options.guard_allow_empty {
        let message = format!(
            "no namespace is called {selection}: refused by the guard (--guard-allow-empty publishes a snapshot without any)"
        );
        return Err(Problem::new(REFUSED_BY_GUARD, "GuardRefused", message));
    }
    Ok(())
}

impl Origin {
    async fn open(sources: &Sources, options: &ExportOptions) -> Result<Self, Problem> {
        if let Some(url) = &options.server {
            let location: Location =
                url.parse().map_err(|error| Problem::of_options(format!("--server: {error}")))?;
            let Location::Server(config) = location else {
                return Err(Problem::of_options("--server: expected http:// or https:// with host and port"));
            };
            let config = ServerConfig {
                token_file: options.server_token_file.clone(),
                ca_file: options.server_ca_file.clone(),
                ..config
            };
            let server = ServerStore::new(config).map_err(|error| Problem::of_server(&error))?;
            return Ok(Self::Server(Box::new(server)));
        }
        let config = sources.load_and_log(false).map_err(Problem::of_options)?;
        let database = database::open_existing(&config).await.map_err(Problem::of_database)?;
        let store = SqlStore::open(database).await.map_err(Problem::of_database)?;
        if options.new_epoch {
            store.start_new_epoch().await.map_err(Problem::of_database)?;
        }
        Ok(Self::Database(Box::new(store)))
    }

    async fn read(&self, options: &ExportOptions) -> Result<(Snapshot, Version), Problem> {
        match self {
            Self::Database(store) => {
                let (state, version) = store.read_state().await.map_err(Problem::of_database)?;
                Ok((state, Version { epoch: version.epoch, revision: version.revision }))
            }
            Self::Server(server) => {
                let (state, pointer) = patiently(options, || read_server(&**server, options)).await?;
                Ok((state, Version { epoch: pointer.epoch, revision: pointer.revision }))
            }
        }
    }

    /// Whether this database has come to a revision that was ahead of it a moment ago.
    async fn has_reached(&self, revision: u64, options: &ExportOptions) -> Result<bool, Problem> {
        match self {
            Self::Database(store) => {
                Ok(store.read_state().await.map_err(Problem::of_database)?.1.revision >= revision)
            }
            Self::Server(server) => {
                for look in 0..LOOKS {
                    if look > 0 {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    let pointer = read_pointer(&**server, options).await.map_err(Asked::into_problem)?;
                    if pointer.revision >= revision {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    async fn close(self) {
        if let Self::Database(store) = self {
            store.close().await;
        }
    }
}

/// Why a server did not give its state.
enum Asked {
    /// Describes a failure that may be over in a moment.
    Failed(StoreError),
    Final(Problem),
}

impl Asked {
    fn into_problem(self) -> Problem {
        match self {
            Self::Failed(error) => Problem::of_server(&error),
            Self::Final(problem) => problem,
        }
    }
}

impl From<StoreError> for Asked {
    fn from(error: StoreError) -> Self {
        use StoreErrorKind as Kind;
        match error.kind {
            Kind::Unreachable | Kind::Timeout | Kind::Unavailable => Self::Failed(error),
            _ => Self::Final(Problem::of_server(&error)),
        }
    }
}

/// Asks again, while there is time, as long as the server only cannot answer at the moment.
async fn patiently<T, F>(options: &ExportOptions, ask: impl Fn() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Asked>>,
{
    // The rest of the time is for publishing.
    let until = Instant::now() + options.timeout / 2;
    let mut pause = Duration::from_millis(500);
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(Asked::Failed(error)) => error,
            Err(Asked::Final(problem)) => return Err(problem),
        };
        let wanted = error.retry_after.unwrap_or_default().max(pause);
        if Instant::now() + wanted > until {
            return Err(Problem::of_server(&error));
        }
        tracing::warn!(error = %error, pause_ms = wanted.as_millis(), "the server does not answer; trying again");
        tokio::time::sleep(wanted).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn read_pointer(server: &dyn Store, options: &ExportOptions) -> Result<Pointer, Asked> {
    let invalid = |error: &FormatError| Asked::Final(Problem::of_snapshot(error));
    let key = Keys::new(&options.environment).map_err(|error| invalid(&error))?.pointer();
    match server.get(&key, None, MAX_POINTER_BYTES).await? {
        Got::Found { bytes, .. } => Pointer::parse(&bytes).map_err(|error| invalid(&error)),
        Got::Missing | Got::NotModified => Err(Asked::Final(Problem::new(
            FAILED,
            "ServerUnavailable",
            format!(
                "{} does not exist: check --server and --environment, and that the server is of this release",
                server.describe(&key)
            ),
        ))),
    }
}

async fn read_server(server: &dyn Store, options: &ExportOptions) -> Result<(Snapshot, Pointer), Asked> {
    let invalid = |error: &FormatError| Asked::Final(Problem::of_snapshot(error));
    let pointer = read_pointer(server, options).await?;
    let object = pointer.readable().map_err(|error| invalid(&error))?;
    let keys = Keys::new(&options.environment).map_err(|error| invalid(&error))?;
    let key = keys.absolute(&object.path);
    let bytes = match server.get(&key, None, MAX_OBJECT_BYTES).await? {
        Got::Found { bytes, .. } => bytes,
        // Another replica gave the pointer, or the state has moved on far in between.
        Got::Missing | Got::NotModified => {
            let error = StoreError {
                kind: StoreErrorKind::Unavailable,
                operation: "read",
                place: server.describe(&key),
                detail: "the snapshot is not there yet, or not any more".to_owned(),
                retry_after: None,
            };
            return Err(Asked::Failed(error));
        }
    };
    let snapshot = decode(&bytes, &object.digest, object.raw_size.min(MAX_RAW_BYTES))
        .map_err(|error| invalid(&error))?;
    Ok((snapshot, pointer))
}

impl From<crate::arguments::Conditional> for ConditionalWrites {
    fn from(choice: crate::arguments::Conditional) -> Self {
        use crate::arguments::Conditional;
        match choice {
            Conditional::Auto => Self::Auto,
            Conditional::On => Self::On,
            Conditional::Off => Self::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_fits_into_a_termination_message_whatever_went_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt");
        let problem = Problem::new(FAILED, "StoreFailed", "\u{1}ä".repeat(100_000));
        write_receipt(&path, &problem.receipt());
        let line = std::fs::read_to_string(&path).unwrap();
        assert!(line.len() <= LONGEST_RECEIPT && line.ends_with('\n'), "{}", line.len());
        let receipt: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(receipt["reason"], "StoreFailed");
    }
}
