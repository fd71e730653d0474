//! Objects that have to be looked at again although nothing has changed in them.

use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, stream};
use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// An object that a controller looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ObjectId {
    /// Kind.
    pub(crate) kind: &'static str,
    /// Namespace.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
}

struct Listener {
    kind: &'static str,
    /// The namespace that it looks at; none: all.
    scope: Option<String>,
    sender: UnboundedSender<ObjectId>,
}

/// Wakes the controllers. An object that waits already is not put in line again: their queues see to that.
#[derive(Clone, Default)]
pub(crate) struct Wakes(Arc<RwLock<Vec<Listener>>>);

impl Wakes {
    /// What a controller of this kind and scope is woken for.
    pub(crate) fn listen<K>(
        &self,
        kind: &'static str,
        scope: Option<&str>,
    ) -> impl Stream<Item = ObjectRef<K>> + Send + 'static
    where
        K: Resource<DynamicType = ()> + 'static,
    {
        let (sender, receiver) = unbounded_channel::<ObjectId>();
        let listener = Listener { kind, scope: scope.map(str::to_owned), sender };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(listener);
        stream::unfold(receiver, |mut receiver| async move {
            let id = receiver.recv().await?;
            Some((ObjectRef::new(&id.name).within(&id.namespace), receiver))
        })
    }

    /// Has an object looked at.
    pub(crate) fn wake(&self, id: &ObjectId) {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter().filter(|listener| listener.kind == id.kind) {
            if listener.scope.as_ref().is_none_or(|scope| *scope == id.namespace) {
                // A controller that has ended needs no waking.
                let _ended = listener.sender.send(id.clone());
            }
        }
    }
}
