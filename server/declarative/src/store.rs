//! The store on documents: reads what was loaded last, refuses every write.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use flipt_model::{Flag, Namespace, Snapshot, namespace_or_default, validation::go_quote};
use flipt_proto::{evaluation::EvaluationNamespaceSnapshot, flipt as pb};
use flipt_store::{
    Edit, Environment, ImportMode, ImportedNamespace, Live, Part, Store, StoreError, Version, names,
};
use flipt_telemetry::Registry;
use tokio::sync::watch;

use crate::{
    Fetched, Follower, LoadFailure, Source, SourceError, Tree,
    answers::Answers,
    client,
    paging::{self, Cut},
    state::State,
};

/// Flag state from documents that somebody else keeps.
///
/// # Guarantees
/// - Every answer comes from one complete state; a later one replaces it whole.
/// - Identifiers and versions are made of the documents: they are the same after a restart and on every
///   replica, and change only with what they stand for.
/// - Every write fails with [`StoreError::ReadOnly`].
#[derive(Clone)]
pub struct DeclarativeStore {
    shared: Arc<Shared>,
}

/// What the store and its follower share.
pub(crate) struct Shared {
    current: ArcSwap<Current>,
    revision: watch::Sender<u64>,
}

/// A state with what was made of it.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) state: Arc<State>,
    pub(crate) live: Arc<Live>,
}

impl Shared {
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    pub(crate) fn replace(&self, current: Current) {
        let revision = current.live.version.revision;
        self.current.store(Arc::new(current));
        self.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Indicates a source that cannot be read.
    #[error("{0}; {remedy}", remedy = .0.remedy)]
    Source(#[from] SourceError),
    /// Indicates documents that make no state.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Load(#[from] LoadFailure),
    /// Indicates that the work was interrupted.
    #[error("loading flag state broke down: {0}")]
    Interrupted(String),
}

/// Now, in microseconds since the Unix epoch.
pub(crate) fn unix_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}

/// Resolves and compiles a tree. The version is that of `before` if the content is.
pub(crate) fn load(
    tree: &Tree,
    before: Option<&Current>,
    identity: String,
    now: i64,
) -> Result<Current, LoadFailure> {
    let state = State::load(tree, before.map(|before| &*before.state), now)?;
    if let Some(before) = before.filter(|before| before.state.snapshot == state.snapshot) {
        // How something is written may have changed, which answers to editors show.
        return Ok(Current { state: Arc::new(state), live: Arc::clone(&before.live) });
    }
    let version = Version { epoch: identity, revision: revision(tree, before, now) };
    let snapshot = flipt_evaluation::Snapshot::compile(&state.snapshot);
    Ok(Current {
        state: Arc::new(state),
        live: Arc::new(Live { snapshot, version, namespaces: Arc::default() }),
    })
}

/// The revision of a new state: when the source was changed last, so that replicas agree and a restart goes
/// on where it was; but always more than before, and never from the future.
fn revision(tree: &Tree, before: Option<&Current>, now: i64) -> u64 {
    let changed_at = if (1..=now).contains(&tree.changed_at) { tree.changed_at } else { now };
    let least = before.map_or(1, |before| before.live.version.revision.saturating_add(1));
    u64::try_from(changed_at).unwrap_or_default().max(least)
}

impl DeclarativeStore {
    /// Loads the documents, and gives the store with what keeps it current.
    ///
    /// # Errors
    /// [`OpenError`]: the first load must succeed.
    pub async fn open(
        mut source: Box<dyn Source>,
        interval: Duration,
        registry: &Registry,
    ) -> Result<(Self, Follower), OpenError> {
        let tree = match source.fetch().await? {
            Fetched::Tree(tree) => tree,
            Fetched::Unchanged => Tree::default(),
        };
        let identity = source.identity();
        let loading = tokio::task::spawn_blocking(move || load(&tree, None, identity, unix_micros()));
        let current = loading.await.map_err(|error| OpenError::Interrupted(error.to_string()))??;
        tracing::info!(
            source = source.describe(),
            snapshot.revision = current.live.version.revision,
            snapshot.flags = current.state.snapshot.flag_count(),
            "flag state loaded"
        );
        let shared = Arc::new(Shared {
            revision: watch::Sender::new(current.live.version.revision),
            current: ArcSwap::from_pointee(current),
        });
        let follower = Follower::new(Arc::clone(&shared), source, interval, registry);
        Ok((Self { shared }, follower))
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.shared.current.load().state)
    }
}

fn unknown_namespace(key: &str) -> StoreError {
    StoreError::NotFound(format!("namespace {}", go_quote(key)))
}

/// The answers about the namespace that a request names.
fn answers<'a>(state: &'a State, key: &str) -> Result<Answers<'a>, StoreError> {
    let key = namespace_or_default(key);
    Answers::of(state, key).ok_or_else(|| unknown_namespace(key))
}

/// What of a flag's list is on the page, with the flag. A flag that does not exist has an empty list.
fn part_of<'a, T>(
    answers: &Answers<'a>,
    key: &str,
    list: impl FnOnce(&'a Flag) -> &'a [T],
    (limit, token): (i32, &str),
) -> Result<Option<(&'a Flag, Cut<'a, T>)>, StoreError> {
    let Some(flag) = answers.find_flag(key) else { return Ok(None) };
    Ok(Some((flag, paging::cut(list(flag), limit, token)?)))
}

/// A part of the state. A namespace that does not exist has nothing.
fn read(state: &State, part: Part<'_>) -> Snapshot {
    let bare = |namespace: &Namespace| Namespace {
        key: namespace.key.clone(),
        name: namespace.name.clone(),
        description: namespace.description.clone(),
        ..Namespace::default()
    };
    let find = |key: &str| state.namespace(namespace_or_default(key));
    let namespaces = match part {
        Part::All => return state.snapshot.clone(),
        Part::Namespaces => state.snapshot.namespaces.iter().map(bare).collect(),
        Part::Flags(key) => find(key)
            .map(|found| Namespace { flags: found.flags.clone(), ..bare(found) })
            .into_iter()
            .collect(),
        Part::Segments(key) => find(key)
            .map(|found| Namespace { segments: found.segments.clone(), ..bare(found) })
            .into_iter()
            .collect(),
        Part::Flag(key, flag) => find(key)
            .map(|found| {
                let flags = found.flags.iter().filter(|other| other.key == flag).cloned().collect();
                Namespace { flags, ..bare(found) }
            })
            .into_iter()
            .collect(),
        Part::Segment(key, segment) => find(key)
            .map(|found| {
                let segments = found.segments.iter().filter(|other| other.key == segment).cloned().collect();
                Namespace { segments, ..bare(found) }
            })
            .into_iter()
            .collect(),
    };
    Snapshot { namespaces }
}

#[async_trait]
impl Environment for DeclarativeStore {
    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.shared.current.load().live)
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    fn knows_every_namespace(&self) -> bool {
        true
    }

    async fn read_state(&self, part: Part<'_>) -> Result<(Snapshot, Version), StoreError> {
        let current = self.shared.current();
        Ok((read(&current.state, part), current.live.version.clone()))
    }

    async fn namespace_version(&self, key: &str) -> Result<String, StoreError> {
        let state = self.state();
        Ok(state.facts(namespace_or_default(key)).map(|facts| facts.version.clone()).unwrap_or_default())
    }

    async fn namespace_snapshot(
        &self,
        key: &str,
    ) -> Result<(EvaluationNamespaceSnapshot, String), StoreError> {
        let state = self.state();
        let namespace = namespace_or_default(key);
        let (Some(answers), Some(facts)) = (Answers::of(&state, namespace), state.facts(namespace)) else {
            return Err(StoreError::NotFound(format!("getting flags: namespace {}", go_quote(namespace))));
        };
        Ok((client::snapshot(&answers, key), facts.version.clone()))
    }

    async fn import(&self, _: &[ImportedNamespace], _: ImportMode) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn apply(&self, _: &Edit, _: &str) -> Result<Version, StoreError> {
        Err(StoreError::ReadOnly)
    }
}

#[async_trait]
impl Store for DeclarativeStore {
    async fn get_namespace(&self, request: &pb::GetNamespaceRequest) -> Result<pb::Namespace, StoreError> {
        Ok(answers(&self.state(), &request.key)?.namespace())
    }

    async fn list_namespaces(
        &self,
        request: &pb::ListNamespaceRequest,
    ) -> Result<pb::NamespaceList, StoreError> {
        let state = self.state();
        let page = paging::cut(&state.snapshot.namespaces, request.limit, &request.page_token)?;
        Ok(pb::NamespaceList {
            namespaces: page
                .items
                .iter()
                .filter_map(|namespace| Answers::of(&state, &namespace.key))
                .map(|answers| answers.namespace())
                .collect(),
            next_page_token: page.next_page_token,
            total_count: page.total,
        })
    }

    async fn get_flag(&self, request: &pb::GetFlagRequest) -> Result<pb::Flag, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        let flag = answers.find_flag(&request.key).ok_or_else(|| {
            StoreError::NotFound(format!("flag {}", names::cleaned(&answers.content.key, &request.key)))
        })?;
        Ok(answers.flag(flag))
    }

    async fn list_flags(&self, request: &pb::ListFlagRequest) -> Result<pb::FlagList, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        let page = paging::cut(&answers.content.flags, request.limit, &request.page_token)?;
        Ok(pb::FlagList {
            flags: page.items.iter().map(|flag| answers.flag(flag)).collect(),
            next_page_token: page.next_page_token,
            total_count: page.total,
        })
    }

    async fn get_segment(&self, request: &pb::GetSegmentRequest) -> Result<pb::Segment, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        let segment = answers.find_segment(&request.key).ok_or_else(|| {
            StoreError::NotFound(format!("segment {}", names::cleaned(&answers.content.key, &request.key)))
        })?;
        Ok(answers.segment(segment))
    }

    async fn list_segments(&self, request: &pb::ListSegmentRequest) -> Result<pb::SegmentList, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        let page = paging::cut(&answers.content.segments, request.limit, &request.page_token)?;
        Ok(pb::SegmentList {
            segments: page.items.iter().map(|segment| answers.segment(segment)).collect(),
            next_page_token: page.next_page_token,
            total_count: page.total,
        })
    }

    async fn get_rule(&self, request: &pb::GetRuleRequest) -> Result<pb::Rule, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        for flag in &answers.content.flags {
            for (index, rule) in flag.rules.iter().enumerate() {
                if answers.rule_id(flag, index) == request.id {
                    return Ok(answers.rule(flag, index, rule));
                }
            }
        }
        Err(StoreError::NotFound(format!("rule {}", names::joined(&answers.content.key, &request.id))))
    }

    async fn list_rules(&self, request: &pb::ListRuleRequest) -> Result<pb::RuleList, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        let wanted = (request.limit, request.page_token.as_str());
        let Some((flag, page)) = part_of(&answers, &request.flag_key, |flag| &flag.rules, wanted)? else {
            return Ok(pb::RuleList::default());
        };
        let rules = page.items.iter().zip(page.first..);
        Ok(pb::RuleList {
            rules: rules.map(|(rule, index)| answers.rule(flag, index, rule)).collect(),
            next_page_token: page.next_page_token,
            total_count: page.total,
        })
    }

    async fn get_rollout(&self, request: &pb::GetRolloutRequest) -> Result<pb::Rollout, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        for flag in &answers.content.flags {
            for (index, rollout) in flag.rollouts.iter().enumerate() {
                if answers.rollout_id(flag, index) == request.id {
                    return Ok(answers.rollout(flag, index, rollout));
                }
            }
        }
        Err(StoreError::NotFound(format!("rollout {}", names::joined(&answers.content.key, &request.id))))
    }

    async fn list_rollouts(&self, request: &pb::ListRolloutRequest) -> Result<pb::RolloutList, StoreError> {
        let state = self.state();
        let answers = answers(&state, &request.namespace_key)?;
        let wanted = (request.limit, request.page_token.as_str());
        let Some((flag, page)) = part_of(&answers, &request.flag_key, |flag| &flag.rollouts, wanted)? else {
            return Ok(pb::RolloutList::default());
        };
        let rollouts = page.items.iter().zip(page.first..);
        Ok(pb::RolloutList {
            rules: rollouts.map(|(rollout, index)| answers.rollout(flag, index, rollout)).collect(),
            next_page_token: page.next_page_token,
            total_count: page.total,
        })
    }

    async fn create_namespace(&self, _: &pb::CreateNamespaceRequest) -> Result<pb::Namespace, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_namespace(&self, _: &pb::UpdateNamespaceRequest) -> Result<pb::Namespace, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_namespace(&self, _: &pb::DeleteNamespaceRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_flag(&self, _: &pb::CreateFlagRequest) -> Result<pb::Flag, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_flag(&self, _: &pb::UpdateFlagRequest) -> Result<pb::Flag, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_flag(&self, _: &pb::DeleteFlagRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_variant(&self, _: &pb::CreateVariantRequest) -> Result<pb::Variant, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_variant(&self, _: &pb::UpdateVariantRequest) -> Result<pb::Variant, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_variant(&self, _: &pb::DeleteVariantRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_segment(&self, _: &pb::CreateSegmentRequest) -> Result<pb::Segment, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_segment(&self, _: &pb::UpdateSegmentRequest) -> Result<pb::Segment, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_segment(&self, _: &pb::DeleteSegmentRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_constraint(&self, _: &pb::CreateConstraintRequest) -> Result<pb::Constraint, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_constraint(&self, _: &pb::UpdateConstraintRequest) -> Result<pb::Constraint, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_constraint(&self, _: &pb::DeleteConstraintRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_rule(&self, _: &pb::CreateRuleRequest) -> Result<pb::Rule, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_rule(&self, _: &pb::UpdateRuleRequest) -> Result<pb::Rule, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn order_rules(&self, _: &pb::OrderRulesRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_rule(&self, _: &pb::DeleteRuleRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_distribution(
        &self,
        _: &pb::CreateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_distribution(
        &self,
        _: &pb::UpdateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_distribution(&self, _: &pb::DeleteDistributionRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_rollout(&self, _: &pb::CreateRolloutRequest) -> Result<pb::Rollout, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn update_rollout(&self, _: &pb::UpdateRolloutRequest) -> Result<pb::Rollout, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn order_rollouts(&self, _: &pb::OrderRolloutsRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn delete_rollout(&self, _: &pb::DeleteRolloutRequest) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }
}
