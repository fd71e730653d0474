//! Flag state without identifiers and times: what documents, snapshots and the engine share.
//!
//! Resources refer to each other by key. Lists that are ordered in the product (variants, rules,
//! distributions, rollouts, constraints) are in that order here; flags and segments stand in list order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ConstraintType, FlagType, MatchType, SegmentOperator};

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The whole state of one environment at one revision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// Every namespace, each at most once.
    pub namespaces: Vec<Namespace>,
}

/// One namespace with everything in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    /// Key, unique in the environment.
    pub key: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// Flags, each key at most once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: Vec<Flag>,
    /// Segments, each key at most once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub segments: Vec<Segment>,
}

/// A flag with its variants, rules and rollouts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flag {
    /// Key, unique in the namespace.
    pub key: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// What the flag evaluates to.
    #[serde(rename = "type")]
    pub flag_type: FlagType,
    /// Variant flag: off means the flag is not evaluated. Boolean flag: the value if no rollout matches.
    pub enabled: bool,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Variants in order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variants: Vec<Variant>,
    /// Key of the variant that applies when no rule decides.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default_variant: Option<String>,
    /// Rules of a variant flag, in order of evaluation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: Vec<Rule>,
    /// Rollouts of a boolean flag, in order of evaluation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollouts: Vec<Rollout>,
}

/// One possible value of a variant flag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Key, unique on the flag.
    pub key: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// Compact JSON text delivered with the variant; empty means none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attachment: String,
}

/// A rule of a variant flag: which entities it takes and how it distributes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Position in the order of evaluation; must not decrease from one rule to the next.
    pub rank: i32,
    /// Keys of the segments, each at most once.
    pub segments: Vec<String>,
    /// How many of the segments must match.
    pub operator: SegmentOperator,
    /// Distributions in order; the order decides which buckets each one owns.
    #[serde(default, skip_serializing_if = "is_default")]
    pub distributions: Vec<Distribution>,
}

/// A share of a rule's entities that gets one variant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// Key of the flag's variant.
    pub variant: String,
    /// Percent, 0 to 100. 32 bits wide, because the bucket arithmetic is (evaluation spec, section 3.2).
    pub rollout: f32,
}

/// A rollout of a boolean flag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Position in the order of evaluation; must not decrease from one rollout to the next.
    pub rank: i32,
    /// Description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// What the rollout tests.
    #[serde(flatten)]
    pub rule: RolloutRule,
}

/// What a rollout tests and which value it gives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutRule {
    /// Nothing: the rollout never matches.
    #[default]
    None,
    /// A share of all entities.
    #[serde(rename_all = "camelCase")]
    Threshold {
        /// Percent, 0 to 100.
        percentage: f32,
        /// Value of the flag for that share.
        value: bool,
    },
    /// Membership in segments.
    #[serde(rename_all = "camelCase")]
    Segment {
        /// Keys of the segments, each at most once.
        segments: Vec<String>,
        /// How many of the segments must match.
        operator: SegmentOperator,
        /// Value of the flag for the matching entities.
        value: bool,
    },
}

/// A set of entities, described by constraints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// Key, unique in the namespace.
    pub key: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// How many constraints must match.
    pub match_type: MatchType,
    /// Constraints in order. Without any, the segment takes everybody.
    #[serde(default, skip_serializing_if = "is_default")]
    pub constraints: Vec<Constraint>,
}

/// A test of one property of the evaluation context, or of the entity id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Constraint {
    /// How the value under test is read.
    #[serde(rename = "type")]
    pub constraint_type: ConstraintType,
    /// Name of the context property; ignored for entity ids.
    pub property: String,
    /// Operator, compared exactly.
    pub operator: String,
    /// Value to compare with: text, also for numbers, dates and lists (then JSON text).
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
}

impl Snapshot {
    /// Puts namespaces, flags and segments in key order, so that equal state gives equal bytes.
    pub fn sort_by_key(&mut self) {
        self.namespaces.sort_by(|a, b| a.key.cmp(&b.key));
        for namespace in &mut self.namespaces {
            namespace.sort_by_key();
        }
    }

    /// The namespace with this key.
    #[must_use]
    pub fn namespace(&self, key: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.key == key)
    }

    /// Number of flags in all namespaces.
    #[must_use]
    pub fn flag_count(&self) -> usize {
        self.namespaces.iter().map(|namespace| namespace.flags.len()).sum()
    }

    /// Number of segments in all namespaces.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.namespaces.iter().map(|namespace| namespace.segments.len()).sum()
    }
}

impl Namespace {
    /// Puts flags and segments in key order (bytewise).
    pub fn sort_by_key(&mut self) {
        self.flags.sort_by(|a, b| a.key.cmp(&b.key));
        self.segments.sort_by(|a, b| a.key.cmp(&b.key));
    }
}

impl Flag {
    /// The variant with this key; the first one if there are several.
    #[must_use]
    pub fn variant(&self, key: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_rollout_survives_json() {
        for rule in [
            RolloutRule::None,
            RolloutRule::Threshold { percentage: 33.33, value: true },
            RolloutRule::Segment {
                segments: vec!["a".into(), "b".into()],
                operator: SegmentOperator::And,
                value: false,
            },
        ] {
            let rollout = Rollout { rank: 1, description: "d".into(), rule };
            let json = serde_json::to_string(&rollout).unwrap();
            assert_eq!(serde_json::from_str::<Rollout>(&json).unwrap(), rollout, "{json}");
        }
    }

    #[test]
    fn a_percentage_keeps_its_32_bits_in_json() {
        let distribution = Distribution { variant: "a".into(), rollout: 33.33 };
        assert_eq!(serde_json::to_string(&distribution).unwrap(), r#"{"variant":"a","rollout":33.33}"#);
    }
}
