//! A flag with everything its evaluation needs.

use std::sync::Arc;

use flipt_model::FlagType;

use crate::boolean::Rollout;
use crate::bucket;
use crate::keyed::{HasKey, Keyed};
use crate::segment::Segment;
use crate::targeting::Targeting;
use crate::variant::{self, Rule, Variant};

/// A compiled flag.
///
/// Only what the flag's type evaluates is kept: rules of a variant flag, rollouts of a boolean one.
#[derive(Debug, PartialEq)]
pub struct Flag {
    key: Arc<str>,
    flag_type: FlagType,
    enabled: bool,
    /// Start of the bucket hash.
    seed: u32,
    default_variant: Option<Arc<Variant>>,
    rules: Box<[Rule]>,
    rollouts: Box<[Rollout]>,
}

impl HasKey for Flag {
    fn key(&self) -> &Arc<str> {
        &self.key
    }
}

impl Flag {
    pub(crate) fn compile(source: &flipt_model::Flag, segments: &Keyed<Segment>) -> Self {
        let variants: Vec<Arc<Variant>> =
            source.variants.iter().map(Variant::compile).map(Arc::new).collect();
        let (rules, rollouts): (Box<[Rule]>, Box<[Rollout]>) = match source.flag_type {
            FlagType::Variant => {
                let compile = |rule| Rule::compile(rule, &variants, segments);
                (source.rules.iter().map(compile).collect(), Box::default())
            }
            FlagType::Boolean => {
                let compile = |rollout| Rollout::compile(rollout, segments);
                (Box::default(), source.rollouts.iter().map(compile).collect())
            }
            FlagType::Other(_) => (Box::default(), Box::default()),
        };
        Self {
            key: source.key.as_str().into(),
            flag_type: source.flag_type,
            enabled: source.enabled,
            seed: bucket::seed(&source.key),
            // A default that names no variant of the flag is none, as when a variant is deleted in v1.
            default_variant: source.default_variant.as_deref().and_then(|key| variant::find(&variants, key)),
            rules,
            rollouts,
        }
    }

    /// Key of the flag.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the flag evaluates to.
    #[must_use]
    pub const fn flag_type(&self) -> FlagType {
        self.flag_type
    }

    /// Whether the flag is on.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    pub(crate) const fn seed(&self) -> u32 {
        self.seed
    }

    pub(crate) fn default_variant(&self) -> Option<&Variant> {
        self.default_variant.as_deref()
    }

    pub(crate) const fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) const fn rollouts(&self) -> &[Rollout] {
        &self.rollouts
    }

    /// Whether a rule or rollout names this segment.
    pub(crate) fn uses(&self, segment: &str) -> bool {
        let of_rules = self.rules.iter().map(Rule::targeting);
        of_rules
            .chain(self.rollouts.iter().filter_map(Rollout::targeting))
            .any(|used: &Targeting| used.uses(segment))
    }

    /// The same flag with the segments as they stand now.
    pub(crate) fn resolve(&self, segments: &Keyed<Segment>) -> Self {
        Self {
            key: Arc::clone(&self.key),
            flag_type: self.flag_type,
            enabled: self.enabled,
            seed: self.seed,
            default_variant: self.default_variant.clone(),
            rules: self.rules.iter().map(|rule| rule.resolve(segments)).collect(),
            rollouts: self.rollouts.iter().map(|rollout| rollout.resolve(segments)).collect(),
        }
    }
}
