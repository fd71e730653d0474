//! `import --drop` on a running server: everything goes, the import comes, and if that fails everything comes
//! back.

use std::{io::Write as _, path::PathBuf};

use flipt_client::{
    CallError, Client,
    call::{CreateNamespace, DeleteNamespace},
};
use flipt_model::{
    DEFAULT_NAMESPACE, Namespace,
    document::{Encoding, write as write_documents},
};
use flipt_proto::flipt as pb;
use flipt_store::ImportedNamespace;

use super::{
    read,
    write::{self, Context},
};
use crate::{failure::Failure, progress::Progress};

/// Removes every namespace, then imports.
///
/// # Guarantees
/// If the import fails, the state from before is created anew, with other ids and times. If that fails too, it
/// is in a file of the current directory, which the log names.
///
/// # Errors
/// The texts of the cli spec, section 5.
pub(crate) async fn import(
    client: &Client,
    namespaces: &[ImportedNamespace],
    context: &Context<'_>,
) -> Result<(), Failure> {
    let dropping = |error: CallError| Failure::new(format!("dropping namespaces: {error}"));
    // Asked first by itself, because scripts know the text of this failure.
    read::list(client).await.map_err(dropping)?;
    let before = read::everything(client, &Progress::of("reading what is there"))
        .await
        .map_err(|failure| failure.while_doing("dropping namespaces: reading what is there"))?;
    let replaced = match clear(client, "Default", "Default namespace").await {
        // Nothing is taken back one by one: everything is replaced again.
        Ok(()) => write::create(client, namespaces, context).await,
        Err(error) => Err(dropping(error)),
    };
    if replaced.is_err() {
        context.interruption.forget();
        match restore(client, &before, context).await {
            Ok(()) => tracing::info!(namespaces = before.len(), "the state from before was restored"),
            Err(failure) => {
                let file = keep(&before);
                tracing::error!(
                    error = %failure,
                    file = file.as_ref().map(|file| file.display().to_string()),
                    "the state from before could not be restored; import that file with --drop"
                );
            }
        }
    }
    replaced
}

/// Removes every namespace and makes the default one anew.
async fn clear(client: &Client, name: &str, description: &str) -> Result<(), CallError> {
    for namespace in read::list(client).await? {
        client
            .call::<DeleteNamespace>(&pb::DeleteNamespaceRequest { key: namespace.key, force: true })
            .await?;
    }
    let request = pb::CreateNamespaceRequest {
        key: DEFAULT_NAMESPACE.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
    };
    client.call::<CreateNamespace>(&request).await?;
    Ok(())
}

async fn restore(client: &Client, before: &[Namespace], context: &Context<'_>) -> Result<(), Failure> {
    let default = before.iter().find(|namespace| namespace.key == DEFAULT_NAMESPACE);
    let (name, description) =
        default.map_or(("Default", "Default namespace"), |default| (&default.name, &default.description));
    clear(client, name, description).await.map_err(Failure::new)?;
    let before: Vec<ImportedNamespace> =
        before.iter().map(|content| ImportedNamespace { content: content.clone(), create: true }).collect();
    write::create(client, &before, context).await
}

/// Writes the state into a new file of the current directory.
fn keep(before: &[Namespace]) -> Option<PathBuf> {
    let text = write_documents(before, Encoding::Yaml).text;
    let mut file =
        tempfile::Builder::new().prefix("flipt-before-drop-").suffix(".yaml").tempfile_in(".").ok()?;
    file.write_all(text.as_bytes()).ok()?;
    file.as_file().sync_all().ok()?;
    file.keep().ok().map(|(_, path)| path)
}
