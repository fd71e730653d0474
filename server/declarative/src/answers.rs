//! The state as messages of the API.
//!
//! What differs from relational storage is in the api spec, section 10: variants do not say whose they are,
//! a list of one segment stays a list in rules, and flags without metadata have none in lists either.

use flipt_model::{Constraint, Distribution, Flag, Namespace, Rollout, RolloutRule, Rule, Segment, Variant};
use flipt_proto::{
    flipt::{self as pb, rollout},
    from_unix_micros, json_to_struct,
};
use prost_types::Timestamp;

use crate::{identifiers::identifier, state::State};

/// A namespace of a state, with what every answer about it repeats.
pub(crate) struct Answers<'a> {
    state: &'a State,
    pub(crate) content: &'a Namespace,
    time: Option<Timestamp>,
}

impl<'a> Answers<'a> {
    /// The answers about a namespace; `None` if it does not exist.
    pub(crate) fn of(state: &'a State, key: &str) -> Option<Self> {
        let content = state.namespace(key)?;
        let time = state.facts(key).map(|facts| from_unix_micros(facts.loaded_at));
        Some(Self { state, content, time })
    }

    pub(crate) fn namespace(&self) -> pb::Namespace {
        pb::Namespace {
            key: self.content.key.clone(),
            name: self.content.name.clone(),
            description: self.content.description.clone(),
            protected: false,
            created_at: self.time,
            updated_at: self.time,
        }
    }

    /// The flag with this key.
    pub(crate) fn find_flag(&self, key: &str) -> Option<&'a Flag> {
        let at = self.content.flags.binary_search_by(|flag| flag.key.as_str().cmp(key)).ok()?;
        self.content.flags.get(at)
    }

    /// The segment with this key.
    pub(crate) fn find_segment(&self, key: &str) -> Option<&'a Segment> {
        let at = self.content.segments.binary_search_by(|segment| segment.key.as_str().cmp(key)).ok()?;
        self.content.segments.get(at)
    }

    pub(crate) fn flag(&self, flag: &Flag) -> pb::Flag {
        let variants: Vec<pb::Variant> = flag
            .variants
            .iter()
            .enumerate()
            .map(|(index, variant)| self.variant(flag, index, variant))
            .collect();
        let default = flag.default_variant.as_ref();
        pb::Flag {
            key: flag.key.clone(),
            name: flag.name.clone(),
            description: flag.description.clone(),
            enabled: flag.enabled,
            created_at: self.time,
            updated_at: self.time,
            namespace_key: self.content.key.clone(),
            r#type: flag.flag_type.number(),
            default_variant: variants.iter().find(|variant| Some(&variant.key) == default).cloned(),
            metadata: (!flag.metadata.is_empty()).then(|| json_to_struct(&flag.metadata)),
            variants,
        }
    }

    /// The identifier of the first variant with this key.
    pub(crate) fn variant_id(&self, flag: &Flag, key: &str) -> String {
        let index = flag.variants.iter().position(|variant| variant.key == key).unwrap_or_default();
        self.nth_variant_id(flag, index, key)
    }

    /// Counted among those with the same key, so that the identifier survives a change of order.
    fn nth_variant_id(&self, flag: &Flag, index: usize, key: &str) -> String {
        let before = flag.variants.iter().take(index).filter(|variant| variant.key == key).count();
        identifier("variant", &[&self.content.key, &flag.key, key], &[before])
    }

    fn variant(&self, flag: &Flag, index: usize, variant: &Variant) -> pb::Variant {
        pb::Variant {
            id: self.nth_variant_id(flag, index, &variant.key),
            flag_key: String::new(),
            key: variant.key.clone(),
            name: variant.name.clone(),
            description: variant.description.clone(),
            created_at: self.time,
            updated_at: self.time,
            attachment: variant.attachment.clone(),
            namespace_key: self.content.key.clone(),
        }
    }

    pub(crate) fn segment(&self, segment: &Segment) -> pb::Segment {
        let constraints = segment
            .constraints
            .iter()
            .enumerate()
            .map(|(index, constraint)| self.constraint(segment, index, constraint))
            .collect();
        pb::Segment {
            key: segment.key.clone(),
            name: segment.name.clone(),
            description: segment.description.clone(),
            created_at: self.time,
            updated_at: self.time,
            constraints,
            match_type: segment.match_type.number(),
            namespace_key: self.content.key.clone(),
        }
    }

    fn constraint(&self, segment: &Segment, index: usize, constraint: &Constraint) -> pb::Constraint {
        pb::Constraint {
            id: identifier("constraint", &[&self.content.key, &segment.key], &[index]),
            segment_key: segment.key.clone(),
            r#type: constraint.constraint_type.number(),
            property: constraint.property.clone(),
            operator: constraint.operator.clone(),
            value: constraint.value.clone(),
            created_at: self.time,
            updated_at: self.time,
            namespace_key: self.content.key.clone(),
            description: constraint.description.clone(),
        }
    }

    /// The identifier of the rule at a position.
    pub(crate) fn rule_id(&self, flag: &Flag, index: usize) -> String {
        identifier("rule", &[&self.content.key, &flag.key], &[index])
    }

    pub(crate) fn rule(&self, flag: &Flag, index: usize, rule: &Rule) -> pb::Rule {
        let id = self.rule_id(flag, index);
        let is_listed = self.state.is_listed(&self.content.key, &flag.key, index);
        let (segment_key, segment_keys) = match rule.segments.as_slice() {
            [only] if !is_listed => (only.clone(), Vec::new()),
            keys => (String::new(), keys.to_vec()),
        };
        let distributions = rule
            .distributions
            .iter()
            .enumerate()
            .map(|(position, distribution)| self.distribution(flag, (index, position), &id, distribution))
            .collect();
        #[allow(deprecated)]
        pb::Rule {
            id,
            flag_key: flag.key.clone(),
            segment_key,
            distributions,
            rank: rule.rank,
            created_at: self.time,
            updated_at: self.time,
            namespace_key: self.content.key.clone(),
            segment_keys,
            segment_operator: rule.operator.number(),
        }
    }

    fn distribution(
        &self,
        flag: &Flag,
        (rule, position): (usize, usize),
        rule_id: &str,
        distribution: &Distribution,
    ) -> pb::Distribution {
        pb::Distribution {
            id: identifier("distribution", &[&self.content.key, &flag.key], &[rule, position]),
            rule_id: rule_id.to_owned(),
            variant_id: self.variant_id(flag, &distribution.variant),
            rollout: distribution.rollout,
            created_at: self.time,
            updated_at: self.time,
        }
    }

    /// The identifier of the rollout at a position.
    pub(crate) fn rollout_id(&self, flag: &Flag, index: usize) -> String {
        identifier("rollout", &[&self.content.key, &flag.key], &[index])
    }

    pub(crate) fn rollout(&self, flag: &Flag, index: usize, rollout: &Rollout) -> pb::Rollout {
        let (number, rule) = rollout_rule(&rollout.rule);
        pb::Rollout {
            id: self.rollout_id(flag, index),
            namespace_key: self.content.key.clone(),
            flag_key: flag.key.clone(),
            r#type: number as i32,
            rank: rollout.rank,
            description: rollout.description.clone(),
            created_at: self.time,
            updated_at: self.time,
            rule,
        }
    }

    /// When the content was loaded.
    pub(crate) const fn time(&self) -> Option<Timestamp> {
        self.time
    }
}

/// The wire's type and rule of a rollout; one that tests nothing has neither.
fn rollout_rule(rule: &RolloutRule) -> (pb::RolloutType, Option<rollout::Rule>) {
    match rule {
        RolloutRule::None => (pb::RolloutType::UnknownRolloutType, None),
        RolloutRule::Threshold { percentage, value } => (
            pb::RolloutType::ThresholdRolloutType,
            Some(rollout::Rule::Threshold(pb::RolloutThreshold { percentage: *percentage, value: *value })),
        ),
        RolloutRule::Segment { segments, operator, value } => {
            let (segment_key, segment_keys) = match segments.as_slice() {
                [only] => (only.clone(), Vec::new()),
                keys => (String::new(), keys.to_vec()),
            };
            #[allow(deprecated)]
            let segment = pb::RolloutSegment {
                segment_key,
                value: *value,
                segment_keys,
                segment_operator: operator.number(),
            };
            (pb::RolloutType::SegmentRolloutType, Some(rollout::Rule::Segment(segment)))
        }
    }
}
