//! Whether an entity is in a segment.

use std::sync::Arc;

use flipt_model::{ConstraintType, MatchType};

use crate::constraint::Constraint;
use crate::context::Context;
use crate::keyed::HasKey;

/// A compiled segment, shared by all rules and rollouts that name it.
#[derive(Debug, PartialEq)]
pub(crate) struct Segment {
    key: Arc<str>,
    match_type: MatchType,
    constraints: Box<[Constraint]>,
    poisoned: bool,
}

impl HasKey for Segment {
    fn key(&self) -> &Arc<str> {
        &self.key
    }
}

impl Segment {
    pub(crate) fn compile(source: &flipt_model::Segment) -> Self {
        // v1 visits every constraint, so one of unknown type fails the evaluation even where another has
        // already decided. That makes it a property of the segment (section 5.1).
        let poisoned = source.constraints.iter().any(|constraint| {
            matches!(constraint.constraint_type, ConstraintType::Unknown | ConstraintType::Other(_))
        });
        Self {
            key: source.key.as_str().into(),
            match_type: source.match_type,
            constraints: source.constraints.iter().map(Constraint::compile).collect(),
            poisoned,
        }
    }

    pub(crate) const fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    /// Whether every evaluation of this segment fails.
    pub(crate) const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Whether the entity is in the segment. Without constraints, everybody is.
    pub(crate) fn takes<C: Context + ?Sized>(&self, entity: &str, context: &C) -> bool {
        let mut constraints = self.constraints.iter();
        match self.match_type {
            MatchType::All => constraints.all(|constraint| constraint.holds(entity, context)),
            MatchType::Any => {
                self.constraints.is_empty() || constraints.any(|constraint| constraint.holds(entity, context))
            }
            MatchType::Other(_) => false,
        }
    }
}
