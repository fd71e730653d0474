//! The snapshot in force, shared by everything that answers.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::Utc;
use flipt_evaluation::Snapshot;
use flipt_serving::{Source, UnknownNamespace};
use flipt_snapshots::{Pointer, Selection, follow::Status};
use http::{HeaderMap, HeaderName, HeaderValue};

static REVISION: HeaderName = HeaderName::from_static("x-flipt-revision");
static AGE: HeaderName = HeaderName::from_static("x-flipt-snapshot-age");

/// A compiled snapshot with the digest of what it was compiled from.
struct Held {
    snapshot: Snapshot,
    digest: String,
}

/// Holds the compiled snapshot.
pub(crate) struct Holder {
    current: ArcSwapOption<Held>,
    status: Arc<Status>,
    /// What is kept of a snapshot.
    namespaces: Selection,
}

impl Holder {
    pub(crate) fn new(status: Arc<Status>, namespaces: Selection) -> Self {
        Self { current: ArcSwapOption::empty(), status, namespaces }
    }

    pub(crate) const fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Whether flags can be evaluated.
    pub(crate) fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }

    /// Compiles what is to be kept of a snapshot and switches to it. The old one is dropped when its last request
    /// ends.
    pub(crate) fn accept(
        &self,
        mut snapshot: flipt_model::Snapshot,
        pointer: &Pointer,
    ) -> Result<(), String> {
        // What was counted when it was published must be there now, before anybody asks.
        let expect = |(namespaces, flags): (u64, u64), expected: (u64, u64)| {
            if (namespaces, flags) == expected {
                return Ok(());
            }
            Err(format!(
                "snapshot holds {namespaces} namespaces and {flags} flags, expected were {} and {}",
                expected.0, expected.1
            ))
        };
        let counted = |snapshot: &flipt_model::Snapshot| {
            (snapshot.namespaces.len() as u64, snapshot.flag_count() as u64)
        };
        expect(counted(&snapshot), (pointer.counts.namespaces, pointer.counts.flags))?;
        self.namespaces.apply(&mut snapshot);
        let compiled = Snapshot::compile(&snapshot);
        let namespaces = compiled.namespaces().count() as u64;
        let flags = compiled.namespaces().map(|namespace| namespace.flags().count() as u64).sum::<u64>();
        expect((namespaces, flags), counted(&snapshot))?;
        let digest = pointer.digest.to_string();
        self.current.store(Some(Arc::new(Held { snapshot: compiled, digest })));
        Ok(())
    }
}

impl Source for Holder {
    fn snapshot(&self) -> Option<Snapshot> {
        self.current.load().as_ref().map(|held| held.snapshot.clone())
    }

    fn version(&self) -> Option<String> {
        self.current.load().as_ref().map(|held| held.digest.clone())
    }

    fn unknown_namespace(&self) -> UnknownNamespace {
        UnknownNamespace::NamesNamespace
    }

    fn annotate(&self, headers: &mut HeaderMap) {
        let state = self.status.state();
        if !state.loaded {
            return;
        }
        headers.insert(REVISION.clone(), HeaderValue::from(state.revision));
        if let Some(age) = state.age(Utc::now()) {
            headers.insert(AGE.clone(), HeaderValue::from(age.as_secs()));
        }
    }
}
