//! The custom resources of the product, in place in the cluster.

use flipt_crds::manifests;
use flipt_e2e::until;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long the API server may take to serve a new kind.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let patch = PatchParams::apply("flipt-e2e").force();
        definitions
            .patch(&name, &patch, &Patch::Apply(&manifest.definition))
            .await
            .unwrap_or_else(|error| panic!("the API server refuses {name}: {error}"));
        until(&format!("{name} is served"), PATIENCE, || async {
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
