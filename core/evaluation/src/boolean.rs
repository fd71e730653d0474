//! Evaluation of boolean flags.

use flipt_model::{FlagType, RolloutRule};

use crate::bucket;
use crate::context::Context;
use crate::error::EvaluationError;
use crate::flag::Flag;
use crate::keyed::Keyed;
use crate::reason::Reason;
use crate::segment::Segment;
use crate::segments::Segments;
use crate::targeting::Targeting;

/// What a boolean flag evaluated to.
#[derive(Debug, Clone, Default)]
pub struct BooleanResult<'a> {
    /// The value.
    pub enabled: bool,
    /// Why it is this value: [`Reason::Match`] or [`Reason::Default`].
    pub reason: Reason,
    /// Segments that decided; none if a threshold did.
    pub segments: Segments<'a>,
}

/// A compiled rollout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rollout {
    rank: i32,
    test: RolloutTest,
}

#[derive(Debug, Clone, PartialEq)]
enum RolloutTest {
    Never,
    Threshold { percentage: f32, value: bool },
    Segments { targeting: Targeting, value: bool },
}

impl Rollout {
    pub(crate) fn compile(source: &flipt_model::Rollout, segments: &Keyed<Segment>) -> Self {
        let test = match &source.rule {
            RolloutRule::None => RolloutTest::Never,
            RolloutRule::Threshold { percentage, value } => {
                RolloutTest::Threshold { percentage: *percentage, value: *value }
            }
            RolloutRule::Segment { segments: keys, operator, value } => RolloutTest::Segments {
                targeting: Targeting::compile(keys, *operator, segments),
                value: *value,
            },
        };
        Self { rank: source.rank, test }
    }

    pub(crate) const fn targeting(&self) -> Option<&Targeting> {
        match &self.test {
            RolloutTest::Segments { targeting, .. } => Some(targeting),
            RolloutTest::Never | RolloutTest::Threshold { .. } => None,
        }
    }

    pub(crate) fn resolve(&self, segments: &Keyed<Segment>) -> Self {
        let mut resolved = self.clone();
        if let RolloutTest::Segments { targeting, .. } = &mut resolved.test {
            *targeting = targeting.resolve(segments);
        }
        resolved
    }
}

impl Flag {
    /// The value for this entity. A flag that is off runs its rollouts all the same.
    ///
    /// # Errors
    ///
    /// If this is not a boolean flag, if the ranks of the rollouts are out of order, or if a segment in
    /// question has a constraint of unknown type.
    pub fn boolean<C: Context + ?Sized>(
        &self,
        entity: &str,
        context: &C,
    ) -> Result<BooleanResult<'_>, EvaluationError> {
        self.boolean_spelt(self.key(), entity, context)
    }

    /// The same for a request that spells the key in another letter case: its spelling is what is hashed.
    pub(crate) fn boolean_spelt<C: Context + ?Sized>(
        &self,
        key: &str,
        entity: &str,
        context: &C,
    ) -> Result<BooleanResult<'_>, EvaluationError> {
        if self.flag_type() != FlagType::Boolean {
            return Err(EvaluationError::WrongFlagType(self.flag_type()));
        }
        // The API takes negative ranks (api spec, item 31), and Flipt's engines for clients evaluate them.
        let mut last_rank = i32::MIN;
        for rollout in self.rollouts() {
            if rollout.rank < last_rank {
                return Err(EvaluationError::RolloutRankOutOfOrder(rollout.rank));
            }
            last_rank = rollout.rank;
            let (value, segments) = match &rollout.test {
                RolloutTest::Threshold { percentage, value }
                    if bucket::below(bucket::residue(entity, key), *percentage) =>
                {
                    (*value, Segments::default())
                }
                RolloutTest::Segments { targeting, value } => match targeting.hits(entity, context)? {
                    Some(segments) => (*value, segments),
                    None => continue,
                },
                RolloutTest::Threshold { .. } | RolloutTest::Never => continue,
            };
            return Ok(BooleanResult { enabled: value, reason: Reason::Match, segments });
        }
        Ok(BooleanResult { enabled: self.enabled(), reason: Reason::Default, segments: Segments::default() })
    }
}
