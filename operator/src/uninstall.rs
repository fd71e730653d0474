//! What makes it possible to remove everything: nothing that only the operator could finish is left behind.

use std::{fmt::Write as _, time::Duration};

use flipt_crds::{
    ClusterFliptSidecarProfile, FliptFlag, FliptNamespace, FliptSegment, FliptServer, FliptSidecarProfile,
    FliptSnapshotExport,
};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{ConfigMap, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use tokio::time::Instant;

use crate::{
    context,
    error::Error,
    leader::LEASE,
    settings::{Settings, UninstallMode},
    trust,
};

/// Everything has to be over by then: Helm waits.
const LIMIT: Duration = Duration::from_secs(60);

/// Of which so much is for the operator to delete what the resources wrote.
const DELETION: Duration = Duration::from_secs(35);

/// The operator notices within this time that somebody else holds the Lease, and has stopped writing.
const STEPPING_DOWN: Duration = Duration::from_secs(8);

/// So long after that nobody else takes the Lease: enough to delete the operator's Deployment. The Lease itself is gone
/// before, with the last of those operators.
const LEASE_SECONDS: i32 = 60;

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Calls at once.
const AT_ONCE: usize = 8;

const HOLDER: &str = "flipt-operator-uninstall";

/// Kinds in the order in which they go: what lies in a server before the server.
fn kinds() -> [ApiResource; 7] {
    [
        ApiResource::erase::<FliptFlag>(&()),
        ApiResource::erase::<FliptSegment>(&()),
        ApiResource::erase::<FliptNamespace>(&()),
        ApiResource::erase::<FliptSnapshotExport>(&()),
        ApiResource::erase::<FliptServer>(&()),
        ApiResource::erase::<FliptSidecarProfile>(&()),
        ApiResource::erase::<ClusterFliptSidecarProfile>(&()),
    ]
}

/// Makes it possible to remove everything, and prints what it did.
///
/// # Expected flow
/// 1. The webhook configuration goes, so that no pod waits for a webhook that is not there.
/// 2. With `purge`, the custom resources are deleted while the operator still runs, which deletes what they wrote.
/// 3. The Lease is taken, so that no operator writes any more. It goes with the last of them.
/// 4. Finalizers are removed.
/// 5. With `purge`, the kinds are deleted.
/// 6. The ConfigMaps `flipt-trust` go.
///
/// # Guarantees
/// - It ends within a minute, whatever does not answer.
/// - It can be repeated, and finds nothing to do then.
/// - What is published in S3 stays, and so do running sidecars.
///
/// # Errors
/// Only if there is no client: what is left undone is printed instead, so that `helm uninstall` goes on.
pub(crate) async fn run(settings: Settings, mode: UninstallMode) -> Result<(), Error> {
    let client = context::client().await?;
    let uninstalling = Uninstalling { client, settings, until: Instant::now() + LIMIT };
    if tokio::time::timeout(LIMIT, uninstalling.run(mode)).await.is_err() {
        say("time is over; what is left is described in docs/UNINSTALL.md");
    }
    Ok(())
}

fn say(line: &str) {
    println!("{line}");
}

struct Uninstalling {
    client: Client,
    settings: Settings,
    until: Instant,
}

impl Uninstalling {
    async fn run(&self, mode: UninstallMode) {
        self.webhook().await;
        if mode == UninstallMode::Purge {
            self.delete_resources().await;
        }
        self.take_lease().await;
        for kind in kinds() {
            self.release(&kind).await;
        }
        if mode == UninstallMode::Purge {
            self.delete_kinds().await;
        }
        self.trust().await;
    }

    async fn webhook(&self) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let name = &self.settings.webhook_name;
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => say(&format!("MutatingWebhookConfiguration {name} deleted")),
            Err(error) => unless_gone(&format!("MutatingWebhookConfiguration {name}"), &error),
        }
    }

    /// Deletes all resources, and waits for the operator to delete what they wrote.
    async fn delete_resources(&self) {
        let until = (Instant::now() + DELETION).min(self.until);
        // A server outlives its content, as nothing can be deleted in it otherwise.
        let kinds = kinds();
        let (content, rest) = kinds.split_at(4);
        for kinds in [content, rest] {
            for kind in kinds {
                let found = self.list(kind).await;
                let count = found.len();
                self.each(found, async |object: DynamicObject| {
                    let api = self.api(kind, object.metadata.namespace.as_deref());
                    let deleted = api.delete(&object.name_any(), &DeleteParams::background()).await;
                    if let Err(error) = deleted {
                        unless_gone(&format!("{} {}", kind.kind, object.name_any()), &error);
                    }
                })
                .await;
                if count > 0 {
                    say(&format!("{count} {} deleted", kind.plural));
                }
            }
            loop {
                let mut left = String::new();
                for kind in kinds {
                    let found = self.list(kind).await;
                    let count = found.iter().filter(|object| is_held(object)).count();
                    if count > 0 {
                        // Writing to a String cannot fail.
                        let _ = write!(left, " {count} {}", kind.plural);
                    }
                }
                if left.is_empty() {
                    break;
                }
                if Instant::now() >= until {
                    say(&format!("not cleaned up in time, content may stay in servers:{left}"));
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Holds the Lease, so that the operator, which still runs, does not put finalizers back. The Lease belongs to the
    /// operators that it keeps from writing: Kubernetes deletes it with the last of them, and whoever is installed then
    /// need not wait.
    async fn take_lease(&self) {
        let mut owners = self.operators().await;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let mut held_before = true;
        for _ in 0..5 {
            let now = MicroTime(Timestamp::now());
            // Nobody is kept from anything if there are none.
            let seconds = if owners.as_ref().is_some_and(Vec::is_empty) { 1 } else { LEASE_SECONDS };
            let spec = LeaseSpec {
                holder_identity: Some(HOLDER.to_owned()),
                lease_duration_seconds: Some(seconds),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            };
            let written = match leases.get_opt(LEASE).await {
                Ok(Some(mut lease)) => {
                    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
                    held_before = holder.is_some_and(|holder| !holder.is_empty() && holder != HOLDER);
                    lease.spec = Some(spec);
                    lease.metadata.owner_references = owners.clone();
                    leases.replace(LEASE, &PostParams::default(), &lease).await
                }
                // An operator has never been here, or its namespace goes.
                Ok(None) => {
                    held_before = false;
                    let metadata = ObjectMeta {
                        name: Some(LEASE.to_owned()),
                        owner_references: owners.clone(),
                        ..ObjectMeta::default()
                    };
                    leases.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
                }
                Err(error) => Err(error),
            };
            match written {
                Ok(_) => {
                    say("Lease taken: operators do not write any more");
                    if held_before {
                        tokio::time::sleep(STEPPING_DOWN).await;
                    }
                    return;
                }
                // The operator renewed it meanwhile.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                // Clusters may ask for more rights of who names owners (OwnerReferencesPermissionEnforcement).
                Err(kube::Error::Api(status)) if status.code == 403 && owners.is_some() => owners = None,
                Err(error) => {
                    unless_gone("Lease", &error);
                    return;
                }
            }
        }
        say("Lease not taken: an operator may put finalizers back");
    }

    /// The operators as owners of something; `None`: nobody says which there are.
    async fn operators(&self) -> Option<Vec<OwnerReference>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let account = format!("spec.serviceAccountName={}", self.settings.service_account);
        match pods.list(&ListParams::default().fields(&account)).await {
            Ok(found) => Some(owners(&found.items, &self.settings.pod_name)),
            Err(error) => {
                unless_gone("pods of operators", &error);
                None
            }
        }
    }

    /// Removes our finalizer from all resources of a kind. Those of others stay.
    async fn release(&self, kind: &ApiResource) {
        let found: Vec<DynamicObject> = self.list(kind).await.into_iter().filter(is_held).collect();
        let count = found.len();
        self.each(found, async |object: DynamicObject| {
            let kept: Vec<&String> =
                object.finalizers().iter().filter(|name| *name != flipt_crds::FINALIZER).collect();
            let patch = serde_json::json!({"metadata": {
                "finalizers": kept,
                // Only the state that was seen: a finalizer that somebody adds meanwhile stays.
                "resourceVersion": object.metadata.resource_version,
            }});
            let api = self.api(kind, object.metadata.namespace.as_deref());
            let name = object.name_any();
            if let Err(error) = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                unless_gone(&format!("finalizer of {} {name}", kind.kind), &error);
            }
        })
        .await;
        if count > 0 {
            say(&format!("{count} {} released", kind.plural));
        }
    }

    async fn delete_kinds(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for kind in kinds() {
            let name = format!("{}.{}", kind.plural, kind.group);
            match api.delete(&name, &DeleteParams::default()).await {
                Ok(_) => say(&format!("CustomResourceDefinition {name} deleted")),
                Err(error) => unless_gone(&format!("CustomResourceDefinition {name}"), &error),
            }
        }
    }

    async fn trust(&self) {
        let api: Api<ConfigMap> = Api::all(self.client.clone());
        let found = match api.list(&ListParams::default().labels(trust::SELECTOR)).await {
            Ok(found) => found.items,
            Err(error) => return unless_gone("ConfigMaps flipt-trust", &error),
        };
        let count = found.len();
        self.each(found, async |map: ConfigMap| {
            let namespace = map.namespace().unwrap_or_default();
            let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
            if let Err(error) = api.delete(&map.name_any(), &DeleteParams::default()).await {
                unless_gone(&format!("ConfigMap {namespace}/{}", map.name_any()), &error);
            }
        })
        .await;
        if count > 0 {
            say(&format!("{count} ConfigMaps of trusted keys deleted"));
        }
    }

    fn api(&self, kind: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        }
    }

    /// All resources of a kind; none if there is no such kind any more.
    async fn list(&self, kind: &ApiResource) -> Vec<DynamicObject> {
        match self.api(kind, None).list(&ListParams::default()).await {
            Ok(found) => found.items,
            Err(error) => {
                unless_gone(&kind.plural, &error);
                Vec::new()
            }
        }
    }

    async fn each<T>(&self, objects: Vec<T>, act: impl AsyncFn(T)) {
        futures::stream::iter(objects).for_each_concurrent(AT_ONCE, |object| act(object)).await;
    }
}

/// Pods that may still do something, except this one, and what would make new ones in their place.
fn owners(pods: &[Pod], this: &str) -> Vec<OwnerReference> {
    let mut owners: Vec<OwnerReference> = Vec::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if pod.name_any() == this || matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let maker = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        let maker = maker.map(|owner| OwnerReference {
            controller: None,
            block_owner_deletion: None,
            ..owner.clone()
        });
        let pod = pod.uid().map(|uid| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: pod.name_any(),
            uid,
            ..OwnerReference::default()
        });
        for owner in [pod, maker].into_iter().flatten() {
            if owners.iter().all(|known| known.uid != owner.uid) {
                owners.push(owner);
            }
        }
    }
    owners
}

/// Whether it waits for the operator. What others hold is theirs to release.
fn is_held(object: &DynamicObject) -> bool {
    object.finalizers().iter().any(|name| name == flipt_crds::FINALIZER)
}

/// Prints a failure, unless there is nothing to do any more.
fn unless_gone(what: &str, error: &kube::Error) {
    if !matches!(error, kube::Error::Api(status) if status.code == 404) {
        say(&format!("{what}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, phase: &str, owners: Value) -> Pod {
        let metadata = json!({ "name": name, "uid": format!("uid-of-{name}"), "ownerReferences": owners });
        serde_json::from_value(json!({ "metadata": metadata, "status": { "phase": phase } })).unwrap()
    }

    #[test]
    fn the_lease_belongs_to_all_operators_and_to_what_makes_them() {
        let set = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "operator", "uid": "set", "controller": true,
            "blockOwnerDeletion": true,
        }]);
        let pods = [
            pod("one", "Running", set.clone()),
            pod("two", "Pending", set),
            pod("evicted", "Failed", json!([])),
            pod("this", "Running", json!([])),
        ];
        let owners = owners(&pods, "this");
        let uids: Vec<&str> = owners.iter().map(|owner| owner.uid.as_str()).collect();
        assert_eq!(uids, ["uid-of-one", "set", "uid-of-two"]);
        // Nobody who is deleted has to wait for the Lease.
        assert!(
            owners.iter().all(|owner| owner.block_owner_deletion.is_none() && owner.controller.is_none())
        );
        assert_eq!((owners[1].api_version.as_str(), owners[1].kind.as_str()), ("apps/v1", "ReplicaSet"));
    }
}
