//! Pods that should have a sidecar and have none: they were created while no webhook answered.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use flipt_injector::{LABEL_INJECT, LABEL_INJECTED, LABEL_NAMESPACE_INJECTION};
use k8s_openapi::{
    api::core::v1::{Namespace, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{EvictParams, ListParams},
    core::{ObjectMeta, PartialObjectMeta},
};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, events::Severity, settings::Settings};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(30);
/// Pods in one answer of the API server.
const PAGE: u32 = 500;
/// Pods that are over, and pods in the network of their node, which get no sidecar, are none of ours.
const FIELDS: &str = "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed";
/// Namespaces whose pods the webhook is never asked about, beside the operator's own.
const CLOSED: [&str; 2] = ["kube-system", "kube-node-lease"];
/// A pod that its node runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Looks for them until the term ends.
pub(crate) async fn lead(context: Arc<Context>, term: CancellationToken) {
    let mut told = HashSet::new();
    let mut budget = HashMap::new();
    let look = async {
        loop {
            match missed(&context.client, &context.settings).await {
                Ok(pods) => {
                    context.metrics.missed_pods.set(i64::try_from(pods.len()).unwrap_or(i64::MAX));
                    tell(&context, &pods, &mut told).await;
                    if context.settings.evict_missed {
                        evict(&context, &pods, &mut budget).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "look for pods without sidecar"),
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = term.cancelled() => {}
        () = look => {}
    }
    context.metrics.missed_pods.set(0);
}

async fn missed(client: &Client, settings: &Settings) -> Result<Vec<ObjectMeta>, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespaces = namespaces.list_metadata(&ListParams::default().match_any()).await?.items;
    let injection = |name: &str| {
        let namespace = namespaces.iter().find(|namespace| namespace.metadata.name.as_deref() == Some(name));
        namespace.and_then(|namespace| namespace.labels().get(LABEL_NAMESPACE_INJECTION)).map(String::as_str)
    };
    let is_open = |name: &str| {
        !CLOSED.contains(&name) && name != settings.namespace && injection(name) != Some("disabled")
    };

    let labelled = format!("{LABEL_INJECT}=true,!{LABEL_INJECTED}");
    let mut pods = Vec::new();
    match settings.watched() {
        None => pods.append(&mut list(&Api::all(client.clone()), &labelled).await?),
        Some(names) => {
            for name in names {
                pods.append(&mut list(&Api::namespaced(client.clone(), name), &labelled).await?);
            }
        }
    }
    let unlabelled = format!("{LABEL_INJECT} notin (true,false),!{LABEL_INJECTED}");
    for name in namespaces.iter().filter_map(|namespace| namespace.metadata.name.as_deref()) {
        if injection(name) == Some("enabled") && settings.watches(name) {
            pods.append(&mut list(&Api::namespaced(client.clone(), name), &unlabelled).await?);
        }
    }
    pods.retain(|pod| is_missed(pod) && pod.namespace.as_deref().is_some_and(is_open));
    Ok(pods)
}

async fn list(api: &Api<Pod>, labels: &str) -> Result<Vec<ObjectMeta>, kube::Error> {
    let mut parameters = ListParams::default().labels(labels).fields(FIELDS).limit(PAGE);
    let mut pods = Vec::new();
    loop {
        let page = api.list_metadata(&parameters).await?;
        pods.extend(page.items.into_iter().map(|pod: PartialObjectMeta<Pod>| pod.metadata));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(pods),
        }
    }
}

fn is_missed(pod: &ObjectMeta) -> bool {
    let is_static = pod.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR));
    pod.deletion_timestamp.is_none() && !is_static
}

fn controller(pod: &ObjectMeta) -> Option<&OwnerReference> {
    pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Says so, once for each pod.
async fn tell(context: &Context, pods: &[ObjectMeta], told: &mut HashSet<String>) {
    let uid = |pod: &ObjectMeta| pod.uid.clone().unwrap_or_default();
    told.retain(|known| pods.iter().any(|pod| pod.uid.as_ref() == Some(known)));
    for pod in pods {
        if !told.insert(uid(pod)) {
            continue;
        }
        let name = pod.name.clone().unwrap_or_default();
        let about = match controller(pod) {
            Some(owner) => ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                name: Some(owner.name.clone()),
                uid: Some(owner.uid.clone()),
                namespace: pod.namespace.clone(),
                ..ObjectReference::default()
            },
            None => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name.clone()),
                uid: pod.uid.clone(),
                namespace: pod.namespace.clone(),
                ..ObjectReference::default()
            },
        };
        let note = format!(
            "pod {name} should have a sidecar and has none; once the cause is gone, start it anew, for example with \
             kubectl rollout restart"
        );
        context.events.publish(&about, Severity::Warning, "InjectionMissed", note).await;
    }
}

/// Evicts those that somebody makes anew; as many of each owner as there were at first, so that an owner whose new
/// pods get no sidecar either is left in peace.
async fn evict(context: &Context, pods: &[ObjectMeta], budget: &mut HashMap<String, usize>) {
    let owners: Vec<&str> = pods.iter().filter_map(controller).map(|owner| owner.uid.as_str()).collect();
    for owner in &owners {
        let count = owners.iter().filter(|other| other == &owner).count();
        budget.entry((*owner).to_owned()).or_insert(count);
    }
    for pod in pods {
        let (Some(owner), Some(name), Some(namespace)) = (controller(pod), &pod.name, &pod.namespace) else {
            continue;
        };
        let Some(left) = budget.get_mut(&owner.uid).filter(|left| **left > 0) else { continue };
        let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
        match api.evict(name, &EvictParams::default()).await {
            Ok(_) => {
                *left -= 1;
                tracing::info!(namespace, pod = name, "pod without sidecar evicted");
            }
            // A disruption budget says: not now.
            Err(error) => tracing::info!(namespace, pod = name, %error, "pod without sidecar not evicted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_end_or_that_a_node_runs_by_itself_are_not_missed() {
        for (metadata, expected) in [
            (json!({"name": "a"}), true),
            (json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}), false),
            (json!({"name": "a", "annotations": {MIRROR: "x"}}), false),
        ] {
            assert_eq!(is_missed(&serde_json::from_value(metadata).unwrap()), expected);
        }
    }
}
