//! Flags and segments in few words.

#![allow(dead_code, reason = "every test file uses another part")]

use std::collections::HashMap;

use flipt_evaluation::{Context, Request, Segments, Snapshot};
use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Namespace, Rollout, RolloutRule,
    Rule, Segment, SegmentOperator, Variant,
};

pub(crate) fn snapshot(flags: Vec<Flag>, segments: Vec<Segment>) -> Snapshot {
    Snapshot::compile(&flipt_model::Snapshot { namespaces: vec![namespace(flags, segments)] })
}

pub(crate) fn namespace(flags: Vec<Flag>, segments: Vec<Segment>) -> Namespace {
    Namespace { key: "default".into(), flags, segments, ..Namespace::default() }
}

pub(crate) fn request<'a, C: Context + ?Sized>(
    flag: &'a str,
    entity: &'a str,
    context: &'a C,
) -> Request<'a, C> {
    Request { namespace: "default", flag, entity, context }
}

/// An enabled variant flag that has every variant its rules name, with the attachment `"of <key>"`.
pub(crate) fn variant_flag(key: &str, rules: Vec<Rule>) -> Flag {
    let mut variants: Vec<Variant> = Vec::new();
    for key in rules.iter().flat_map(|rule| &rule.distributions).map(|distribution| &distribution.variant) {
        if variants.iter().all(|variant| variant.key != *key) {
            variants.push(variant(key));
        }
    }
    Flag { key: key.into(), flag_type: FlagType::Variant, enabled: true, variants, rules, ..Flag::default() }
}

pub(crate) fn with_default(mut flag: Flag, key: &str) -> Flag {
    if flag.variant(key).is_none() {
        flag.variants.push(variant(key));
    }
    Flag { default_variant: Some(key.into()), ..flag }
}

pub(crate) fn boolean_flag(key: &str, enabled: bool, rollouts: Vec<RolloutRule>) -> Flag {
    let rollouts =
        (1..).zip(rollouts).map(|(rank, rule)| Rollout { rank, rule, ..Rollout::default() }).collect();
    Flag { key: key.into(), flag_type: FlagType::Boolean, enabled, rollouts, ..Flag::default() }
}

pub(crate) fn variant(key: &str) -> Variant {
    Variant { key: key.into(), attachment: format!("\"of {key}\""), ..Variant::default() }
}

pub(crate) fn rule(segments: &[&str], distributions: &[(&str, f32)]) -> Rule {
    Rule {
        rank: 1,
        segments: keys(segments),
        operator: SegmentOperator::Or,
        distributions: distributions
            .iter()
            .map(|&(variant, rollout)| Distribution { variant: variant.into(), rollout })
            .collect(),
    }
}

pub(crate) fn threshold(percentage: f32, value: bool) -> RolloutRule {
    RolloutRule::Threshold { percentage, value }
}

pub(crate) fn in_segments(segments: &[&str], operator: SegmentOperator, value: bool) -> RolloutRule {
    RolloutRule::Segment { segments: keys(segments), operator, value }
}

pub(crate) fn everybody(key: &str) -> Segment {
    segment(key, MatchType::All, vec![])
}

pub(crate) fn segment(key: &str, match_type: MatchType, constraints: Vec<Constraint>) -> Segment {
    Segment { key: key.into(), match_type, constraints, ..Segment::default() }
}

pub(crate) fn constraint(
    constraint_type: ConstraintType,
    property: &str,
    operator: &str,
    value: &str,
) -> Constraint {
    Constraint {
        constraint_type,
        property: property.into(),
        operator: operator.into(),
        value: value.into(),
        ..Constraint::default()
    }
}

/// Whether a segment of this one constraint takes an entity.
pub(crate) fn matches(constraint: Constraint, entity: &str, context: &HashMap<String, String>) -> bool {
    let snapshot = snapshot(
        vec![boolean_flag("flag", false, vec![in_segments(&["segment"], SegmentOperator::Or, true)])],
        vec![segment("segment", MatchType::All, vec![constraint])],
    );
    snapshot.boolean(&request("flag", entity, context)).unwrap().enabled
}

pub(crate) fn listed<'a>(segments: &Segments<'a>) -> Vec<&'a str> {
    segments.iter().collect()
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

/// Bucket of an entity as a bare CRC gives it, without the code under test.
pub(crate) fn bucket(flag: &str, entity: &str) -> u32 {
    crc32fast::hash(format!("{flag}{entity}").as_bytes()) % 1000
}

/// One entity for each of the thousand buckets of this flag.
pub(crate) fn entity_of_each_bucket(flag: &str) -> Vec<String> {
    let mut entities = vec![None; 1000];
    let mut missing = entities.len();
    for entity in (0..).map(|number| format!("user-{number}")) {
        let place = &mut entities[bucket(flag, &entity) as usize];
        if place.is_none() {
            *place = Some(entity);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    entities.into_iter().flatten().collect()
}
