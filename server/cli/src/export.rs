//! `flipt export`: flags as documents, or as a published snapshot.

use std::{io::Write as _, path::Path, process::ExitCode};

use flipt_config::Config;
use flipt_model::{
    DEFAULT_NAMESPACE, Namespace,
    document::{Encoding, sort_by_key, write},
    validation::go_quote,
};
use flipt_snapshots::{
    Location,
    publish::{Guard, PublishError, PublishOptions, Published},
};
use flipt_store::SqlStore;

use crate::{
    arguments::ExportOptions, atomic_file, config::Sources, database, environment, failure::Failure, logging,
    progress::Progress, publisher, remote,
};

/// Exit codes of a publication, which job controllers tell apart (design, section 4.4).
const REFUSED_BY_GUARD: u8 = 3;
const STORE_FAILED: u8 = 5;

/// Exports to standard output, a file, or a place that sidecars follow.
pub(crate) async fn run(sources: &Sources, options: ExportOptions) -> Result<ExitCode, Failure> {
    if options.namespace.is_some() {
        eprintln!("Flag --namespace has been deprecated, please use namespaces instead");
    }
    options.check_selection().map_err(Failure::new)?;
    let is_remote = !options.remote.address.is_empty();
    match options.output.as_deref() {
        Some(url) if url.contains("://") && is_remote => Err(Failure::new(format!(
            "publishing to {url} needs the database with its revision: leave out --address, or export to a file"
        ))),
        Some(url) if url.contains("://") => publish(&sources.load_and_log(false)?, url, &options).await,
        output => document(sources, output, &options).await,
    }
}

async fn document(
    sources: &Sources,
    output: Option<&str>,
    options: &ExportOptions,
) -> Result<ExitCode, Failure> {
    // Before anybody is asked: a wrong name must not cost an export.
    let encoding = match output {
        Some(path) => Encoding::from_extension(path).map_err(Failure::new)?,
        None => Encoding::Yaml,
    };
    let mut namespaces = if options.remote.address.is_empty() {
        from_database(&sources.load_and_log(false)?, options).await?
    } else {
        from_server(options).await?
    };
    if options.sort_by_key {
        if options.all_namespaces {
            namespaces.sort_by(|a, b| a.key.cmp(&b.key));
        }
        namespaces.iter_mut().for_each(sort_by_key);
    }
    let written = write(&namespaces, encoding);
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
            atomic_file::write(Path::new(path), text.as_bytes(), atomic_file::public())
                .map_err(|error| Failure::new(format!("creating output file: {path}: {error}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Keys of the namespaces asked for, in the order asked for.
fn keys(options: &ExportOptions) -> Vec<&str> {
    match options.namespaces.as_ref().or(options.namespace.as_ref()) {
        Some(keys) => keys.iter().map(|key| flipt_model::namespace_or_default(key)).collect(),
        None => vec![DEFAULT_NAMESPACE],
    }
}

async fn from_database(config: &Config, options: &ExportOptions) -> Result<Vec<Namespace>, Failure> {
    let _progress = Progress::of("reading the database");
    let database = database::open_existing(config).await?;
    let state = flipt_store::read_snapshot(&database).await.map_err(Failure::new)?;
    database.close().await;
    if options.all_namespaces {
        return Ok(state.namespaces);
    }
    let find = |key: &str| {
        state
            .namespace(key)
            .cloned()
            .ok_or_else(|| Failure::new(format!("getting namespaces: namespace {} not found", go_quote(key))))
    };
    keys(options).into_iter().map(find).collect()
}

async fn from_server(options: &ExportOptions) -> Result<Vec<Namespace>, Failure> {
    let client = remote::connect(&options.remote.address, &options.remote.token)?;
    logging::start_early(&environment::variables());
    let progress = Progress::of("exporting");
    if options.all_namespaces {
        remote::read::everything(&client, &progress).await
    } else {
        remote::read::selected(&client, &keys(options), &progress).await
    }
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
