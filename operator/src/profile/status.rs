//! What the operator reports about profiles: whether they can be injected, and how many pods have a sidecar of theirs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use flipt_crds::{
    ClusterFliptSidecarProfile, ConditionType, FliptSidecarProfile, FliptSidecarProfileStatus, Reason,
    condition,
};
use flipt_injector::{ANNOTATION_STATUS, InjectionStatus, LABEL_INJECTED, Profile, Settings};
use futures::StreamExt as _;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{DeserializeGuard, ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        reflector::{Store, store},
        watcher,
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Fault, Profiles, injection_settings};
use crate::{
    context::{Context, FIELD_MANAGER},
    malformed,
};

/// Pause between two looks, which ask nobody and write only what has changed.
const LOOK: Duration = Duration::from_secs(2);
/// Pause between two counts of pods.
const COUNT: Duration = Duration::from_secs(60);

/// A profile of a namespace, or, without one, of the cluster.
type Key = (Option<String>, String);

/// Pods with a sidecar of a profile, and those whose sidecar is not what the profile says today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    injected: i32,
    outdated: i32,
}

/// What is reported about one profile.
struct Report {
    key: Key,
    generation: Option<i64>,
    status: Option<FliptSidecarProfileStatus>,
    profile: Profile,
    faults: Vec<Fault>,
}

/// Reports until the term ends.
pub(crate) async fn lead(context: Arc<Context>, term: CancellationToken) {
    let (profiles, watches) = Profiles::new(&context);
    let (pods, counted) = injected_pods(&context);
    let settings = injection_settings(&context.settings);
    let report = async {
        profiles.synced().await;
        for pods in &pods {
            // A store whose writer is gone belongs to a term that ends.
            let _ = pods.wait_until_ready().await;
        }
        let mut written: HashMap<Key, FliptSidecarProfileStatus> = HashMap::new();
        let mut counts = BTreeMap::new();
        let mut last: Option<Instant> = None;
        let mut told = HashSet::new();
        loop {
            tell_malformed(&context, &profiles, &mut told).await;
            let reports = reports(&profiles);
            if last.is_none_or(|last| last.elapsed() >= COUNT) {
                last = Some(Instant::now());
                counts = count(&reports, &pods, &settings);
            }
            written.retain(|key, _| reports.iter().any(|report| report.key == *key));
            for report in &reports {
                // What was written last may not have come back yet.
                let known = written.get(&report.key).or(report.status.as_ref()).cloned().unwrap_or_default();
                let status =
                    status(report, &known, counts.get(&report.key).copied().unwrap_or_default(), now());
                if status == known {
                    continue;
                }
                match write(&context, &report.key, &status).await {
                    Ok(()) => {
                        context.metrics.status_writes.with_label_values(&[kind(&report.key)]).inc();
                        written.insert(report.key.clone(), status);
                    }
                    // Gone in the meantime; the watch will tell.
                    Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                    Err(error) => tracing::warn!(profile = report.key.1, %error, "status not written"),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = term.cancelled() => {}
        () = watches => {}
        () = counted => {}
        () = report => {}
    }
}

/// Says of each profile that cannot be read that this is so; once for each form that it has.
async fn tell_malformed(
    context: &Context,
    profiles: &Profiles,
    told: &mut HashSet<(Option<String>, Option<i64>)>,
) {
    let own = profiles.profiles.all();
    let own = own.iter().filter_map(|object| object.0.as_ref().err());
    let cluster = profiles.cluster.all();
    let cluster = cluster.iter().filter_map(|object| object.0.as_ref().err());
    for invalid in own.chain(cluster) {
        let meta = &invalid.metadata;
        let form = (meta.uid.clone(), meta.generation);
        if told.contains(&form) {
            continue;
        }
        let said = if meta.namespace.is_some() {
            malformed::report::<FliptSidecarProfile>(context, meta, &invalid.error).await
        } else {
            malformed::report::<ClusterFliptSidecarProfile>(context, meta, &invalid.error).await
        };
        match said {
            Ok(()) => drop(told.insert(form)),
            Err(error) => {
                tracing::warn!(profile = meta.name, %error, "status not written");
                // What the API server refuses it refuses again, until the profile is another one.
                if matches!(error, kube::Error::Api(_)) {
                    told.insert(form);
                }
            }
        }
    }
}

/// Pods with a sidecar, of which only the annotation about it is kept; a memory for each watched namespace.
fn injected_pods(context: &Context) -> (Vec<Store<PartialObjectMeta<Pod>>>, impl Future<Output = ()>) {
    let apis: Vec<Api<PartialObjectMeta<Pod>>> = match context.settings.watched() {
        None => vec![Api::all(context.client.clone())],
        Some(names) => names.iter().map(|name| Api::namespaced(context.client.clone(), name)).collect(),
    };
    let (readers, fills): (Vec<_>, Vec<_>) = apis.into_iter().map(follow_pods).unzip();
    (readers, async move { drop(futures::future::join_all(fills).await) })
}

fn follow_pods(
    api: Api<PartialObjectMeta<Pod>>,
) -> (Store<PartialObjectMeta<Pod>>, impl Future<Output = ()>) {
    let (reader, mut writer) = store();
    let config = watcher::Config::default().labels(&format!("{LABEL_INJECTED}=true"));
    let fill = async move {
        let stream = watcher(api, config).default_backoff().modify(|pod: &mut PartialObjectMeta<Pod>| {
            let status = pod.annotations().get(ANNOTATION_STATUS).cloned();
            pod.metadata = ObjectMeta {
                name: pod.metadata.name.take(),
                namespace: pod.metadata.namespace.take(),
                resource_version: pod.metadata.resource_version.take(),
                annotations: status.map(|status| [(ANNOTATION_STATUS.to_owned(), status)].into()),
                ..ObjectMeta::default()
            };
        });
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => writer.apply_watcher_event(&event),
                Err(error) => tracing::warn!(%error, "watch of injected pods"),
            }
        }
    };
    (reader, fill)
}

fn reports(profiles: &Profiles) -> Vec<Report> {
    let own = profiles.profiles.all().into_iter().filter_map(|object| {
        let DeserializeGuard(Ok(object)) = object.as_ref() else { return None };
        let (profile, faults) =
            profiles.resolve(&object.name_any(), &object.spec, object.metadata.namespace.as_deref());
        let key = (object.metadata.namespace.clone(), object.name_any());
        Some(Report {
            key,
            generation: object.metadata.generation,
            status: object.status.clone(),
            profile,
            faults,
        })
    });
    let cluster = profiles.cluster.all().into_iter().filter_map(|object| {
        let DeserializeGuard(Ok(object)) = object.as_ref() else { return None };
        let (profile, faults) = profiles.resolve(&object.name_any(), &object.spec.profile, None);
        let key = (None, object.name_any());
        Some(Report {
            key,
            generation: object.metadata.generation,
            status: object.status.clone(),
            profile,
            faults,
        })
    });
    own.chain(cluster).collect()
}

fn count(
    reports: &[Report],
    pods: &[Store<PartialObjectMeta<Pod>>],
    settings: &Settings,
) -> BTreeMap<Key, Counts> {
    let hashes: HashMap<&Key, String> =
        reports.iter().map(|report| (&report.key, report.profile.hash(settings))).collect();
    let mut counts: BTreeMap<Key, Counts> = BTreeMap::new();
    for pod in pods.iter().flat_map(Store::state) {
        let Some(status) =
            pod.annotations().get(ANNOTATION_STATUS).and_then(|text| InjectionStatus::parse(text))
        else {
            continue;
        };
        let own = (pod.namespace(), status.profile.clone());
        let key = if hashes.contains_key(&own) { own } else { (None, status.profile.clone()) };
        let Some(hash) = hashes.get(&key) else { continue };
        let outdated = *hash != status.hash;
        let counts = counts.entry(key).or_default();
        counts.injected = counts.injected.saturating_add(1);
        counts.outdated = counts.outdated.saturating_add(i32::from(outdated));
    }
    counts
}

fn status(
    report: &Report,
    known: &FliptSidecarProfileStatus,
    counts: Counts,
    now: Time,
) -> FliptSidecarProfileStatus {
    let mut status = known.clone();
    status.observed_generation = report.generation;
    status.injected_pods = Some(counts.injected);
    status.outdated_pods = Some(counts.outdated);
    let (ready, reason, message) = match report.faults.first() {
        None => (true, Reason::Synced, "pods get sidecars of this profile".to_owned()),
        Some(first) => {
            let all: Vec<&str> = report.faults.iter().map(|fault| fault.sentence.as_str()).collect();
            (false, first.reason, all.join("; "))
        }
    };
    condition::set(
        &mut status.conditions,
        ConditionType::Ready,
        ready,
        reason,
        &message,
        report.generation,
        now,
    );
    status
}

fn kind((namespace, _): &Key) -> &'static str {
    if namespace.is_some() { "FliptSidecarProfile" } else { "ClusterFliptSidecarProfile" }
}

async fn write(context: &Context, key: &Key, status: &FliptSidecarProfileStatus) -> Result<(), kube::Error> {
    let patch: Value = json!({ "apiVersion": "flipt.io/v1alpha1", "kind": kind(key), "status": status });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match key {
        (Some(namespace), name) => {
            let api: Api<DeserializeGuard<FliptSidecarProfile>> =
                Api::namespaced(context.client.clone(), namespace);
            api.patch_status(name, &parameters, &Patch::Apply(patch)).await?;
        }
        (None, name) => {
            let api: Api<DeserializeGuard<ClusterFliptSidecarProfile>> = Api::all(context.client.clone());
            api.patch_status(name, &parameters, &Patch::Apply(patch)).await?;
        }
    }
    Ok(())
}

fn now() -> Time {
    Time(k8s_openapi::jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use flipt_injector::inject;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::profile::tests::{object, profiles};

    fn at(seconds: i64) -> Time {
        serde_json::from_value(format!("1970-01-01T00:00:{seconds:02}Z").into()).unwrap()
    }

    fn settings() -> Settings {
        Settings { image: "i".into(), version: "1".into(), server_audience: "a".into() }
    }

    #[test]
    fn a_status_that_says_the_same_is_the_same() {
        let spec = json!({"source": [{"exportRef": {"name": "gone"}}]});
        let profiles = profiles(vec![object("FliptSidecarProfile", Some("shop"), "default", spec)]);
        let report = &reports(&profiles)[0];
        let first = status(report, &FliptSidecarProfileStatus::default(), Counts::default(), at(1));
        assert_eq!(first.conditions[0].reason, "ReferenceNotFound");
        assert!(first.conditions[0].message.contains("shop/gone"));
        assert_eq!(status(report, &first, Counts::default(), at(2)), first);
        assert_ne!(status(report, &first, Counts { injected: 1, outdated: 0 }, at(2)), first);
    }

    #[test]
    fn pods_count_for_the_profile_that_they_have_and_the_old_ones_twice() {
        let spec = |bucket: &str| json!({"source": [{"s3": {"bucket": bucket}}]});
        let profiles = profiles(vec![
            object("FliptSidecarProfile", Some("shop"), "default", spec("own")),
            object("ClusterFliptSidecarProfile", None, "default", spec("all")),
        ]);
        let (pods, mut writer) = store();
        let mut add = |namespace: &str, name: &str, of: &str| {
            let pod = json!({"metadata": {"name": name}, "spec": {"serviceAccountName": "a", "containers": [{"name": "app"}]}});
            let mut pod_after = pod.clone();
            for step in inject(&pod, &profiles.find(of, "default").profile, &settings()).patch {
                flipt_injector::apply(&mut pod_after, &step).unwrap();
            }
            let pod: PartialObjectMeta<Pod> = serde_json::from_value(json!({"metadata": {
                "name": name, "namespace": namespace, "annotations": pod_after["metadata"]["annotations"],
            }}))
            .unwrap();
            writer.apply_watcher_event(&Event::Apply(pod));
        };
        add("shop", "current", "shop");
        // It was injected before the namespace had a profile of its own.
        add("shop", "old", "pay");
        add("pay", "current", "pay");
        let counts = count(&reports(&profiles), &[pods], &settings());
        assert_eq!(counts[&(Some("shop".into()), "default".into())], Counts { injected: 2, outdated: 1 });
        assert_eq!(counts[&(None, "default".into())], Counts { injected: 1, outdated: 0 });
    }
}
