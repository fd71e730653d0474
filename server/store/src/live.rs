//! The compiled snapshot that evaluations run on, with the version it stands for.

use std::{collections::BTreeMap, sync::Arc};

use flipt_evaluation::Snapshot;
use flipt_model::{Flag, Namespace, Segment};

use crate::Version;

/// Compiled state at one version. Immutable; a write replaces the whole value.
#[derive(Clone)]
pub struct Live {
    /// What evaluations run on.
    pub snapshot: Snapshot,
    /// The version of the state it was compiled from.
    pub version: Version,
    /// The version of each namespace, by its key in the environment.
    pub namespaces: Arc<BTreeMap<String, NamespaceVersion>>,
}

/// What tells one state of a namespace from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceVersion {
    /// The environment's revision at which anything in the namespace changed last.
    pub revision: u64,
    /// When, in microseconds since the Unix epoch; never if absent.
    pub modified_at: Option<i64>,
}

impl NamespaceVersion {
    /// Text of the last modification; empty if there was none.
    #[must_use]
    pub fn text(self) -> String {
        self.modified_at.map(|micros| micros.to_string()).unwrap_or_default()
    }
}

/// One compiled thing that a write replaces.
pub(crate) enum Change {
    Namespace { key: String, content: Option<Namespace> },
    Flag { namespace: String, key: String, content: Option<Box<Flag>> },
    Segment { namespace: String, key: String, content: Option<Segment> },
}

impl Change {
    /// Whether the thing is gone.
    pub(crate) const fn is_deletion(&self) -> bool {
        match self {
            Self::Namespace { content, .. } => content.is_none(),
            Self::Flag { content, .. } => content.is_none(),
            Self::Segment { content, .. } => content.is_none(),
        }
    }

    /// The deletion of the same thing.
    pub(crate) fn deletion(&self) -> Self {
        match self {
            Self::Namespace { key, .. } => Self::Namespace { key: key.clone(), content: None },
            Self::Flag { namespace, key, .. } => {
                Self::Flag { namespace: namespace.clone(), key: key.clone(), content: None }
            }
            Self::Segment { namespace, key, .. } => {
                Self::Segment { namespace: namespace.clone(), key: key.clone(), content: None }
            }
        }
    }
}

impl Live {
    /// Text that changes with every write to a namespace, and never comes back.
    #[must_use]
    pub fn namespace_revision(&self, key: &str) -> String {
        let epoch = &self.version.epoch;
        match self.namespaces.get(key) {
            // The time tells histories apart that count the same revisions: those before and after a restore.
            Some(version) => format!("{epoch}/{}/{}", version.revision, version.text()),
            // One that does not exist may be created by any write.
            None => format!("{epoch}/{}", self.version.revision),
        }
    }

    /// The state after a write: only what changed is compiled anew.
    pub(crate) fn apply(
        &self,
        changes: Vec<Change>,
        versions: Vec<(String, Option<NamespaceVersion>)>,
        version: Version,
    ) -> Self {
        let mut snapshot = self.snapshot.clone();
        for change in changes {
            snapshot = match change {
                Change::Namespace { content: Some(namespace), .. } => {
                    snapshot.with_namespace(flipt_evaluation::Namespace::compile(&namespace))
                }
                Change::Namespace { key, content: None } => snapshot.without_namespace(&key),
                Change::Flag { namespace, key, content } => edit(&snapshot, &namespace, |compiled| {
                    content.map_or_else(|| compiled.without_flag(&key), |flag| compiled.with_flag(&flag))
                }),
                Change::Segment { namespace, key, content } => edit(&snapshot, &namespace, |compiled| {
                    content.map_or_else(
                        || compiled.without_segment(&key),
                        |segment| compiled.with_segment(&segment),
                    )
                }),
            };
        }
        let mut namespaces = BTreeMap::clone(&self.namespaces);
        for (key, version) in versions {
            match version {
                Some(version) => namespaces.insert(key, version),
                None => namespaces.remove(&key),
            };
        }
        Self { snapshot, version, namespaces: Arc::new(namespaces) }
    }
}

fn edit(
    snapshot: &Snapshot,
    namespace: &str,
    change: impl FnOnce(&flipt_evaluation::Namespace) -> flipt_evaluation::Namespace,
) -> Snapshot {
    match snapshot.namespace(namespace) {
        Some(compiled) => snapshot.with_namespace(change(compiled)),
        None => snapshot.clone(),
    }
}
