//! Custom resources that the chart brings: it cannot create them itself, as their kinds come with the same release.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use flipt_crds::{
    ClusterFliptSidecarProfile, FliptFlag, FliptNamespace, FliptSegment, FliptServer, FliptSidecarProfile,
    FliptSnapshotExport, GROUP,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde::Deserialize as _;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Field manager of what the chart brings: people see whose it is.
const FIELD_MANAGER: &str = "flipt-chart";

/// Label of what the chart brings; its value is the namespace of the operator, as a cluster may have several.
const LABEL: &str = "flipt.io/bootstrap";

/// How often the folder is looked at. A ConfigMap takes a minute anyway to reach a pod.
const LOOK: Duration = Duration::from_secs(10);

/// Largest file. A ConfigMap holds no more.
const MAX_BYTES: u64 = 1 << 20;

/// Our kinds: the resource, and whether it lives in a namespace.
fn kinds() -> [(ApiResource, bool); 7] {
    [
        (ApiResource::erase::<FliptServer>(&()), true),
        (ApiResource::erase::<FliptNamespace>(&()), true),
        (ApiResource::erase::<FliptSegment>(&()), true),
        (ApiResource::erase::<FliptFlag>(&()), true),
        (ApiResource::erase::<FliptSnapshotExport>(&()), true),
        (ApiResource::erase::<FliptSidecarProfile>(&()), true),
        (ApiResource::erase::<ClusterFliptSidecarProfile>(&()), false),
    ]
}

/// Keeps what is in the folder applied, for as long as this replica leads.
///
/// # Guarantees
/// - What was in the folder once and is not any more is deleted, but only after the whole folder could be read.
/// - Nothing that goes wrong here ends the operator. It is logged once, and tried again.
pub(crate) async fn lead(context: Arc<Context>, term: CancellationToken) {
    let Some(folder) = context.settings.bootstrap_dir.clone() else { return term.cancelled().await };
    let mut applied: Option<Vec<(String, String)>> = None;
    let mut told = String::new();
    loop {
        let outcome = match read(&folder).await {
            Ok(files) if applied.as_ref() == Some(&files) => Ok(()),
            Ok(files) => match reconcile(&context, &files).await {
                Ok(()) => {
                    tracing::info!(files = files.len(), "resources of the chart applied");
                    applied = Some(files);
                    Ok(())
                }
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => told.clear(),
            Err(failure) if failure != told => {
                tracing::warn!(error = failure, "resources of the chart not applied; trying again");
                told = failure;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = term.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Files of the folder with their contents, by name.
async fn read(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut entries = tokio::fs::read_dir(folder).await.map_err(failed)?;
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
        // A mounted ConfigMap has folders of its own, whose names begin with dots.
        if name.starts_with('.') || !is_manifest {
            continue;
        }
        let metadata = tokio::fs::metadata(entry.path()).await.map_err(failed)?;
        if !metadata.is_file() {
            continue;
        }
        if metadata.len() > MAX_BYTES {
            return Err(format!("{name} has more than {MAX_BYTES} bytes"));
        }
        files.push((name, tokio::fs::read_to_string(entry.path()).await.map_err(failed)?));
    }
    files.sort();
    Ok(files)
}

async fn reconcile(context: &Context, files: &[(String, String)]) -> Result<(), String> {
    let own = &context.settings.namespace;
    let objects = objects(files, own)?;
    let mut failures = Vec::new();
    for (resource, object) in &objects {
        if let Err(error) = apply(&context.client, resource, object).await {
            let why = match error {
                kube::Error::Api(status) => status.message.clone(),
                error => error.to_string(),
            };
            failures.push(format!("{} {}: {why}", resource.kind, object.name_any()));
        }
    }
    if failures.is_empty() {
        failures.extend(prune(context, &objects).await.err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

async fn apply(client: &Client, resource: &ApiResource, object: &DynamicObject) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&object.name_any(), &parameters, &Patch::Apply(object)).await.map(drop)
}

/// Deletes what has our label and is not in the folder.
async fn prune(context: &Context, objects: &[(ApiResource, DynamicObject)]) -> Result<(), String> {
    let own = &context.settings.namespace;
    let wanted: BTreeSet<(&str, Option<&str>, String)> = objects
        .iter()
        .map(|(resource, object)| {
            (resource.kind.as_str(), object.metadata.namespace.as_deref(), object.name_any())
        })
        .collect();
    let labelled = ListParams::default().labels(&format!("{LABEL}={own}"));
    for (resource, namespaced) in kinds() {
        let places: Vec<Option<&str>> = match context.settings.watched() {
            Some(mut namespaces) if namespaced => {
                if !namespaces.contains(&own.as_str()) {
                    namespaces.push(own);
                }
                namespaces.into_iter().map(Some).collect()
            }
            _ => vec![None],
        };
        for place in places {
            let failed = |error: kube::Error| format!("{}: {error}", resource.plural);
            let api = |namespace: Option<&str>| -> Api<DynamicObject> {
                match namespace {
                    Some(namespace) => Api::namespaced_with(context.client.clone(), namespace, &resource),
                    None => Api::all_with(context.client.clone(), &resource),
                }
            };
            for object in api(place).list(&labelled).await.map_err(failed)? {
                let name = object.name_any();
                let namespace = object.metadata.namespace.as_deref();
                if wanted.contains(&(resource.kind.as_str(), namespace, name.clone())) {
                    continue;
                }
                match api(namespace).delete(&name, &DeleteParams::default()).await {
                    Ok(_) => tracing::info!(
                        kind = resource.kind,
                        name,
                        "deleted: the chart does not bring it any more"
                    ),
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
    }
    Ok(())
}

/// The objects of the files, each with our label; those without a namespace belong into the operator's.
fn objects(files: &[(String, String)], own: &str) -> Result<Vec<(ApiResource, DynamicObject)>, String> {
    let kinds = kinds();
    let mut objects = Vec::new();
    for (name, text) in files {
        for document in yaml_serde::Deserializer::from_str(text) {
            let value =
                serde_json::Value::deserialize(document).map_err(|error| format!("{name}: {error}"))?;
            if value.is_null() {
                continue;
            }
            let mut object: DynamicObject =
                serde_json::from_value(value).map_err(|error| format!("{name}: no manifest: {error}"))?;
            let types = object.types.clone().unwrap_or_default();
            let known = kinds.iter().find(|(kind, _)| {
                kind.kind == types.kind && kind.api_version == types.api_version && kind.group == GROUP
            });
            let Some((resource, namespaced)) = known else {
                return Err(format!(
                    "{name}: {} {:?} is none of the kinds of {GROUP}",
                    types.api_version, types.kind
                ));
            };
            if object.metadata.name.as_deref().unwrap_or_default().is_empty() {
                return Err(format!("{name}: {} without metadata.name", types.kind));
            }
            if *namespaced {
                object.metadata.namespace.get_or_insert_with(|| own.to_owned());
            } else {
                object.metadata.namespace = None;
            }
            object.labels_mut().insert(LABEL.to_owned(), own.to_owned());
            // Not ours to say.
            object.metadata.managed_fields = None;
            objects.push((resource.clone(), object));
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(ApiResource, DynamicObject)>, String> {
        objects(&[("a.yaml".to_owned(), text.to_owned())], "flipt-system")
    }

    #[test]
    fn objects_get_a_namespace_and_the_label_by_which_they_are_found_again() {
        let objects = parse(
            "apiVersion: flipt.io/v1alpha1\nkind: FliptServer\nmetadata: {name: main}\nspec: {external: {url: http://a}}\n\
             ---\n# nothing\n---\n\
             apiVersion: flipt.io/v1alpha1\nkind: FliptFlag\nmetadata: {name: f, namespace: shop, labels: {a: b}}\n---\n\
             apiVersion: flipt.io/v1alpha1\nkind: ClusterFliptSidecarProfile\nmetadata: {name: default, namespace: x}\n",
        )
        .unwrap();
        let places: Vec<(&str, Option<&str>)> = objects
            .iter()
            .map(|(resource, object)| (resource.plural.as_str(), object.metadata.namespace.as_deref()))
            .collect();
        assert_eq!(
            places,
            [
                ("fliptservers", Some("flipt-system")),
                ("fliptflags", Some("shop")),
                ("clusterfliptsidecarprofiles", None)
            ]
        );
        assert!(objects.iter().all(|(_, object)| object.labels()[LABEL] == "flipt-system"));
        assert_eq!(objects[1].1.labels()["a"], "b");
        assert_eq!(objects[0].1.data["spec"]["external"]["url"], "http://a");
    }

    #[test]
    fn only_our_kinds_are_applied() {
        for (text, says) in [
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}", "none of the kinds"),
            ("apiVersion: flipt.io/v2\nkind: FliptFlag\nmetadata: {name: a}", "none of the kinds"),
            ("apiVersion: flipt.io/v1alpha1\nkind: FliptFlag\nmetadata: {}", "metadata.name"),
            ("just text", "a.yaml"),
            ("a: [", "a.yaml"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says) && error.starts_with("a.yaml"), "{error}");
        }
    }
}
