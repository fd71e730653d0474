//! What objects own in one environment of a server, as the server tells it: read once, then followed.
//!
//! Reconciles ask this memory before they ask the server, so that an operator that starts writes nothing, and a change
//! in the server wakes exactly the objects that it concerns.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flipt_client::call;
use flipt_crds::Reason;
use flipt_model::ownership::ResourceKind;
use flipt_proto::ownership as pb;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{Connection, Failure},
    pause::spread,
    wake::{ObjectId, Wakes},
};

/// How long the server is asked to wait for a change.
const WAIT_SECONDS: i32 = 25;
/// Longest time of that call.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(40);
/// Longest time of a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two batches of changes: many changes at once are looked at together.
const BATCH: Duration = Duration::from_millis(300);
/// Most namespaces of a batch that are read one by one.
const FEW_NAMESPACES: usize = 8;
/// How long a list of what we have written ourselves can wait.
const LAZY: Duration = Duration::from_secs(5);
/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A resource in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Kind.
    pub(crate) kind: ResourceKind,
    /// Namespace of a flag or segment; empty for a namespace.
    pub(crate) namespace: String,
    /// Key.
    pub(crate) key: String,
}

impl Key {
    /// A namespace of the server.
    pub(crate) fn of_namespace(key: &str) -> Self {
        Self { kind: ResourceKind::Namespace, namespace: String::new(), key: key.to_owned() }
    }

    /// A segment of the server.
    pub(crate) fn of_segment(namespace: &str, key: &str) -> Self {
        Self { kind: ResourceKind::Segment, namespace: namespace.to_owned(), key: key.to_owned() }
    }

    /// Reads `flag shop/banner`, `segment shop/beta`, `namespace shop`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        let kind = kind_named(kind)?;
        let (namespace, key) = match kind {
            ResourceKind::Namespace => ("", rest),
            ResourceKind::Flag | ResourceKind::Segment => rest.split_once('/')?,
        };
        Some(Self { kind, namespace: namespace.to_owned(), key: key.to_owned() })
    }
}

fn kind_named(text: &str) -> Option<ResourceKind> {
    [ResourceKind::Namespace, ResourceKind::Flag, ResourceKind::Segment]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

fn kind_of(number: i32) -> Option<ResourceKind> {
    pb::ResourceKind::try_from(number).ok().and_then(pb::ResourceKind::to_model)
}

/// What an object wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interest {
    /// The resource that it describes.
    pub(crate) own: Key,
    /// Resources that it needs, or waits for.
    pub(crate) others: Vec<Key>,
}

/// Whether the memory can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not been read yet.
    Reading,
    /// It is as the server is.
    Following,
    /// The server does not tell; why, for a condition.
    Failing(Reason, String),
}

#[derive(Default)]
struct Memory {
    managed: HashMap<Key, pb::Managed>,
    interests: HashMap<ObjectId, Interest>,
    state: Option<State>,
    revision: String,
    /// Written by ourselves since the last list was asked for: newer than that list.
    written: HashSet<Key>,
}

/// What objects own in one environment of a server.
pub(crate) struct Feed {
    environment: String,
    connection: Arc<Connection>,
    resync: Duration,
    server: ObjectId,
    wakes: Wakes,
    memory: Mutex<Memory>,
}

impl Feed {
    pub(crate) fn new(
        environment: &str,
        connection: Arc<Connection>,
        resync: Duration,
        server: ObjectId,
        wakes: Wakes,
    ) -> Self {
        let environment = environment.to_owned();
        Self { environment, connection, resync, server, wakes, memory: Mutex::default() }
    }

    /// Whether the memory can be relied on.
    pub(crate) fn state(&self) -> State {
        self.memory().state.clone().unwrap_or(State::Reading)
    }

    /// What the server knows about the ownership of a resource.
    pub(crate) fn managed(&self, key: &Key) -> Option<pb::Managed> {
        self.memory().managed.get(key).cloned()
    }

    /// Whether objects of this namespace of this cluster still own something in a namespace of the server.
    pub(crate) fn owns_in(&self, cluster: &str, namespace: &str, flipt_namespace: &str) -> bool {
        self.owned_in(cluster, namespace, flipt_namespace, |_| true)
    }

    /// Whether objects of this namespace of this cluster still own flags in a namespace of the server.
    pub(crate) fn owns_flags_in(&self, cluster: &str, namespace: &str, flipt_namespace: &str) -> bool {
        self.owned_in(cluster, namespace, flipt_namespace, |kind| kind == ResourceKind::Flag)
    }

    fn owned_in(
        &self,
        cluster: &str,
        namespace: &str,
        flipt_namespace: &str,
        counts: impl Fn(ResourceKind) -> bool,
    ) -> bool {
        let memory = self.memory();
        let ours = |managed: &pb::Managed| {
            managed
                .owner
                .as_ref()
                .is_some_and(|owner| owner.cluster == cluster && owner.namespace == namespace)
        };
        let there = |key: &Key| key.namespace == flipt_namespace && counts(key.kind);
        memory.managed.iter().any(|(key, managed)| there(key) && ours(managed))
    }

    /// Number of flags that objects of this cluster own.
    pub(crate) fn flags(&self, cluster: &str) -> usize {
        let memory = self.memory();
        let owned =
            |managed: &&pb::Managed| managed.owner.as_ref().is_some_and(|owner| owner.cluster == cluster);
        memory
            .managed
            .iter()
            .filter(|(key, _)| key.kind == ResourceKind::Flag)
            .map(|(_, it)| it)
            .filter(owned)
            .count()
    }

    /// Has an object woken when something changes in what it wants to hear of.
    pub(crate) fn listen(&self, id: ObjectId, interest: Interest) {
        self.memory().interests.insert(id, interest);
    }

    /// Wakes this object no more.
    pub(crate) fn forget(&self, id: &ObjectId) {
        self.memory().interests.remove(id);
    }

    /// Takes note of what was just written, before the server tells it; nothing: it was given up.
    pub(crate) fn record(&self, key: Key, managed: Option<pb::Managed>) {
        let mut memory = self.memory();
        memory.written.insert(key.clone());
        match managed {
            Some(managed) => memory.managed.insert(key, managed),
            None => memory.managed.remove(&key),
        };
    }

    /// Reads and follows until the token is cancelled.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut backoff = BACKOFF.0;
        while !stop.is_cancelled() {
            let following = tokio::select! {
                following = self.follow(&mut backoff) => following,
                () = stop.cancelled() => return,
            };
            if let Err(failure) = following {
                self.fail(&failure);
                tokio::select! {
                    () = tokio::time::sleep(spread(backoff)) => {}
                    () = stop.cancelled() => return,
                }
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }

    /// Reads everything and follows until everything has to be read again.
    async fn follow(&self, backoff: &mut Duration) -> Result<(), Failure> {
        self.read().await?;
        *backoff = BACKOFF.0;
        let read = Instant::now();
        let mut unread = Unread::default();
        while read.elapsed() < self.resync {
            let request = pb::ChangesRequest {
                environment_key: self.environment.clone(),
                since: self.memory().revision.clone(),
                wait_seconds: unread.wait_seconds(Instant::now()),
            };
            let told = self.connection.call_within::<call::Changes>(CHANGES_TIMEOUT, &request).await?;
            if told.reset {
                return Ok(());
            }
            let changed: HashSet<Key> = told
                .changes
                .into_iter()
                .filter_map(|it| {
                    Some(Key { kind: kind_of(it.kind)?, namespace: it.namespace_key, key: it.key })
                })
                .collect();
            self.memory().revision = told.revision;
            // Whoever needs what has changed need not wait for the list.
            self.wake(&HashSet::new(), &changed);
            unread.take(&changed, &self.memory().written);
            if let Some(namespaces) = unread.due(Instant::now()) {
                let begun = Instant::now();
                let mut otherwise = HashSet::new();
                for namespace in &namespaces {
                    otherwise.extend(self.list(namespace).await?);
                }
                unread.read(begun, Instant::now());
                self.wake(&otherwise, &HashSet::new());
            }
            // Also a server that does not wait is not asked without a pause.
            tokio::time::sleep(BATCH).await;
        }
        Ok(())
    }

    /// Reads everything, and wakes what has changed since it was read last.
    async fn read(&self) -> Result<(), Failure> {
        let request = self.request("");
        self.memory().written.clear();
        let list = self.connection.call_within::<call::ListManaged>(LIST_TIMEOUT, &request).await?;
        let (changed, first) = {
            let mut memory = self.memory();
            let changed = memory.merge("", list.managed);
            memory.revision = list.revision;
            let first = memory.state != Some(State::Following);
            memory.state = Some(State::Following);
            (changed, first)
        };
        if first {
            tracing::info!(
                server = %self.server.name,
                server.namespace = %self.server.namespace,
                environment = self.environment,
                "server followed"
            );
            self.wake_all();
        } else {
            self.wake(&changed, &changed);
        }
        Ok(())
    }

    async fn list(&self, namespace: &str) -> Result<HashSet<Key>, Failure> {
        self.memory().written.clear();
        let request = self.request(namespace);
        let list = self.connection.call_within::<call::ListManaged>(LIST_TIMEOUT, &request).await?;
        Ok(self.memory().merge(namespace, list.managed))
    }

    fn request(&self, namespace: &str) -> pb::ListManagedRequest {
        pb::ListManagedRequest {
            environment_key: self.environment.clone(),
            cluster: String::new(),
            namespace_key: namespace.to_owned(),
        }
    }

    /// Wakes the objects whose own resource is otherwise than remembered, and those that need something that changed.
    fn wake(&self, otherwise: &HashSet<Key>, changed: &HashSet<Key>) {
        let concerned: Vec<ObjectId> = {
            let memory = self.memory();
            let concerns = |interest: &Interest| {
                otherwise.contains(&interest.own)
                    // What nobody owns is not remembered.
                    || (changed.contains(&interest.own) && !memory.managed.contains_key(&interest.own))
                    || interest.others.iter().any(|key| changed.contains(key))
            };
            let all = memory.interests.iter();
            all.filter(|(_, interest)| concerns(interest)).map(|(id, _)| id.clone()).collect()
        };
        for id in concerned {
            self.wakes.wake(&id);
        }
    }

    fn wake_all(&self) {
        let everybody: Vec<ObjectId> = self.memory().interests.keys().cloned().collect();
        self.wakes.wake(&self.server);
        for id in everybody {
            self.wakes.wake(&id);
        }
    }

    fn fail(&self, failure: &Failure) {
        let reason = match failure.reason() {
            reason @ (Reason::Unauthorized | Reason::RateLimited) => reason,
            // Whatever else a list is refused for: there is no such environment, no such call.
            _ => Reason::ServerUnavailable,
        };
        let state = State::Failing(reason, failure.message());
        let before = self.memory().state.replace(state.clone());
        let failing = |state: &Option<State>| match state {
            Some(State::Failing(reason, _)) => Some(*reason),
            _ => None,
        };
        if failing(&before) != Some(reason) {
            tracing::warn!(
                server = %self.server.name,
                server.namespace = %self.server.namespace,
                environment = self.environment,
                error = %failure,
                "server not followed; trying again until it is"
            );
            self.wake_all();
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Namespaces in which something has changed that has not been read yet.
///
/// What others have changed is read at once. What we have written ourselves is remembered as it was written: that is
/// read later, and never so often that the server is busy with it, because a list takes longer the more there is.
#[derive(Default)]
struct Unread {
    namespaces: BTreeSet<String>,
    urgent: bool,
    /// When the next list may be asked for.
    not_before: Option<Instant>,
}

impl Unread {
    fn take(&mut self, changed: &HashSet<Key>, written: &HashSet<Key>) {
        self.urgent |= changed.iter().any(|key| !written.contains(key));
        self.namespaces.extend(changed.iter().map(|key| key.namespace.clone()));
    }

    /// The namespaces to read now; one without a name stands for all.
    fn due(&mut self, now: Instant) -> Option<BTreeSet<String>> {
        if self.namespaces.is_empty() || !(self.urgent || self.not_before.is_none_or(|time| time <= now)) {
            return None;
        }
        self.urgent = false;
        let namespaces = std::mem::take(&mut self.namespaces);
        let all = namespaces.contains("") || namespaces.len() > FEW_NAMESPACES;
        Some(if all { BTreeSet::from([String::new()]) } else { namespaces })
    }

    fn read(&mut self, begun: Instant, done: Instant) {
        self.not_before = Some(done + (done.saturating_duration_since(begun) * 10).max(LAZY));
    }

    /// How long to wait for changes.
    fn wait_seconds(&self, now: Instant) -> i32 {
        let due = self.not_before.filter(|_| !self.namespaces.is_empty());
        due.map_or(WAIT_SECONDS, |due| {
            let seconds = due.saturating_duration_since(now).as_secs() + 1;
            i32::try_from(seconds).unwrap_or(WAIT_SECONDS).min(WAIT_SECONDS)
        })
    }
}

impl Memory {
    /// Takes over what the server has listed of a namespace, or of all; gives the keys that are otherwise than
    /// remembered, and those that somebody waits for because they are not theirs.
    fn merge(&mut self, namespace: &str, listed: Vec<pb::Managed>) -> HashSet<Key> {
        let mut changed = HashSet::new();
        let mut gone: HashSet<Key> = self
            .managed
            .keys()
            .filter(|key| namespace.is_empty() || key.namespace == namespace)
            .filter(|key| !self.written.contains(key))
            .cloned()
            .collect();
        for managed in listed {
            let Some(kind) = kind_of(managed.kind) else { continue };
            let key = Key { kind, namespace: managed.namespace_key.clone(), key: managed.key.clone() };
            gone.remove(&key);
            if self.written.contains(&key) {
                continue;
            }
            if self.managed.get(&key).is_none_or(|known| !same(known, &managed)) {
                changed.insert(key.clone());
            }
            self.managed.insert(key, managed);
        }
        for key in gone {
            self.managed.remove(&key);
            changed.insert(key);
        }
        changed
    }
}

/// Whether nothing has changed that a reconcile would look at.
fn same(known: &pb::Managed, told: &pb::Managed) -> bool {
    let fields = |managed: &pb::Managed| {
        let mut editable = managed.ui_editable.clone();
        editable.sort_unstable();
        (
            managed.owner.clone(),
            editable,
            managed.written_hash.clone(),
            managed.content_hash.clone(),
            managed.r#override.clone(),
        )
    };
    fields(known) == fields(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn managed(key: &str, hash: &str) -> pb::Managed {
        pb::Managed {
            kind: pb::ResourceKind::Flag.into(),
            namespace_key: "shop".to_owned(),
            key: key.to_owned(),
            content_hash: hash.to_owned(),
            ..pb::Managed::default()
        }
    }

    fn key(key: &str) -> Key {
        Key { kind: ResourceKind::Flag, namespace: "shop".to_owned(), key: key.to_owned() }
    }

    #[test]
    fn a_list_tells_what_is_otherwise_than_remembered() {
        let mut memory = Memory::default();
        assert_eq!(memory.merge("", vec![managed("a", "1"), managed("b", "1")]).len(), 2);
        assert!(memory.merge("", vec![managed("a", "1"), managed("b", "1")]).is_empty());
        let changed = memory.merge("shop", vec![managed("a", "2"), managed("c", "1")]);
        assert_eq!(changed, HashSet::from([key("a"), key("b"), key("c")]));
        assert!(!memory.managed.contains_key(&key("b")));
    }

    #[test]
    fn a_list_of_one_namespace_leaves_others_alone() {
        let mut memory = Memory::default();
        memory.merge("", vec![managed("a", "1")]);
        assert!(memory.merge("pay", Vec::new()).is_empty());
        assert!(memory.managed.contains_key(&key("a")));
    }

    #[test]
    fn what_was_written_meanwhile_is_newer_than_a_list() {
        let mut memory = Memory::default();
        memory.merge("", vec![managed("a", "1")]);
        memory.written.insert(key("a"));
        memory.managed.insert(key("a"), managed("a", "2"));
        assert!(memory.merge("", vec![managed("a", "1")]).is_empty());
        assert_eq!(memory.managed[&key("a")].content_hash, "2");
        assert!(memory.merge("", Vec::new()).is_empty(), "nor is it gone");
    }

    #[test]
    fn what_others_change_is_read_at_once_and_what_we_write_now_and_then() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (mine, theirs) = (HashSet::from([key("a")]), HashSet::from([key("b")]));
        let mut unread = Unread::default();
        assert_eq!(unread.wait_seconds(start), WAIT_SECONDS);
        unread.take(&mine, &mine);
        assert!(unread.due(start).is_some());
        unread.read(start, after(1));
        unread.take(&mine, &mine);
        assert_eq!(unread.due(after(2)), None, "the list took a second");
        assert_eq!(unread.wait_seconds(after(2)), 10);
        assert_eq!(unread.due(after(11)), Some(BTreeSet::from(["shop".to_owned()])));
        unread.read(after(11), after(11));
        unread.take(&theirs, &mine);
        assert!(unread.due(after(12)).is_some());
        assert_eq!(unread.due(after(99)), None, "everything has been read");
    }

    #[test]
    fn users_of_a_resource_are_understood() {
        assert_eq!(Key::parse("flag shop/banner"), Some(key("banner")));
        assert_eq!(Key::parse("namespace shop"), Some(Key::of_namespace("shop")));
        assert_eq!(Key::parse("segment shop/beta"), Some(Key::of_segment("shop", "beta")));
        assert_eq!(Key::parse("rule 7"), None);
    }
}
