//! `flipt import`: documents into the database, or into a running server.

use std::{io::Read as _, process::ExitCode};

use flipt_model::{
    DEFAULT_NAMESPACE, Namespace,
    document::{Encoding, ImportDocument, read_import},
};
use flipt_store::{Environment as _, ImportMode, ImportedNamespace, migrations::Policy};

use crate::{
    arguments::ImportOptions,
    config::Sources,
    database, environment,
    failure::Failure,
    logging,
    progress::Progress,
    remote::{self, interruption::Interruption, write::Context},
    terminal,
};

/// Imports one file, or standard input.
pub(crate) async fn run(sources: &Sources, options: ImportOptions) -> Result<ExitCode, Failure> {
    if !options.remote.address.is_empty() {
        return remotely(&options).await;
    }
    let config = sources.load_and_log(false)?;
    let namespaces = documents(&options)?;
    let mode = match (options.drop, options.skip_existing) {
        (true, _) => ImportMode::Replace,
        (false, true) => ImportMode::SkipExisting,
        (false, false) => ImportMode::FailOnExisting,
    };
    let store = database::open_store(&config, Policy::FirstRun).await?;
    if !may_drop(&options, store.database().place(), &namespaces)? {
        return Ok(ExitCode::FAILURE);
    }
    let progress = Progress::of(about(&namespaces));
    store.import(&namespaces, mode).await.map_err(Failure::new)?;
    drop(progress);
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Imports through a running server; neither configuration nor database are touched here.
async fn remotely(options: &ImportOptions) -> Result<ExitCode, Failure> {
    let client = remote::connect(&options.remote.address, &options.remote.token)?;
    logging::start_early(&environment::variables());
    let namespaces = documents(options)?;
    if !may_drop(options, &options.remote.address, &namespaces)? {
        return Ok(ExitCode::FAILURE);
    }
    let progress = Progress::of(about(&namespaces));
    let context = Context { progress: &progress, interruption: &Interruption::watch()? };
    if options.drop {
        remote::replace::import(&client, &namespaces, &context).await?;
    } else {
        remote::write::import(&client, &namespaces, options.skip_existing, &context).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks whoever sits at the terminal before everything is removed.
fn may_drop(options: &ImportOptions, place: &str, namespaces: &[ImportedNamespace]) -> Result<bool, Failure> {
    if !options.drop || options.yes || !terminal::is_attended() {
        return Ok(true);
    }
    let flags = count(namespaces);
    let question =
        format!("Remove every namespace, flag and segment in {place}, and put {flags} flags in their place?");
    let may = terminal::confirm(&question)?;
    if !may {
        tracing::info!("nothing was changed");
    }
    Ok(may)
}

fn count(namespaces: &[ImportedNamespace]) -> usize {
    namespaces.iter().map(|namespace| namespace.content.flags.len()).sum()
}

fn about(namespaces: &[ImportedNamespace]) -> String {
    format!("importing {} flags", count(namespaces))
}

/// What is to be imported, read whole before anything is written.
fn documents(options: &ImportOptions) -> Result<Vec<ImportedNamespace>, Failure> {
    let (text, encoding) = read(options)?;
    let documents = read_import(&text, encoding).map_err(|error| {
        // Texts that scripts know do not name the place.
        let place = error.place();
        tracing::info!(line = place.line, column = place.column, "document refused");
        Failure::new(error)
    })?;
    documents.into_iter().map(|document| target(document, options)).collect()
}

fn read(options: &ImportOptions) -> Result<(Vec<u8>, Encoding), Failure> {
    let mut text = Vec::new();
    if options.stdin {
        std::io::stdin()
            .read_to_end(&mut text)
            .map_err(|error| Failure::new(format!("reading standard input: {error}")))?;
        return Ok((text, Encoding::Yaml));
    }
    let path = match options.files.as_slice() {
        [] => return Err(Failure::new("import filename required")),
        [path] => path,
        more => return Err(Failure::new(format!("accepts at most 1 arg(s), received {}", more.len()))),
    };
    let name = path.to_string_lossy();
    let mut file = std::fs::File::open(path).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(format!("opening import file: open {name}: {reason}"))
    })?;
    let encoding = Encoding::from_extension(&name).map_err(Failure::new)?;
    file.read_to_end(&mut text).map_err(|error| Failure::new(format!("reading {name}: {error}")))?;
    Ok((text, encoding))
}

/// The namespace a document goes to (cli spec, section 5.5): one that the document names is created as
/// needed, one that only the command line names is created only on demand.
fn target(document: ImportDocument, options: &ImportOptions) -> Result<ImportedNamespace, Failure> {
    let named = document.namespace.as_ref().map(|_| document.namespace_key().to_owned());
    let (key, create) = match (&named, &options.namespace) {
        (Some(named), Some(wanted)) if named != wanted => {
            return Err(Failure::new(format!(
                "namespace mismatch: namespaces must match in file and args if both provided: {named} != {wanted}"
            )));
        }
        (Some(named), _) => (named.clone(), true),
        (None, Some(wanted)) => (wanted.clone(), options.create_namespace),
        (None, None) => (DEFAULT_NAMESPACE.to_owned(), true),
    };
    let (name, description) = match document.namespace {
        Some(reference) => (reference.name, reference.description),
        None => (key.clone(), String::new()),
    };
    let content = Namespace { key, name, description, flags: document.flags, segments: document.segments };
    Ok(ImportedNamespace { content, create })
}
