//! Profiles of sidecars as this replica knows them: which one a pod gets, and what its references come to.
//!
//! Everything is answered from memory. While the API server is away, the last state holds.

mod status;

use std::{hash::Hash, sync::Arc, time::Duration};

use flipt_crds::{
    ClusterFliptSidecarProfile, FliptSidecarProfile, FliptSidecarProfileSpec, FliptSnapshotExport, Reason,
    Source,
};
use flipt_injector::{DEFAULT_PROFILE, Profile, Settings as InjectionSettings, SourceLocation};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta, SelectorExt as _},
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store, store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) use self::status::lead;
use crate::{context::Context, settings::Settings};

/// How often it is looked whether something has become known meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Audience of the tokens that servers accept.
const SERVER_AUDIENCE: &str = "flipt-server";

/// What the operator adds to every profile.
pub(crate) fn injection_settings(settings: &Settings) -> InjectionSettings {
    InjectionSettings {
        image: settings.sidecar_image.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        server_audience: SERVER_AUDIENCE.to_owned(),
    }
}

/// Objects of one kind, of all watched namespaces. One that this release cannot read keeps none of the others away.
#[derive(Clone)]
struct Cache<K>(Vec<Store<DeserializeGuard<K>>>)
where
    K: Resource<DynamicType = ()> + 'static;

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn get(&self, reference: &ObjectRef<DeserializeGuard<K>>) -> Option<Arc<DeserializeGuard<K>>> {
        self.0.iter().find_map(|store| store.get(reference))
    }

    fn all(&self) -> Vec<Arc<DeserializeGuard<K>>> {
        self.0.iter().flat_map(Store::state).collect()
    }
}

/// Profiles, and what they refer to.
#[derive(Clone)]
pub(crate) struct Profiles {
    profiles: Cache<FliptSidecarProfile>,
    cluster: Cache<ClusterFliptSidecarProfile>,
    exports: Cache<FliptSnapshotExport>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
}

/// A profile for a pod.
#[derive(Debug)]
pub(crate) struct Found {
    /// The profile. Without any that exists, it has no source.
    pub(crate) profile: Profile,
    /// What somebody should know about it.
    pub(crate) problems: Vec<String>,
    /// Whether something that it is made of is not known. It may have been created a moment ago.
    pub(crate) incomplete: bool,
}

/// What is wrong with a profile's source, which is left out.
#[derive(Debug)]
struct Fault {
    reason: Reason,
    sentence: String,
    /// What it refers to is not known, as if it were about to be created.
    absent: bool,
}

/// What keeps the memory of a cache up to date; it ends with the process.
pub(crate) type Watches = BoxFuture<'static, ()>;

impl Profiles {
    /// The memory, empty as yet, and what fills it.
    pub(crate) fn new(context: &Context) -> (Self, Watches) {
        let mut watches: Vec<Watches> = Vec::new();
        let client = &context.client;
        let settings = &context.settings;
        let profiles =
            Cache(namespaced(client, settings).into_iter().map(|api| follow(api, &mut watches)).collect());
        let exports =
            Cache(namespaced(client, settings).into_iter().map(|api| follow(api, &mut watches)).collect());
        let cluster = Cache(vec![follow(Api::all(client.clone()), &mut watches)]);
        let (namespaces, mut writer) = store();
        let stream =
            watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watcher::Config::default())
                .default_backoff()
                .modify(|namespace| namespace.metadata.managed_fields = None);
        watches.push(
            async move {
                let mut stream = std::pin::pin!(stream);
                while let Some(event) = stream.next().await {
                    match event {
                        Ok(event) => writer.apply_watcher_event(&event),
                        Err(error) => tracing::warn!(%error, "watch of namespaces"),
                    }
                }
            }
            .boxed(),
        );
        (
            Self { profiles, cluster, exports, namespaces },
            futures::future::join_all(watches).map(drop).boxed(),
        )
    }

    /// Waits until everything has been read once.
    pub(crate) async fn synced(&self) {
        // A store whose writer is gone belongs to a process that ends.
        for store in &self.profiles.0 {
            let _ = store.wait_until_ready().await;
        }
        for store in &self.exports.0 {
            let _ = store.wait_until_ready().await;
        }
        for store in &self.cluster.0 {
            let _ = store.wait_until_ready().await;
        }
        let _ = self.namespaces.wait_until_ready().await;
    }

    /// As [`Profiles::find`], and waits for so long if something is not known: what was created just before the pod,
    /// as `kubectl apply` of one file does, may not have arrived here yet.
    pub(crate) async fn find_within(&self, limit: Duration, namespace: &str, name: &str) -> Found {
        let began = Instant::now();
        loop {
            let found = self.find(namespace, name);
            if !found.incomplete || began.elapsed() >= limit {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The profile of this name for pods of a namespace: that of the namespace, that of the cluster, or, with a
    /// problem to tell, the one that every pod gets which names none.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Found {
        let mut found = Found { profile: no_profile(), problems: Vec::new(), incomplete: false };
        if !self.named(namespace, name, &mut found) && name != DEFAULT_PROFILE {
            self.named(namespace, DEFAULT_PROFILE, &mut found);
        }
        found
    }

    /// Finds the profile of this name, and says whether there is one.
    fn named(&self, namespace: &str, name: &str, found: &mut Found) -> bool {
        let own = self.profiles.get(&ObjectRef::new(name).within(namespace));
        let spec = match own.as_deref() {
            Some(DeserializeGuard(Ok(profile))) => Some((&profile.spec, Some(namespace))),
            Some(DeserializeGuard(Err(error))) => {
                found.problems.push(format!("FliptSidecarProfile {name} cannot be read: {error}"));
                None
            }
            None => None,
        };
        let cluster = self.cluster.get(&ObjectRef::new(name));
        let spec = spec.or_else(|| match cluster.as_deref() {
            Some(DeserializeGuard(Ok(profile))) if self.selects(profile, namespace) => {
                Some((&profile.spec.profile, None))
            }
            Some(DeserializeGuard(Ok(_))) => {
                found
                    .problems
                    .push(format!("ClusterFliptSidecarProfile {name} is not for namespace {namespace}"));
                found.incomplete |= self.namespaces.get(&ObjectRef::new(namespace)).is_none();
                None
            }
            Some(DeserializeGuard(Err(error))) => {
                found.problems.push(format!("ClusterFliptSidecarProfile {name} cannot be read: {error}"));
                None
            }
            None => {
                found.problems.push(format!("there is no profile {name}"));
                found.incomplete |= own.is_none();
                None
            }
        });
        let Some((spec, home)) = spec else { return false };
        let (profile, faults) = self.resolve(name, spec, home);
        found.profile = profile;
        for fault in faults {
            found.incomplete |= fault.absent;
            found.problems.push(fault.sentence);
        }
        true
    }

    fn selects(&self, profile: &ClusterFliptSidecarProfile, namespace: &str) -> bool {
        let Some(selector) = &profile.spec.namespace_selector else { return true };
        let Ok(selector) = kube::core::Selector::try_from(selector.clone()) else { return false };
        self.namespaces
            .get(&ObjectRef::new(namespace))
            .is_some_and(|namespace| selector.matches(namespace.labels()))
    }

    /// A profile with what its sources come to, and what is wrong with them. `home`: the namespace of the profile, if
    /// it has one.
    fn resolve(
        &self,
        name: &str,
        spec: &FliptSidecarProfileSpec,
        home: Option<&str>,
    ) -> (Profile, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut fault = |reason, sentence, absent| faults.push(Fault { reason, sentence, absent });
        let mut sources = Vec::new();
        let mut environment: Option<String> = None;
        for source in &spec.source {
            match source {
                Source { export_ref: Some(reference), .. } => {
                    let namespace = reference.namespace.as_deref().or(home).unwrap_or_default();
                    let export = self.exports.get(&ObjectRef::new(&reference.name).within(namespace));
                    match export.as_deref() {
                        Some(DeserializeGuard(Ok(export))) => {
                            let followed = environment.get_or_insert_with(|| export.spec.environment.clone());
                            if *followed == export.spec.environment {
                                sources.push(SourceLocation::S3(export.spec.s3.clone()));
                            } else {
                                let sentence = format!(
                                    "FliptSnapshotExport {namespace}/{} publishes environment {}, but another \
                                     source publishes {followed}: it is left out",
                                    reference.name, export.spec.environment
                                );
                                fault(Reason::InvalidSpec, sentence, false);
                            }
                        }
                        Some(DeserializeGuard(Err(error))) => {
                            let name = &reference.name;
                            let sentence =
                                format!("FliptSnapshotExport {namespace}/{name} cannot be read: {error}");
                            fault(Reason::ReferenceNotFound, sentence, false);
                        }
                        None => {
                            let sentence =
                                format!("there is no FliptSnapshotExport {namespace}/{}", reference.name);
                            fault(Reason::ReferenceNotFound, sentence, true);
                        }
                    }
                }
                Source { s3: Some(bucket), .. } => sources.push(SourceLocation::S3(bucket.clone())),
                Source { server: Some(server), .. } => {
                    sources.push(SourceLocation::Server(server.url.clone()))
                }
                Source { file: Some(file), .. } => {
                    sources.push(SourceLocation::ConfigMap(file.config_map_ref.clone()));
                }
                Source { export_ref: None, s3: None, server: None, file: None } => {}
            }
        }
        let environment = environment.unwrap_or_else(|| flipt_model::DEFAULT_ENVIRONMENT.to_owned());
        (Profile { name: name.to_owned(), spec: spec.clone(), sources, environment }, faults)
    }
}

/// What is injected when there is no profile: nothing, as it has no source.
fn no_profile() -> Profile {
    Profile {
        name: DEFAULT_PROFILE.to_owned(),
        spec: empty_spec(),
        sources: Vec::new(),
        environment: flipt_model::DEFAULT_ENVIRONMENT.to_owned(),
    }
}

#[allow(clippy::expect_used, reason = "a constant, which the test below reads")]
fn empty_spec() -> FliptSidecarProfileSpec {
    serde_json::from_value(serde_json::json!({ "source": [] })).expect("every other field has a default")
}

fn namespaced<K>(client: &Client, settings: &Settings) -> Vec<Api<DeserializeGuard<K>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match settings.watched() {
        None => vec![Api::all(client.clone())],
        Some(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    }
}

fn follow<K>(api: Api<DeserializeGuard<K>>, watches: &mut Vec<Watches>) -> Store<DeserializeGuard<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    let (reader, mut writer) = store();
    let kind = K::kind(&()).into_owned();
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None);
    watches.push(
        async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => writer.apply_watcher_event(&event),
                    Err(error) => tracing::warn!(kind, %error, "watch"),
                }
            }
        }
        .boxed(),
    );
    reader
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn cache<K>(objects: Vec<Value>) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + 'static,
    {
        let (reader, mut writer) = store();
        for object in objects {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
        }
        Cache(vec![reader])
    }

    /// Profiles that these objects make.
    pub(crate) fn profiles(objects: Vec<Value>) -> Profiles {
        let of =
            |kind: &str| objects.iter().filter(|object| object["kind"] == kind).cloned().collect::<Vec<_>>();
        let (namespaces, mut writer) = store();
        for namespace in of("Namespace") {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(namespace).unwrap()));
        }
        Profiles {
            profiles: cache(of("FliptSidecarProfile")),
            cluster: cache(of("ClusterFliptSidecarProfile")),
            exports: cache(of("FliptSnapshotExport")),
            namespaces,
        }
    }

    pub(crate) fn object(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
        let version = if kind == "Namespace" { "v1" } else { "flipt.io/v1alpha1" };
        let mut object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    }

    fn bucket(name: &str) -> Value {
        json!({"source": [{"s3": {"bucket": name}}]})
    }

    fn buckets(found: &Found) -> Vec<&str> {
        found
            .profile
            .sources
            .iter()
            .map(|source| match source {
                SourceLocation::S3(bucket) => bucket.bucket.as_str(),
                SourceLocation::Server(text) | SourceLocation::ConfigMap(text) => text,
            })
            .collect()
    }

    #[test]
    fn the_profile_of_the_namespace_comes_first_and_then_that_of_the_cluster() {
        let profiles = profiles(vec![
            object("FliptSidecarProfile", Some("shop"), "default", bucket("own")),
            object("ClusterFliptSidecarProfile", None, "default", bucket("cluster")),
        ]);
        assert_eq!(buckets(&profiles.find("shop", "default")), ["own"]);
        assert_eq!(buckets(&profiles.find("pay", "default")), ["cluster"]);
        let found = profiles.find("shop", "missing");
        assert_eq!(buckets(&found), ["own"]);
        assert!(found.problems[0].contains("no profile missing"), "{:?}", found.problems);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_created_just_before_a_pod_is_waited_for() {
        let profile = object("FliptSidecarProfile", Some("shop"), "new", bucket("new"));
        let other = object("FliptSidecarProfile", Some("shop"), "default", bucket("default"));
        let mut profiles = profiles(vec![other.clone()]);
        let (reader, mut writer) = store();
        profiles.profiles = Cache(vec![reader]);
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(other).unwrap()));
        let limit = Duration::from_secs(1);

        let arrival = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(profile).unwrap()));
        };
        let (found, ()) = tokio::join!(profiles.find_within(limit, "shop", "new"), arrival);
        assert_eq!((buckets(&found), found.problems.len()), (vec!["new"], 0));

        let began = Instant::now();
        let found = profiles.find_within(limit, "shop", "missing").await;
        assert_eq!((buckets(&found), found.problems.len()), (vec!["default"], 1));
        assert!((limit..limit + LOOK).contains(&began.elapsed()), "{:?}", began.elapsed());

        let began = Instant::now();
        profiles.find_within(limit, "shop", "new").await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_profile_of_the_cluster_is_for_the_namespaces_that_it_selects() {
        let mut spec = bucket("team");
        spec["namespaceSelector"] = json!({"matchLabels": {"team": "shop"}});
        let mut shop = object("Namespace", None, "shop", json!({}));
        shop["metadata"]["labels"] = json!({"team": "shop"});
        let profiles = profiles(vec![object("ClusterFliptSidecarProfile", None, "default", spec), shop]);
        assert_eq!(buckets(&profiles.find("shop", "default")), ["team"]);
        let found = profiles.find("pay", "default");
        assert!(found.profile.sources.is_empty());
        assert!(found.problems[0].contains("not for namespace pay"), "{:?}", found.problems);
    }

    #[test]
    fn an_export_stands_for_its_bucket_and_a_missing_one_is_told() {
        let export = json!({
            "serverRef": {"name": "main"}, "schedule": "@hourly", "environment": "prod", "s3": {"bucket": "flags"},
        });
        let spec = json!({"source": [{"exportRef": {"name": "gone"}}, {"exportRef": {"name": "prod"}}, {"server": {"url": "http://s"}}]});
        let profiles = profiles(vec![
            object("FliptSnapshotExport", Some("shop"), "prod", export),
            object("FliptSidecarProfile", Some("shop"), "default", spec),
        ]);
        let found = profiles.find("shop", "default");
        assert_eq!(buckets(&found), ["flags", "http://s"]);
        assert_eq!(found.profile.environment, "prod");
        assert_eq!(found.problems, ["there is no FliptSnapshotExport shop/gone"]);
    }

    #[test]
    fn a_profile_that_cannot_be_read_hides_no_other() {
        let profiles = profiles(vec![
            object("FliptSidecarProfile", Some("shop"), "default", json!({"source": "wrong"})),
            object("ClusterFliptSidecarProfile", None, "default", bucket("cluster")),
        ]);
        let found = profiles.find("shop", "default");
        assert_eq!(buckets(&found), ["cluster"]);
        assert!(found.problems[0].contains("cannot be read"), "{:?}", found.problems);
    }

    #[test]
    fn without_any_profile_there_is_no_source() {
        let found = profiles(vec![]).find("shop", "default");
        assert!(found.profile.sources.is_empty() && !found.problems.is_empty());
    }
}
