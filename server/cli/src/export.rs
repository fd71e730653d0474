//! `flipt export`: flags as documents, or as a published snapshot.

use std::{io::Write as _, path::Path, process::ExitCode};

use flipt_config::Config;
use flipt_model::{
    DEFAULT_NAMESPACE, Namespace, Snapshot,
    document::{Encoding, sort_by_key, write},
    validation::go_quote,
};
use flipt_snapshots::{
    Location,
    publish::{Guard, PublishError, PublishOptions, Published},
};
use flipt_store::SqlStore;

use crate::{arguments::ExportOptions, config::Sources, database, failure::Failure, publisher};

/// Exit codes of a publication, which job controllers tell apart (design, section 4.4).
const REFUSED_BY_GUARD: u8 = 3;
const STORE_FAILED: u8 = 5;

/// Exports to standard output, a file, or a place that sidecars follow.
pub(crate) async fn run(sources: &Sources, options: ExportOptions) -> Result<ExitCode, Failure> {
    if options.namespace.is_some() {
        eprintln!("Flag --namespace has been deprecated, please use namespaces instead");
    }
    options.check_selection().map_err(Failure::new)?;
    let config = sources.load_and_log(false)?;
    match options.output.as_deref() {
        Some(url) if url.contains("://") => publish(&config, url, &options).await,
        output => document(&config, output, &options).await,
    }
}

async fn document(
    config: &Config,
    output: Option<&str>,
    options: &ExportOptions,
) -> Result<ExitCode, Failure> {
    // Before the database is asked: a wrong name must not cost an export.
    let encoding = match output {
        Some(path) => Encoding::from_extension(path).map_err(Failure::new)?,
        None => Encoding::Yaml,
    };
    let database = database::open_existing(config).await?;
    let state = flipt_store::read_snapshot(&database).await.map_err(Failure::new)?;
    database.close().await;
    let written = write(&select(state, options)?, encoding);
    for warning in &written.warnings {
        tracing::warn!(warning, "left out of the export");
    }
    match output {
        None => {
            let mut stdout = std::io::stdout().lock();
            match stdout.write_all(written.text.as_bytes()).and_then(|()| stdout.flush()) {
                Ok(()) => {}
                // Whoever reads has seen enough, as `head` does.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                Err(error) => return Err(Failure::new(format!("writing to standard output: {error}"))),
            }
        }
        Some(path) => {
            let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let version = env!("CARGO_PKG_VERSION");
            let text = format!("# exported by Flipt ({version}) on {now}\n\n{}", written.text);
            write_file(Path::new(path), text.as_bytes())
                .map_err(|error| Failure::new(format!("creating output file: {path}: {error}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The namespaces asked for, in the order asked for.
fn select(state: Snapshot, options: &ExportOptions) -> Result<Vec<Namespace>, Failure> {
    let mut selected = if options.all_namespaces {
        let mut namespaces = state.namespaces;
        if options.sort_by_key {
            namespaces.sort_by(|a, b| a.key.cmp(&b.key));
        }
        namespaces
    } else {
        let default = vec![DEFAULT_NAMESPACE.to_owned()];
        let keys = options.namespaces.as_ref().or(options.namespace.as_ref()).unwrap_or(&default);
        keys.iter()
            .map(|key| {
                let key = flipt_model::namespace_or_default(key);
                state.namespace(key).cloned().ok_or_else(|| {
                    Failure::new(format!("getting namespaces: namespace {} not found", go_quote(key)))
                })
            })
            .collect::<Result<_, _>>()?
    };
    if options.sort_by_key {
        selected.iter_mut().for_each(sort_by_key);
    }
    Ok(selected)
}

/// Writes beside the target and renames, so that nobody ever reads half a file.
fn write_file(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What a plain create gives under the usual umask; temporary files start out private.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

async fn publish(config: &Config, url: &str, options: &ExportOptions) -> Result<ExitCode, Failure> {
    if !options.all_namespaces {
        return Err(Failure::new(
            "a snapshot holds every namespace: publishing to a URL needs --all-namespaces",
        ));
    }
    let location: Location = url.parse().map_err(Failure::new)?;
    let target =
        flipt_snapshots::open(&location).await.map_err(|error| Failure::with_code(STORE_FAILED, error))?;
    let store = SqlStore::open(database::open_existing(config).await?).await.map_err(Failure::new)?;
    if options.new_epoch {
        store.start_new_epoch().await.map_err(Failure::new)?;
    }
    let (state, version) = store.read_state().await.map_err(Failure::new)?;
    let publication = PublishOptions {
        writer: publisher::WRITER.to_owned(),
        features: publisher::feature_files(&state),
        new_epoch: options.new_epoch,
        guard: Some(Guard {
            allow_empty: options.guard_allow_empty,
            max_shrink_percent: options.guard_max_shrink,
        }),
        ..Default::default()
    };
    let version = flipt_snapshots::publish::Version { epoch: version.epoch, revision: version.revision };
    let published =
        flipt_snapshots::publish(&*target, &options.environment, state, version, publication).await;
    let overtaken = match &published {
        // Between our reading and now, the server may have published something newer of the same database.
        Err(PublishError::RevisionRegressed { current, .. }) => {
            *current <= store.read_state().await.map_err(Failure::new)?.1.revision
        }
        _ => false,
    };
    store.close().await;
    if overtaken {
        println!("{}", serde_json::json!({ "changed": false, "superseded": true }));
        return Ok(ExitCode::SUCCESS);
    }
    let published = published.map_err(|error| match error {
        PublishError::Guarded { .. } => Failure::with_code(REFUSED_BY_GUARD, error),
        PublishError::Store(_) => Failure::with_code(STORE_FAILED, error),
        other => Failure::new(other),
    })?;
    for warning in &published.warnings {
        tracing::warn!(warning, "publication is not complete");
    }
    println!("{}", receipt(&published));
    Ok(ExitCode::SUCCESS)
}

/// One line of JSON about a publication.
fn receipt(published: &Published) -> serde_json::Value {
    let pointer = &published.pointer;
    serde_json::json!({
        "changed": published.changed,
        "superseded": published.superseded,
        "revision": pointer.revision,
        "epoch": pointer.epoch,
        "digest": pointer.digest.to_string(),
        "objectKey": published.object_key,
        "size": pointer.size,
        "flags": pointer.counts.flags,
        "namespaces": pointer.counts.namespaces,
    })
}
