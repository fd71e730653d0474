//! The API server lets in what is good, and says of what is bad where and why.

use flipt_crds::{FliptFlag, FliptSegment, flag_of, manifests, segment_of};
use flipt_e2e_cluster::{in_namespace, install_definitions, resource_of};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::Value;

use crate::samples::{self, Change};

/// Asks as kubectl does: fields that no kind has are refused, too. Nothing is stored.
fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

async fn create(
    client: &Client,
    namespace: &str,
    resource: &Value,
    params: &PostParams,
) -> Result<(), String> {
    let object = serde_json::from_value(resource.clone()).unwrap();
    let created = resource_of(client, namespace, resource).create(params, &object).await;
    created.map(drop).map_err(|error| error.to_string())
}

/// Makes a change of a sample: of what is stored, or of what is yet to be.
async fn apply(client: &Client, namespace: &str, change: &Change) -> Result<(), String> {
    let samples = samples::accepted();
    if !change.update {
        return create(client, namespace, &change.apply(&samples), &dry_run()).await;
    }
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let patched = resource_of(client, namespace, &samples[&change.sample])
        .patch(&change.sample, &params, &Patch::Merge(&change.merge))
        .await;
    patched.map(drop).map_err(|error| error.to_string())
}

/// Stores those samples that updates start from.
async fn store_samples(client: &Client, namespace: &str) {
    for (name, sample) in samples::accepted() {
        if !sample["kind"].as_str().unwrap().starts_with("Cluster") {
            create(client, namespace, &sample, &PostParams::default())
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[tokio::test]
async fn every_kind_has_a_resource_that_is_accepted() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        let samples = samples::accepted();
        for manifest in manifests() {
            let kind = manifest.definition.spec.names.kind;
            let sample = samples.values().find(|sample| sample["kind"] == kind.as_str());
            create(&client, &namespace, sample.unwrap(), &dry_run())
                .await
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
    })
    .await;
}

#[tokio::test]
async fn bad_resources_are_refused_with_the_reason() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        let refused = async |change: &Change| {
            let Err(refusal) = apply(&client, &namespace, change).await else {
                panic!("accepted: {change:?}")
            };
            assert!(refusal.contains(&change.message), "{change:?}: {refusal}");
        };
        let (updates, creations): (Vec<_>, Vec<_>) =
            samples::refused().into_iter().partition(|change| change.update);
        for change in &creations {
            refused(change).await;
        }
        store_samples(&client, &namespace).await;
        for change in &updates {
            refused(change).await;
        }
    })
    .await;
}

#[tokio::test]
async fn good_changes_are_accepted() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        let (updates, creations): (Vec<_>, Vec<_>) =
            samples::allowed().into_iter().partition(|change| change.update);
        for change in creations {
            apply(&client, &namespace, &change).await.unwrap_or_else(|error| panic!("{change:?}: {error}"));
        }
        store_samples(&client, &namespace).await;
        for change in updates {
            apply(&client, &namespace, &change).await.unwrap_or_else(|error| panic!("{change:?}: {error}"));
        }
    })
    .await;
}

/// The largest flag and segment that their bounds allow cost no more than the API server grants.
#[tokio::test]
async fn resources_as_large_as_allowed_are_accepted() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        let samples = samples::accepted();
        let many = |count: usize, item: &dyn Fn(usize) -> Value| (0..count).map(item).collect::<Value>();
        let key = |at: usize| format!("{}{at:03}", "k".repeat(97));
        let mut flag = samples["flag"].clone();
        flag["spec"]["variants"] = many(64, &|at| serde_json::json!({ "key": key(at) }));
        flag["spec"]["rules"] = many(64, &|_| {
            let shares = many(32, &|at| serde_json::json!({ "variant": key(63 - at), "rollout": 3.125 }));
            serde_json::json!({ "segments": many(10, &|at| key(at).into()), "distributions": shares })
        });
        let mut segment = samples["segment"].clone();
        let texts: Value = many(100, &|at| format!("{at:036}").into());
        let numbers: Value = many(100, &|at| (1_000_000_000_000_000_u64 + at as u64).into());
        segment["spec"]["constraints"] = many(100, &|at| match at % 3 {
            0 => serde_json::json!({ "type": "STRING", "property": "p", "operator": "isoneof", "value": texts.to_string() }),
            1 => serde_json::json!({ "type": "NUMBER", "property": "p", "operator": "isoneof", "value": numbers.to_string() }),
            _ => serde_json::json!({ "type": "DATETIME", "property": "p", "operator": "eq", "value": "2024-02-29" }),
        });
        for resource in [flag, segment] {
            create(&client, &namespace, &resource, &dry_run()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_means_the_same_in_the_flag_model() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        store_samples(&client, &namespace).await;
        let flag = Api::<FliptFlag>::namespaced(client.clone(), &namespace).get("flag").await.unwrap();
        let flag = flag_of(&flag).unwrap();
        assert_eq!((flag.key.as_str(), flag.default_variant.as_deref()), ("new_checkout", Some("blue")));
        assert_eq!(flag.variants[0].attachment, r##"{"colour":"#00f","sizes":[1,2.5,null]}"##);
        assert_eq!(flag.rules[0].distributions[0].rollout, 33.33);
        let segment = Api::<FliptSegment>::namespaced(client, &namespace).get("segment").await.unwrap();
        let segment = segment_of(&segment).unwrap();
        // As the server stores it.
        assert_eq!(segment.constraints[5].value, "2023-01-31T08:00:00Z");
    })
    .await;
}
