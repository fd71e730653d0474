//! The custom resources of the product, in place in the cluster.

use flipt_crds::manifests;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::wait::until;

/// Marks definitions that `make e2e` installed, and removes before the chart brings its own.
const LABEL: &str = "flipt.io/e2e";

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// Installs the definitions of all kinds, once, and waits until they are served.
///
/// # Panics
/// If the API server refuses one, or finds something wrong with it.
pub async fn install_definitions(client: &Client) {
    INSTALLED.get_or_init(|| install(client.clone())).await;
}

async fn install(client: Client) {
    let definitions = Api::<CustomResourceDefinition>::all(client);
    for manifest in manifests() {
        let name = manifest.definition.metadata.name.clone().unwrap();
        let there = definitions.get_opt(&name).await.unwrap();
        let ours = |definition: &CustomResourceDefinition| {
            definition.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL))
        };
        if there.is_some_and(|there| !ours(&there)) {
            // Somebody's, with everything that is in it.
            continue;
        }
        let mut definition = manifest.definition.clone();
        definition.metadata.labels.get_or_insert_default().insert(LABEL.to_owned(), "definitions".to_owned());
        let patch = PatchParams::apply("flipt-e2e").force();
        definitions
            .patch(&name, &patch, &Patch::Apply(&definition))
            .await
            .unwrap_or_else(|error| panic!("the API server refuses {name}: {error}"));
        until(&format!("{name} is served"), || async {
            let definition = definitions.get(&name).await.unwrap();
            let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
            let says = |type_: &str| {
                conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
            };
            assert!(!says("NonStructuralSchema"), "{name}: {conditions:?}");
            says("Established") && says("NamesAccepted")
        })
        .await
        .unwrap();
    }
}

/// The calls for a resource of ours: in this namespace, or of the cluster, as its kind is.
///
/// # Panics
/// If there is no such kind.
#[must_use]
pub fn resource_of(client: &Client, namespace: &str, resource: &Value) -> Api<DynamicObject> {
    let kind = resource["kind"].as_str().unwrap();
    let spec = manifests()
        .into_iter()
        .map(|manifest| manifest.definition.spec)
        .find(|spec| spec.names.kind == kind)
        .unwrap_or_else(|| panic!("no kind {kind}"));
    let kind = GroupVersionKind::gvk(&spec.group, &spec.versions[0].name, kind);
    let api = ApiResource::from_gvk_with_plural(&kind, &spec.names.plural);
    if spec.scope == "Cluster" {
        Api::all_with(client.clone(), &api)
    } else {
        Api::namespaced_with(client.clone(), namespace, &api)
    }
}
