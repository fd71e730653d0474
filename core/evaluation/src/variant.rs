//! Evaluation of variant flags.

use std::sync::Arc;

use flipt_model::FlagType;

use crate::bucket;
use crate::context::Context;
use crate::error::EvaluationError;
use crate::flag::Flag;
use crate::keyed::Keyed;
use crate::reason::Reason;
use crate::segment::Segment;
use crate::segments::Segments;
use crate::targeting::Targeting;

/// What a variant flag evaluated to.
#[derive(Debug, Clone, Default)]
pub struct VariantResult<'a> {
    /// Whether a rule decided.
    pub matched: bool,
    /// Why it is this variant.
    pub reason: Reason,
    /// Key of the variant; empty for none.
    pub variant: &'a str,
    /// Attachment of the variant as stored; empty for none.
    pub attachment: &'a str,
    /// Segments that the entity was found in. Also filled if the entity then missed every distribution.
    pub segments: Segments<'a>,
}

/// A variant as results carry it.
#[derive(Debug, PartialEq)]
pub(crate) struct Variant {
    key: Box<str>,
    attachment: Box<str>,
}

impl Variant {
    pub(crate) fn compile(source: &flipt_model::Variant) -> Self {
        Self { key: source.key.as_str().into(), attachment: source.attachment.as_str().into() }
    }
}

/// A compiled rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    rank: i32,
    targeting: Targeting,
    shares: Arc<[Share]>,
}

/// The buckets of one distribution: those from the share before up to `end`, not included.
#[derive(Debug, PartialEq)]
struct Share {
    end: u32,
    variant: Arc<Variant>,
}

impl Rule {
    pub(crate) fn compile(
        source: &flipt_model::Rule,
        variants: &[Arc<Variant>],
        segments: &Keyed<Segment>,
    ) -> Self {
        let mut end = 0_u32;
        let shares = source
            .distributions
            .iter()
            .filter(|distribution| distribution.rollout > 0.0)
            .map(|distribution| {
                // Each width is truncated by itself, nothing is carried on or scaled (section 3.2).
                end = end.saturating_add(bucket::width(distribution.rollout));
                Share { end, variant: find_or_bare(variants, &distribution.variant) }
            })
            .collect();
        let targeting = Targeting::compile(&source.segments, source.operator, segments);
        Self { rank: source.rank, targeting, shares }
    }

    pub(crate) const fn targeting(&self) -> &Targeting {
        &self.targeting
    }

    pub(crate) fn resolve(&self, segments: &Keyed<Segment>) -> Self {
        Self {
            rank: self.rank,
            targeting: self.targeting.resolve(segments),
            shares: Arc::clone(&self.shares),
        }
    }
}

pub(crate) fn find(variants: &[Arc<Variant>], key: &str) -> Option<Arc<Variant>> {
    variants.iter().find(|variant| variant.key.as_ref() == key).cloned()
}

/// A distribution keeps its buckets even if the flag lacks the variant: otherwise those after it would move.
fn find_or_bare(variants: &[Arc<Variant>], key: &str) -> Arc<Variant> {
    find(variants, key).unwrap_or_else(|| Arc::new(Variant { key: key.into(), attachment: Box::default() }))
}

impl Flag {
    /// The variant for this entity.
    ///
    /// # Errors
    ///
    /// If this is not a variant flag, if the ranks of the rules are out of order, or if a segment in question
    /// has a constraint of unknown type.
    pub fn variant<C: Context + ?Sized>(
        &self,
        entity: &str,
        context: &C,
    ) -> Result<VariantResult<'_>, EvaluationError> {
        self.variant_seeded(self.seed(), entity, context)
    }

    /// The same with the seed of another key.
    pub(crate) fn variant_seeded<C: Context + ?Sized>(
        &self,
        seed: u32,
        entity: &str,
        context: &C,
    ) -> Result<VariantResult<'_>, EvaluationError> {
        if self.flag_type() != FlagType::Variant {
            return Err(EvaluationError::WrongFlagType(self.flag_type()));
        }
        let mut result = VariantResult::default();
        if let Some(default) = self.default_variant() {
            result = VariantResult { reason: Reason::Default, ..result }.with(default);
        }
        if !self.enabled() {
            // The default variant stays in the answer.
            return Ok(VariantResult { reason: Reason::FlagDisabled, ..result });
        }
        let mut last_rank = 0;
        for rule in self.rules() {
            if rule.rank < last_rank {
                return Err(EvaluationError::RuleRankOutOfOrder(rule.rank));
            }
            last_rank = rule.rank;
            let Some(segments) = rule.targeting.hits(entity, context)? else { continue };
            result.segments = segments;
            if rule.shares.is_empty() {
                // A match, with whatever the default variant is.
                return Ok(VariantResult { matched: true, reason: Reason::Match, ..result });
            }
            let bucket = bucket::bucket(seed, entity);
            return Ok(match rule.shares.iter().find(|share| bucket < share.end) {
                Some(share) => {
                    VariantResult { matched: true, reason: Reason::Match, ..result }.with(&share.variant)
                }
                // A miss ends the evaluation: later rules are not tried.
                None => result,
            });
        }
        Ok(result)
    }
}

impl<'a> VariantResult<'a> {
    fn with(self, variant: &'a Variant) -> Self {
        Self { variant: &variant.key, attachment: &variant.attachment, ..self }
    }
}
