//! What the controllers share while this replica leads, and how they are started.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use flipt_crds::{FliptFlag, FliptNamespace, FliptSegment, FliptServer};
use flipt_model::ownership::Owner;
use futures::{StreamExt as _, future::join_all};
use k8s_openapi::{
    NamespaceResourceScope, api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    live::LiveServers,
    pause::spread,
    resources::Statuses,
    resources::{self, Managed, id_of},
    server,
    wake::{ObjectId, Wakes},
};

/// Longest time that a start waits for the labels of namespaces.
const LABELS_PATIENCE: Duration = Duration::from_secs(10);
/// Longest pause between two tries of a reconcile that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is read of objects of a kind, one store per namespace that is looked after, or one for all.
type Stores<K> = RwLock<Vec<Store<DeserializeGuard<K>>>>;

/// What the controllers share while this replica leads.
pub(crate) struct Term {
    /// What every part is given.
    pub(crate) context: Arc<Context>,
    /// Ends with the term.
    pub(crate) token: CancellationToken,
    /// Servers that can be called.
    pub(crate) live: LiveServers,
    /// Wakes controllers.
    pub(crate) wakes: Wakes,
    /// Statuses that were written.
    pub(crate) statuses: Statuses,
    servers: Stores<FliptServer>,
    namespaces: Stores<FliptNamespace>,
    flags: Stores<FliptFlag>,
    segments: Stores<FliptSegment>,
    labels: Store<PartialObjectMeta<Namespace>>,
    /// States of objects, for the metric.
    states: Mutex<HashMap<ObjectId, &'static str>>,
    /// How often the reconcile of an object has failed since it last succeeded.
    failures: Mutex<HashMap<ObjectId, u32>>,
}

/// Keeps what is read of the objects of a kind.
pub(crate) trait Keeps<K: Resource<DynamicType = ()>> {
    /// Where.
    fn stores(&self) -> &Stores<K>;

    /// Keeps another store.
    fn keep(&self, store: Store<DeserializeGuard<K>>)
    where
        K: Clone + 'static,
    {
        self.stores().write().unwrap_or_else(PoisonError::into_inner).push(store);
    }
}

macro_rules! keeps {
    ($($kind:ty: $field:ident,)+) => {$(
        impl Keeps<$kind> for Term {
            fn stores(&self) -> &Stores<$kind> {
                &self.$field
            }
        }
    )+};
}

keeps! {
    FliptServer: servers,
    FliptNamespace: namespaces,
    FliptFlag: flags,
    FliptSegment: segments,
}

impl Term {
    /// Objects of a namespace, or of all.
    pub(crate) fn api<K>(&self, scope: Option<&str>) -> Api<DeserializeGuard<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        match scope {
            Some(namespace) => Api::namespaced(self.context.client.clone(), namespace),
            None => Api::all(self.context.client.clone()),
        }
    }

    /// A server as it is described.
    pub(crate) fn server(&self, id: &ObjectId) -> Option<FliptServer> {
        let reference = ObjectRef::<DeserializeGuard<FliptServer>>::new(&id.name).within(&id.namespace);
        let stores = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let found = stores.iter().find_map(|store| store.get(&reference))?;
        found.0.as_ref().ok().cloned()
    }

    /// Whether a server is there and does not have the form of its kind: then nothing is known of it.
    pub(crate) fn is_malformed(&self, id: &ObjectId) -> bool {
        let reference = ObjectRef::<DeserializeGuard<FliptServer>>::new(&id.name).within(&id.namespace);
        let stores = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        stores.iter().any(|store| store.get(&reference).is_some_and(|server| server.0.is_err()))
    }

    /// Labels of a namespace, if it is known.
    pub(crate) fn labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let found = self.labels.get(&ObjectRef::new(namespace))?;
        Some(found.metadata.labels.clone().unwrap_or_default())
    }

    /// Whether a namespace is being deleted with all that is in it.
    pub(crate) fn ends(&self, namespace: &str) -> bool {
        let found = self.labels.get(&ObjectRef::new(namespace));
        found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// The owner that an object is.
    pub(crate) fn owner(&self, meta: &ObjectMeta) -> Owner {
        Owner {
            cluster: self.context.cluster.clone(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }

    /// Wakes the objects of a kind that this is true of.
    pub(crate) fn wake_if<K: Managed>(&self, concerned: impl Fn(&K) -> bool)
    where
        Self: Keeps<K>,
    {
        let stores = Keeps::<K>::stores(self).read().unwrap_or_else(PoisonError::into_inner);
        for object in stores.iter().flat_map(Store::state) {
            if let Ok(object) = &object.0
                && concerned(object)
            {
                self.wakes.wake(&id_of::<K>(object.meta()));
            }
        }
    }

    /// Waits until servers and labels of namespaces have been read; for the latter not too long, because an operator
    /// that looks after some namespaces may not be allowed to read them.
    pub(crate) async fn wait_until_known(&self) {
        let stores = self.servers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for store in stores {
            // The writer ends with the term only.
            let _ended = store.wait_until_ready().await;
        }
        if tokio::time::timeout(LABELS_PATIENCE, self.labels.wait_until_ready()).await.is_err() {
            tracing::warn!(
                "labels of namespaces not read: selectors of allowedNamespaces select nothing until they are"
            );
        }
    }

    /// Notes in which state an object is.
    pub(crate) fn state(&self, id: &ObjectId, state: &'static str) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let before = states.insert(id.clone(), state);
        if before == Some(state) {
            return;
        }
        let managed = &self.context.metrics.managed;
        if let Some(before) = before {
            managed.with_label_values(&[id.kind, before]).dec();
        }
        managed.with_label_values(&[id.kind, state]).inc();
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, id: &ObjectId) {
        if let Some(state) = self.states.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            self.context.metrics.managed.with_label_values(&[id.kind, state]).dec();
        }
        self.succeeded(id);
        self.live.forget(id);
    }

    /// The reconcile of an object has failed; how long to wait before it is tried again.
    pub(crate) fn failed(&self, id: &ObjectId) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(id.clone()).or_insert(0);
        *count = count.saturating_add(1);
        spread(Duration::from_secs(1_u64 << (*count).min(10)).min(LONGEST_PAUSE))
    }

    /// The reconcile of an object has succeeded.
    pub(crate) fn succeeded(&self, id: &ObjectId) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Runs the controllers of servers, namespaces, flags and segments until the term ends.
pub(crate) async fn lead(context: Arc<Context>, token: CancellationToken) {
    let (labels, writer) = reflector::store::<PartialObjectMeta<Namespace>>();
    let wakes = Wakes::default();
    let term = Arc::new(Term {
        live: LiveServers::new(wakes.clone(), token.clone()),
        context,
        token,
        wakes,
        statuses: Statuses::default(),
        servers: Stores::default(),
        namespaces: Stores::default(),
        flags: Stores::default(),
        segments: Stores::default(),
        labels,
        states: Mutex::default(),
        failures: Mutex::default(),
    });
    let scopes: Vec<Option<String>> = match term.context.settings.watched() {
        None => vec![None],
        Some(names) => names.into_iter().map(|name| Some(name.to_owned())).collect(),
    };
    // Every store of servers is kept before the first object asks for one.
    let servers: Vec<_> = scopes.iter().map(|scope| server::run(&term, scope.clone())).collect();
    let mut resources = Vec::new();
    for scope in scopes {
        let term = &term;
        resources.push(Box::pin(async move {
            tokio::join!(
                resources::run::<FliptNamespace>(Arc::clone(term), scope.clone()),
                resources::run::<FliptSegment>(Arc::clone(term), scope.clone()),
                resources::run::<FliptFlag>(Arc::clone(term), scope),
            );
        }));
    }
    tokio::join!(join_all(servers), join_all(resources), watch_labels(&term, writer));
    term.context.metrics.managed.reset();
}

/// Follows the labels of namespaces, and wakes whoever hopes for a grant when they change.
async fn watch_labels(term: &Arc<Term>, writer: reflector::store::Writer<PartialObjectMeta<Namespace>>) {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(term.context.client.clone());
    let mut told = false;
    let mut known: HashMap<String, (BTreeMap<String, String>, bool)> = HashMap::new();
    let changes = watcher(namespaces, watcher::Config::default())
        .default_backoff()
        .modify(|namespace| {
            namespace.metadata.managed_fields = None;
            namespace.metadata.annotations = None;
        })
        .reflect(writer)
        .applied_objects()
        .take_until(term.token.cancelled());
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(namespace) => {
                let name = namespace.metadata.name.unwrap_or_default();
                let labels = namespace.metadata.labels.unwrap_or_default();
                let seen = (labels, namespace.metadata.deletion_timestamp.is_some());
                // Also where nothing was known before: without its labels, a namespace is granted nothing.
                if known.get(&name) != Some(&seen) {
                    known.insert(name.clone(), seen);
                    let there = Some(name.as_str());
                    term.wake_if::<FliptNamespace>(|object| object.meta().namespace.as_deref() == there);
                    term.wake_if::<FliptFlag>(|object| object.meta().namespace.as_deref() == there);
                    term.wake_if::<FliptSegment>(|object| object.meta().namespace.as_deref() == there);
                }
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(error = %error, "namespaces not read");
            }
            Err(_) => {}
        }
    }
}
