//! Whether an entity is in enough of the segments that a rule or rollout names.

use std::sync::Arc;

use flipt_model::SegmentOperator;

use crate::context::Context;
use crate::error::EvaluationError;
use crate::keyed::Keyed;
use crate::segment::Segment;
use crate::segments::{Hits, Segments};

/// A segment by key, resolved if the namespace has it. Without it, nobody is in the segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    key: Arc<str>,
    segment: Option<Arc<Segment>>,
}

impl Target {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

/// Segments of a rule or rollout with the operator that joins them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Targeting {
    targets: Box<[Target]>,
    operator: SegmentOperator,
    /// One of the segments cannot be evaluated.
    poisoned: bool,
}

impl Targeting {
    pub(crate) fn compile(keys: &[String], operator: SegmentOperator, segments: &Keyed<Segment>) -> Self {
        let mut targets: Vec<Target> = Vec::with_capacity(keys.len());
        for key in keys {
            // Only distinct segments count, in hits as in the number that AND demands.
            if targets.iter().all(|target| target.key() != key) {
                targets.push(Target { key: key.as_str().into(), segment: None });
            }
        }
        Self { targets: targets.into(), operator, poisoned: false }.resolve(segments)
    }

    /// Whether this segment is among them, resolved or not.
    pub(crate) fn uses(&self, segment: &str) -> bool {
        self.targets.iter().any(|target| target.key() == segment)
    }

    /// The same segments as these stand now.
    pub(crate) fn resolve(&self, segments: &Keyed<Segment>) -> Self {
        let targets: Box<[Target]> = self
            .targets
            .iter()
            .map(|target| match segments.get(&target.key) {
                // The segment's own text replaces the reference's, so that one copy of the key is kept.
                Some(segment) => {
                    Target { key: Arc::clone(segment.shared_key()), segment: Some(Arc::clone(segment)) }
                }
                None => Target { key: Arc::clone(&target.key), segment: None },
            })
            .collect();
        let poisoned =
            targets.iter().filter_map(|target| target.segment.as_ref()).any(|segment| segment.is_poisoned());
        Self { targets, operator: self.operator, poisoned }
    }

    /// The segments that the entity is in, if they satisfy the operator.
    pub(crate) fn hits<C: Context + ?Sized>(
        &self,
        entity: &str,
        context: &C,
    ) -> Result<Option<Segments<'_>>, EvaluationError> {
        // All segments count as evaluated, so one that cannot be fails the whole, whatever the others say.
        if self.poisoned {
            return Err(EvaluationError::UnknownConstraintType);
        }
        let mut hits = Hits::default();
        for (position, target) in self.targets.iter().enumerate() {
            if target.segment.as_ref().is_some_and(|segment| segment.takes(entity, context)) {
                hits.insert(position);
            }
        }
        let satisfied = match self.operator {
            // Without any segment this holds: zero hits of zero (section 5.2).
            SegmentOperator::And => hits.len() == self.targets.len(),
            // A number without a name counts as OR, as the document reader and the client engines have it.
            SegmentOperator::Or | SegmentOperator::Other(_) => !hits.is_empty(),
        };
        Ok(satisfied.then(|| Segments::new(&self.targets, hits)))
    }
}
