//! Namespaces, flags and segments: one reconcile for the three kinds.

mod apply;
mod cleanup;
mod flag;
mod namespace;
mod segment;
mod status;

use std::{fmt::Debug, sync::Arc, time::Duration};

use flipt_crds::{
    FINALIZER, FliptFlag, FliptNamespace, FliptSegment, GrantedKind, Management, Reason, ResourceStatus,
};
use flipt_model::{
    ownership::{Resource as Content, ResourceKind},
    resource::InvalidResource,
};
use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        Config, Controller, Predicate as _, PredicateConfig, WatchStreamExt as _,
        controller::{self, Action},
        predicates, reflector, watcher,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    connection::CALL_TIMEOUT, context::FIELD_MANAGER, events::Severity, feed::Key, pause::spread, term::Term,
    wake::ObjectId,
};
pub(crate) use status::Statuses;
use status::Verdict;

/// Workers per kind.
const WORKERS: u16 = 16;
/// How often a state is looked at again that nothing else would wake.
const LONG: Duration = Duration::from_secs(600);
/// Pause until the next look at what is as it should be.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// First pause after a failure.
const SHORT: Duration = Duration::from_secs(2);

/// A kind whose content lies in a server.
pub(crate) trait Managed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Name of the kind.
    const KIND: &'static str;
    /// What it is in a server.
    const CONTENT: ResourceKind;
    /// What a server grants.
    const GRANT: GrantedKind;

    /// What its spec has in common with the other kinds.
    fn management(&self) -> &Management;
    /// Namespace of the server that it is in; the namespace itself for a namespace.
    fn flipt_namespace(&self) -> String;
    /// What it describes.
    ///
    /// # Errors
    /// [`InvalidResource`].
    fn content(&self) -> Result<Content, InvalidResource>;
    /// Resources of the server that it needs.
    fn needs(&self) -> Vec<Key>;
    /// What was said about it last.
    fn status(&self) -> Option<&ResourceStatus>;

    /// Its key in the server.
    fn key(&self) -> Key {
        let key = self.management().key.clone().unwrap_or_else(|| self.name_any());
        let namespace = match Self::CONTENT {
            ResourceKind::Namespace => String::new(),
            ResourceKind::Flag | ResourceKind::Segment => self.flipt_namespace(),
        };
        Key { kind: Self::CONTENT, namespace, key }
    }

    /// The server that it names.
    fn server(&self) -> ObjectId {
        let reference = &self.management().server_ref;
        let own = || self.namespace().unwrap_or_default();
        ObjectId {
            kind: "FliptServer",
            namespace: reference.namespace.clone().unwrap_or_else(own),
            name: reference.name.clone(),
        }
    }
}

/// What stops a reconcile. It is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Indicates that the API server refused or could not be reached.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    /// Indicates that the API server did not answer in time.
    #[error("Kubernetes: no answer within {0} s")]
    TimedOut(u64),
}

impl Error {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kubernetes(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// Waits for an answer of the API server, not too long.
///
/// # Errors
/// [`Error`].
pub(crate) async fn limited<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::TimedOut(CALL_TIMEOUT.as_secs())),
    }
}

/// Identity of an object, which may be malformed.
pub(crate) fn id_of<K: Managed>(meta: &ObjectMeta) -> ObjectId {
    ObjectId {
        kind: K::KIND,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// Looks after the objects of a kind in a namespace, or in all, until the term ends.
pub(crate) async fn run<K: Managed>(term: Arc<Term>, scope: Option<String>)
where
    Term: crate::term::Keeps<K>,
{
    let api: Api<DeserializeGuard<K>> = term.api(scope.as_deref());
    let (reader, writer) = reflector::store::<DeserializeGuard<K>>();
    crate::term::Keeps::<K>::keep(&*term, reader.clone());
    let objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .inspect({
            let term = Arc::clone(&term);
            move |event| {
                // The predicates below do not let every deletion through.
                if let Ok(watcher::Event::Delete(object)) = event {
                    term.statuses.forget(object.meta());
                    term.forget(&id_of::<K>(object.meta()));
                }
            }
        })
        .touched_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::finalizers).combine(deletion),
            PredicateConfig::default(),
        );
    let stop = term.token.clone();
    // Servers and labels of namespaces first: without them, objects would be told what is not so.
    tokio::select! {
        () = term.wait_until_known() => {}
        () = stop.cancelled() => return,
    }
    Controller::for_stream(objects, reader)
        .with_config(Config::default().concurrency(WORKERS))
        .reconcile_on(term.wakes.listen(K::KIND, scope.as_deref()))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile::<K>, again::<K>, Arc::clone(&term))
        .for_each(|result| {
            let term = Arc::clone(&term);
            async move {
                match result {
                    Err(controller::Error::ObjectNotFound(gone)) => term.forget(&ObjectId {
                        kind: K::KIND,
                        namespace: gone.namespace.unwrap_or_default(),
                        name: gone.name,
                    }),
                    Err(controller::Error::QueueError(error)) => {
                        tracing::warn!(kind = K::KIND, error = %error, "watch interrupted");
                    }
                    Err(_) | Ok(_) => {}
                }
            }
        })
        .await;
}

fn deletion<K: Resource>(object: &K) -> Option<u64> {
    Some(object.meta().deletion_timestamp.is_some().into())
}

fn again<K: Managed>(object: Arc<DeserializeGuard<K>>, error: &Error, term: Arc<Term>) -> Action {
    let id = id_of::<K>(object.meta());
    let pause = match error.code() {
        // Somebody else was faster; the change that they made wakes us, too.
        Some(409) => SHORT / 2,
        _ => {
            tracing::warn!(
                kind = K::KIND,
                object.namespace = id.namespace,
                object.name = id.name,
                error = %error,
                "not reconciled; trying again"
            );
            term.failed(&id)
        }
    };
    Action::requeue(pause)
}

async fn reconcile<K: Managed>(guarded: Arc<DeserializeGuard<K>>, term: Arc<Term>) -> Result<Action, Error> {
    let timer = term.context.metrics.reconcile_duration.with_label_values(&[K::KIND]).start_timer();
    let done = match &guarded.0 {
        Ok(object) if object.meta().deletion_timestamp.is_some() => cleanup::clean(&term, object).await,
        Ok(object) => settle(&term, object).await,
        Err(invalid) => malformed::<K>(&term, &invalid.metadata, &invalid.error).await,
    };
    timer.observe_duration();
    let result = match &done {
        Ok((result, _)) => result,
        Err(_) => "error",
    };
    term.context.metrics.reconciles.with_label_values(&[K::KIND, result]).inc();
    done.map(|(_, action)| action)
}

/// What a reconcile came to, for the metric, and when the object is looked at next.
type Done = (&'static str, Action);

async fn settle<K: Managed>(term: &Term, object: &K) -> Result<Done, Error> {
    let id = id_of::<K>(object.meta());
    let verdict = apply::apply(term, object).await?;
    let Some(verdict) = verdict else {
        // Nothing can be said yet; whatever is waited for wakes the object.
        return Ok(("waiting", Action::requeue(spread(LONG / 10))));
    };
    let before = term.statuses.latest(object.meta(), object.status());
    let after = status::after(
        &before,
        &object.key().key,
        &object.flipt_namespace(),
        object.meta().generation,
        &verdict,
        Time(Timestamp::now()),
    );
    let reason = verdict.reason();
    publish(term, object, &before, &after, &verdict).await;
    write_status::<K>(term, object.meta(), &before, after).await?;
    term.state(&id, reason.as_str());
    let pause = match &verdict {
        Verdict::Held { .. } => {
            term.succeeded(&id);
            // Everything that would change this wakes the object; the server is to hear that it is still there.
            return Ok((reason.as_str(), Action::requeue(spread(DAY))));
        }
        Verdict::Suspended => {
            term.succeeded(&id);
            return Ok((reason.as_str(), Action::await_change()));
        }
        Verdict::Unavailable { reason: Reason::RateLimited, .. } => spread(SHORT),
        Verdict::Unavailable { retry: true, .. } => term.failed(&id),
        _ => spread(LONG),
    };
    Ok((reason.as_str(), Action::requeue(pause)))
}

/// An object that is not of the kind's shape: it was written before the kind was changed, or around it.
async fn malformed<K: Managed>(term: &Term, meta: &ObjectMeta, error: &str) -> Result<Done, Error> {
    if meta.deletion_timestamp.is_some() {
        // Nobody knows what it owned.
        drop_finalizer::<K>(term, meta).await?;
        return Ok(("dropped", Action::await_change()));
    }
    let before = term.statuses.latest(meta, None);
    let verdict = Verdict::Refused {
        reason: Reason::InvalidSpec,
        message: format!("the object does not have the form of its kind: {error}"),
        owner: None,
    };
    let name = meta.name.clone().unwrap_or_default();
    let after = status::after(&before, &name, "", meta.generation, &verdict, Time(Timestamp::now()));
    write_status::<K>(term, meta, &before, after).await?;
    term.state(&id_of::<K>(meta), Reason::InvalidSpec.as_str());
    Ok((Reason::InvalidSpec.as_str(), Action::requeue(spread(LONG))))
}

/// Writes a status if it says something else than the last one.
async fn write_status<K: Managed>(
    term: &Term,
    meta: &ObjectMeta,
    before: &ResourceStatus,
    after: ResourceStatus,
) -> Result<(), Error> {
    if *before == after {
        return Ok(());
    }
    let name = meta.name.clone().unwrap_or_default();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(term.context.client.clone(), &namespace, &ApiResource::erase::<K>(&()));
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::KIND,
        "metadata": { "name": name, "uid": meta.uid },
        "status": after,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match limited(api.patch_status(&name, &parameters, &Patch::Apply(&patch))).await {
        Ok(written) => {
            term.context.metrics.status_writes.with_label_values(&[K::KIND]).inc();
            term.statuses.written(&written.metadata, after);
            Ok(())
        }
        // It is gone, or another one stands in its place, which is looked at by itself.
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Says what is new about an object.
async fn publish<K: Managed>(
    term: &Term,
    object: &K,
    before: &ResourceStatus,
    after: &ResourceStatus,
    verdict: &Verdict,
) {
    if let Some((severity, reason, note)) = status::event(before, after, verdict) {
        term.context.events.publish(&object.object_ref(&()), severity, reason.as_str(), note).await;
    }
}

/// Warns about an object.
async fn warn(term: &Term, about: &ObjectReference, reason: Reason, note: String) {
    term.context.events.publish(about, Severity::Warning, reason.as_str(), note).await;
}

/// Puts the finalizer on an object that has none, before anything is written to a server.
async fn add_finalizer<K: Managed>(term: &Term, object: &K) -> Result<(), Error> {
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    write_finalizers::<K>(term, object.meta(), finalizers).await
}

/// Takes the finalizer off an object, which ends its deletion.
async fn drop_finalizer<K: Managed>(term: &Term, meta: &ObjectMeta) -> Result<(), Error> {
    let before = meta.finalizers.clone().unwrap_or_default();
    let after: Vec<String> = before.iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
    if after.len() != before.len() {
        match write_finalizers::<K>(term, meta, after).await {
            Err(error) if error.code() == Some(404) => {}
            other => other?,
        }
    }
    term.statuses.forget(meta);
    term.forget(&id_of::<K>(meta));
    Ok(())
}

/// Writes the finalizers unless the object has changed since it was read: others may have written theirs.
async fn write_finalizers<K: Managed>(
    term: &Term,
    meta: &ObjectMeta,
    finalizers: Vec<String>,
) -> Result<(), Error> {
    let name = meta.name.clone().unwrap_or_default();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let api: Api<K> = Api::namespaced(term.context.client.clone(), &namespace);
    let patch = json!({ "metadata": {
        "finalizers": finalizers,
        "resourceVersion": meta.resource_version,
        "uid": meta.uid,
    } });
    limited(api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))).await?;
    Ok(())
}

/// Every kind: what is done for all of them is done here.
pub(crate) fn wake_users(term: &Term, server: &ObjectId) {
    term.wake_if::<FliptNamespace>(|object| object.server() == *server);
    term.wake_if::<FliptFlag>(|object| object.server() == *server);
    term.wake_if::<FliptSegment>(|object| object.server() == *server);
}
