//! The compiled snapshot that evaluations run on, with the version it stands for.

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
}

/// One compiled thing that a write replaces.
pub(crate) enum Change {
    Namespace { key: String, content: Option<Namespace> },
    Flag { namespace: String, key: String, content: Option<Box<Flag>> },
    Segment { namespace: String, key: String, content: Option<Segment> },
}

impl Live {
    /// The state after a write: only what changed is compiled anew.
    pub(crate) fn apply(&self, changes: Vec<Change>, version: Version) -> Self {
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
        Self { snapshot, version }
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
