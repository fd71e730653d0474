//! ConfigMap `flipt-trust`: the keys by which sidecars verify tokens of service accounts, beside every pod that has one.
//!
//! Sidecars never ask the API server. What they need of it is public and small, and the operator brings it to them.
//!
//! Whoever may write ConfigMaps in a namespace may make that namespace's sidecars trust keys of their own; they may
//! write its pods' other configuration as well. What is changed by hand is put back.

mod issuer;
mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use issuer::IssuerKeys;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use keys::KeyRing;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, FIELD_MANAGER};

/// Name of the ConfigMap.
const NAME: &str = "flipt-trust";

/// Name of the ConfigMap in the operator's namespace that remembers keys which are not shown any more.
const MEMORY: &str = "flipt-trust-keys";

/// Label of both.
const LABEL: &str = "flipt.io/trust";

/// Selects the ConfigMaps of this module.
pub(crate) const SELECTOR: &str = "flipt.io/trust=true";

/// How often the API server is asked for its keys.
const REFRESH: Duration = Duration::from_secs(300);

/// Pause after the API server did not answer.
const RETRY: Duration = Duration::from_secs(10);

/// The ConfigMap leaves a namespace that has had no sidecar for this long. Pods come and go.
const LINGER: Duration = Duration::from_secs(600);

/// How often namespaces are looked at, besides when something changes.
const LOOK: Duration = Duration::from_secs(30);

/// A burst of pods is one change.
const SETTLE: Duration = Duration::from_millis(200);

/// Largest answer with keys that is taken.
const MAX_BYTES: usize = 256 * 1024;

/// What goes into the ConfigMaps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trust {
    issuer: String,
    jwks: String,
}

/// Keeps `flipt-trust` in every namespace that has sidecars or says that it wants them, for as long as this replica
/// leads.
///
/// # Guarantees
/// - It is there within seconds of the first labelled pod.
/// - While the API server does not tell its keys, what is there stays.
/// - A namespace that ends is left alone.
pub(crate) async fn lead(context: Arc<Context>, term: CancellationToken) {
    let watching = Watching::new(&context);
    let Watching { pods, namespaces, maps, mut changes } = watching;
    let mut ring = KeyRing::default();
    let mut issuer_keys = context.settings.merge_issuer_keys.then(IssuerKeys::default);
    let mut remembered = false;
    let mut trust: Option<Trust> = None;
    let mut refresh_at = Instant::now();
    let mut unused: BTreeMap<String, Instant> = BTreeMap::new();
    let mut told = false;
    loop {
        if Instant::now() >= refresh_at {
            let refreshing = refresh(&context, &mut ring, &mut remembered, issuer_keys.as_mut());
            let refreshed = tokio::select! {
                () = term.cancelled() => return,
                refreshed = refreshing => refreshed,
            };
            match refreshed {
                Ok(current) => {
                    if told {
                        tracing::info!("keys of service account tokens read again");
                    }
                    told = false;
                    trust = Some(current);
                    refresh_at = Instant::now() + REFRESH;
                }
                Err(failure) => {
                    if !told {
                        tracing::warn!(
                            error = failure,
                            "keys of service account tokens not read; trying again"
                        );
                    }
                    told = true;
                    refresh_at = Instant::now() + RETRY;
                }
            }
        }
        if let Some(trust) = &trust {
            let wanted = wanted(&context, &pods, &namespaces);
            bring(&context, trust, &wanted, &maps).await;
            clear(&context, &wanted, &maps, &mut unused).await;
        }
        tokio::select! {
            () = term.cancelled() => return,
            () = tokio::time::sleep_until(refresh_at.min(Instant::now() + LOOK)) => {}
            Some(()) = changes.next() => {
                // What comes at once is handled at once.
                let settled = tokio::time::sleep(SETTLE);
                tokio::pin!(settled);
                loop {
                    tokio::select! {
                        () = &mut settled => break,
                        Some(()) = changes.next() => {}
                    }
                }
            }
        }
    }
}

type Metadata<K> = reflector::Store<PartialObjectMeta<K>>;
type Changes = stream::SelectAll<std::pin::Pin<Box<dyn Stream<Item = ()> + Send>>>;

/// What is followed. Only metadata is read of pods and namespaces.
struct Watching {
    pods: Vec<Metadata<Pod>>,
    namespaces: Metadata<Namespace>,
    maps: Vec<reflector::Store<ConfigMap>>,
    /// Something has changed.
    changes: Changes,
}

impl Watching {
    fn new(context: &Context) -> Self {
        let mut changes = Changes::new();
        let places: Vec<Option<&str>> = match context.settings.watched() {
            Some(namespaces) => namespaces.into_iter().map(Some).collect(),
            None => vec![None],
        };
        let mut pods = Vec::new();
        let mut maps = Vec::new();
        for place in places {
            for labels in ["flipt.io/injected=true", "flipt.io/inject=true"] {
                let api: Api<PartialObjectMeta<Pod>> = api(&context.client, place);
                pods.push(follow_metadata(api, labels, &mut changes));
            }
            let (store, writer) = reflector::store();
            let watch = watcher(api(&context.client, place), watcher::Config::default().labels(SELECTOR));
            changes.push(signals(watch.default_backoff().reflect(writer)));
            maps.push(store);
        }
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
        let namespaces = follow_metadata(namespaces, "flipt.io/injection=enabled", &mut changes);
        Self { pods, namespaces, maps, changes }
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn follow_metadata<K>(api: Api<PartialObjectMeta<K>>, labels: &str, changes: &mut Changes) -> Metadata<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    let (store, writer) = reflector::store();
    let watch = watcher(api, watcher::Config::default().labels(labels))
        .default_backoff()
        .modify(|object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().clear();
        })
        .reflect(writer);
    changes.push(signals(watch));
    store
}

/// A stream of changes without their content, which the store has. What fails is tried again below.
fn signals<T>(
    watch: impl Stream<Item = Result<watcher::Event<T>, watcher::Error>> + Send + 'static,
) -> std::pin::Pin<Box<dyn Stream<Item = ()> + Send>>
where
    T: Send + 'static,
{
    Box::pin(watch.filter_map(async |event| {
        // A list that begins changes nothing yet, and what it brings is complete at its end.
        let changed = !matches!(event, Ok(watcher::Event::Init | watcher::Event::InitApply(_)) | Err(_));
        changed.then_some(())
    }))
}

/// Namespaces in which sidecars are, or will be.
fn wanted(context: &Context, pods: &[Metadata<Pod>], namespaces: &Metadata<Namespace>) -> BTreeSet<String> {
    let of_pods = pods.iter().flat_map(|store| {
        store
            .state()
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| pod.namespace())
    });
    let labelled = namespaces
        .state()
        .into_iter()
        .filter(|namespace| namespace.metadata.deletion_timestamp.is_none())
        .map(|namespace| namespace.name_any())
        .filter(|name| context.settings.watches(name));
    of_pods.chain(labelled).collect()
}

/// Reads issuer and keys from the API server, and remembers those that it does not show any more.
async fn refresh(
    context: &Context,
    ring: &mut KeyRing,
    remembered: &mut bool,
    issuer_keys: Option<&mut IssuerKeys>,
) -> Result<Trust, String> {
    let memory: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.settings.namespace);
    if !*remembered {
        let found = memory.get_opt(MEMORY).await.map_err(|error| format!("ConfigMap {MEMORY}: {error}"))?;
        let state = found.and_then(|map| map.data).and_then(|mut data| data.remove("state.json"));
        *ring = state.map(|state| KeyRing::from_state(&state)).unwrap_or_default();
        *remembered = true;
    }
    let discovery: Value =
        serde_json::from_str(&get(&context.client, "/.well-known/openid-configuration").await?)
            .map_err(|error| format!("discovery document of the API server: {error}"))?;
    let issuer = discovery
        .get("issuer")
        .and_then(Value::as_str)
        .filter(|issuer| !issuer.is_empty())
        .ok_or("discovery document of the API server: it names no issuer")?;
    let mut shown = vec![get(&context.client, "/openid/v1/jwks").await?];
    if let Some(keys) = issuer_keys {
        shown.extend(keys.of(issuer).await);
    }
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let before = ring.clone();
    ring.merge(&shown, Timestamp::now()).map_err(|error| format!("API server: {error}"))?;
    if *ring != before {
        let data = json!({ "state.json": ring.to_state() });
        let namespace = &context.settings.namespace;
        if let Err(error) = apply(&context.client, namespace, MEMORY, data).await {
            // Not written is not remembered: the next refresh has to see the difference again.
            *ring = before;
            return Err(format!("ConfigMap {MEMORY}: {error}"));
        }
        tracing::info!("keys of service account tokens have changed");
    }
    Ok(Trust { issuer: issuer.to_owned(), jwks: ring.jwks() })
}

async fn get(client: &Client, path: &str) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{path}: {error}");
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| failed(&error))?;
    let text = client.request_text(request).await.map_err(|error| failed(&error))?;
    if text.len() > MAX_BYTES { Err(failed(&"the answer is too long")) } else { Ok(text) }
}

/// Writes the ConfigMap where it is wanted and is not as it should be.
async fn bring(
    context: &Context,
    trust: &Trust,
    wanted: &BTreeSet<String>,
    maps: &[reflector::Store<ConfigMap>],
) {
    let current: BTreeSet<String> = maps
        .iter()
        .flat_map(reflector::Store::state)
        .filter(|map| map.name_any() == NAME && is_current(map, trust))
        .filter_map(|map| map.namespace())
        .collect();
    let missing: Vec<&String> = wanted.difference(&current).collect();
    stream::iter(missing)
        .for_each_concurrent(4, async |namespace| {
            let data = json!({ "issuer": trust.issuer, "jwks.json": trust.jwks });
            match apply(&context.client, namespace, NAME, data).await {
                Ok(()) => tracing::info!(namespace, "keys of service account tokens written"),
                // A namespace that ends, or is gone.
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                    tracing::debug!(namespace, error = status.message, "flipt-trust not written");
                }
                Err(error) => tracing::warn!(namespace, error = %error, "flipt-trust not written"),
            }
        })
        .await;
}

fn is_current(map: &ConfigMap, trust: &Trust) -> bool {
    let Some(data) = &map.data else { return false };
    data.len() == 2
        && data.get("issuer") == Some(&trust.issuer)
        && data.get("jwks.json") == Some(&trust.jwks)
        && map.binary_data.as_ref().is_none_or(BTreeMap::is_empty)
}

async fn apply(client: &Client, namespace: &str, name: &str, data: Value) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": { LABEL: "true", "app.kubernetes.io/managed-by": "flipt-operator" },
        },
        "data": data,
    });
    let written = api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&map)).await?;
    // Keys that others added are not ours, so that applying leaves them. A sidecar must not read them.
    let wanted = map["data"].as_object();
    let is_extra = |key: &String| wanted.is_none_or(|wanted| !wanted.contains_key(key));
    if written.data.iter().flatten().any(|(key, _)| is_extra(key)) || written.binary_data.is_some() {
        let extra: serde_json::Map<String, Value> = written
            .data
            .iter()
            .flatten()
            .filter(|(key, _)| is_extra(key))
            .map(|(key, _)| (key.clone(), Value::Null))
            .collect();
        let patch = json!({ "data": extra, "binaryData": null });
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    Ok(())
}

/// Deletes the ConfigMap where nobody has needed it for a while.
async fn clear(
    context: &Context,
    wanted: &BTreeSet<String>,
    maps: &[reflector::Store<ConfigMap>],
    unused: &mut BTreeMap<String, Instant>,
) {
    let now = Instant::now();
    let there: BTreeSet<String> = maps
        .iter()
        .flat_map(reflector::Store::state)
        .filter(|map| map.name_any() == NAME)
        .filter_map(|map| map.namespace())
        .collect();
    unused.retain(|namespace, _| there.contains(namespace) && !wanted.contains(namespace));
    for namespace in there.difference(wanted) {
        let since = *unused.entry(namespace.clone()).or_insert(now);
        if now.duration_since(since) < LINGER {
            continue;
        }
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
        match api.delete(NAME, &DeleteParams::default()).await {
            Ok(_) => tracing::info!(namespace, "flipt-trust deleted: no pod needs it"),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => tracing::warn!(namespace, error = %error, "flipt-trust not deleted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_changed_by_hand_is_not_current() {
        let trust = Trust { issuer: "https://a".to_owned(), jwks: "{}".to_owned() };
        let map = |data: Value| -> ConfigMap { serde_json::from_value(json!({ "data": data })).unwrap() };
        assert!(is_current(&map(json!({"issuer": "https://a", "jwks.json": "{}"})), &trust));
        for data in [
            json!({}),
            json!({"issuer": "https://b", "jwks.json": "{}"}),
            json!({"issuer": "https://a", "jwks.json": "{\"keys\":[]}"}),
            json!({"issuer": "https://a", "jwks.json": "{}", "more": ""}),
        ] {
            assert!(!is_current(&map(data.clone()), &trust), "{data}");
        }
    }
}
