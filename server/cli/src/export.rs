//! `flipt export`: flags as documents.

use std::{io::Write as _, path::Path, process::ExitCode};

use flipt_config::Config;
use flipt_model::{
    DEFAULT_NAMESPACE, Namespace,
    document::{Encoding, sort_by_key, write},
    validation::go_quote,
};

use crate::{
    arguments::ExportOptions, atomic_file, config::Sources, database, environment, failure::Failure, logging,
    progress::Progress, publication, remote,
};

/// Exports to standard output, a file, or a place that sidecars follow.
pub(crate) async fn run(sources: &Sources, options: ExportOptions) -> Result<ExitCode, Failure> {
    if options.namespace.is_some() {
        eprintln!("Flag --namespace has been deprecated, please use namespaces instead");
    }
    options.check_selection().map_err(Failure::new)?;
    let is_remote = !options.remote.address.is_empty();
    match options.output.as_deref() {
        Some(url) if url.contains("://") && is_remote => Err(Failure::new(format!(
            "publishing to {url} needs the state with its revision: give the server with --server instead of --address, or export to a file"
        ))),
        Some(url) if url.contains("://") => publication::run(sources, url, &options).await,
        _ if options.server.is_some() => Err(Failure::new(
            "--server needs --output with a URL to publish to; for documents there is --address",
        )),
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
