//! Whole flags and segments: from messages to the model and back.

mod ownership;

use std::collections::BTreeMap;

use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Rollout, RolloutRule, Rule, Segment,
    SegmentOperator, Variant, ownership::Resource,
};

use crate::{flipt::core as pb, json_to_struct, json_to_value, struct_to_json, value_to_json};

/// The flag that a message describes, under this key; ranks are places in the lists.
#[must_use]
pub fn flag(message: pb::Flag, key: &str) -> Flag {
    Flag {
        key: key.to_owned(),
        name: message.name,
        description: message.description,
        flag_type: FlagType::from_number(message.r#type),
        enabled: message.enabled,
        metadata: message
            .metadata
            .map_or_else(BTreeMap::new, |metadata| struct_to_json(&metadata).into_iter().collect()),
        variants: message.variants.into_iter().map(variant).collect(),
        default_variant: message.default_variant.filter(|key| !key.is_empty()),
        rules: (1..).zip(message.rules).map(|(rank, message)| rule(rank, message)).collect(),
        rollouts: (1..).zip(message.rollouts).map(|(rank, message)| rollout(rank, message)).collect(),
    }
}

/// A resource as it is after a way over the wire, which is the form to compare: numbers in metadata and attachments
/// are 64 bits wide there, and the keys of objects have an order. Once there, it stays the same.
#[must_use]
pub fn as_sent(resource: &Resource) -> Resource {
    match resource {
        Resource::Namespace(namespace) => Resource::Namespace(namespace.clone()),
        Resource::Flag(stored) => Resource::Flag(flag(flag_message(stored), &stored.key)),
        Resource::Segment(stored) => Resource::Segment(segment(segment_message(stored), &stored.key)),
    }
}

fn variant(message: pb::Variant) -> Variant {
    let attachment = message.attachment.filter(|value| {
        // A value without a kind is none; the JSON form `null` arrives as the null value.
        !matches!(value.kind, None | Some(prost_types::value::Kind::NullValue(_)))
    });
    Variant {
        key: message.key,
        name: message.name,
        description: message.description,
        attachment: attachment.map(|value| value_to_json(&value).to_string()).unwrap_or_default(),
    }
}

fn rule(rank: i32, message: pb::Rule) -> Rule {
    Rule {
        rank,
        operator: operator(message.segment_operator, &message.segments),
        segments: message.segments,
        distributions: message
            .distributions
            .into_iter()
            .map(|message| Distribution { variant: message.variant, rollout: message.rollout })
            .collect(),
    }
}

/// One segment alone is always OR, as on the v1 API (api spec, item 30).
fn operator(number: i32, segments: &[String]) -> SegmentOperator {
    match (SegmentOperator::from_number(number), segments) {
        (SegmentOperator::And, [_]) => SegmentOperator::Or,
        (operator, _) => operator,
    }
}

fn rollout(rank: i32, message: pb::Rollout) -> Rollout {
    let rule = match message.rule {
        None => RolloutRule::None,
        Some(pb::rollout::Rule::Threshold(threshold)) => {
            RolloutRule::Threshold { percentage: threshold.percentage, value: threshold.value }
        }
        Some(pb::rollout::Rule::Segment(segment)) => RolloutRule::Segment {
            operator: operator(segment.segment_operator, &segment.segments),
            segments: segment.segments,
            value: segment.value,
        },
    };
    Rollout { rank, description: message.description, rule }
}

/// The segment that a message describes, under this key.
#[must_use]
pub fn segment(message: pb::Segment, key: &str) -> Segment {
    Segment {
        key: key.to_owned(),
        name: message.name,
        description: message.description,
        match_type: MatchType::from_number(message.match_type),
        constraints: message
            .constraints
            .into_iter()
            .map(|message| Constraint {
                constraint_type: ConstraintType::from_number(message.r#type),
                property: message.property,
                operator: message.operator,
                value: message.value,
                description: message.description,
            })
            .collect(),
    }
}

/// A flag as a message.
#[must_use]
pub fn flag_message(flag: &Flag) -> pb::Flag {
    pb::Flag {
        key: flag.key.clone(),
        r#type: flag.flag_type.number(),
        name: flag.name.clone(),
        description: flag.description.clone(),
        enabled: flag.enabled,
        variants: flag.variants.iter().map(variant_message).collect(),
        rules: flag.rules.iter().map(rule_message).collect(),
        rollouts: flag.rollouts.iter().map(rollout_message).collect(),
        default_variant: flag.default_variant.clone(),
        metadata: (!flag.metadata.is_empty()).then(|| json_to_struct(&flag.metadata)),
    }
}

fn variant_message(variant: &Variant) -> pb::Variant {
    pb::Variant {
        key: variant.key.clone(),
        name: variant.name.clone(),
        description: variant.description.clone(),
        attachment: serde_json::from_str(&variant.attachment).ok().map(|json| json_to_value(&json)),
    }
}

fn rule_message(rule: &Rule) -> pb::Rule {
    pb::Rule {
        segment_operator: rule.operator.number(),
        segments: rule.segments.clone(),
        distributions: rule
            .distributions
            .iter()
            .map(|share| pb::Distribution { variant: share.variant.clone(), rollout: share.rollout })
            .collect(),
    }
}

fn rollout_message(rollout: &Rollout) -> pb::Rollout {
    let (kind, rule) = match &rollout.rule {
        RolloutRule::None => (pb::RolloutType::UnknownRolloutType, None),
        RolloutRule::Threshold { percentage, value } => {
            let threshold = pb::RolloutThreshold { percentage: *percentage, value: *value };
            (pb::RolloutType::ThresholdRolloutType, Some(pb::rollout::Rule::Threshold(threshold)))
        }
        RolloutRule::Segment { segments, operator, value } => {
            let segment = pb::RolloutSegment {
                value: *value,
                segments: segments.clone(),
                segment_operator: operator.number(),
            };
            (pb::RolloutType::SegmentRolloutType, Some(pb::rollout::Rule::Segment(segment)))
        }
    };
    pb::Rollout { r#type: kind.into(), description: rollout.description.clone(), rule }
}

/// A segment as a message.
#[must_use]
pub fn segment_message(segment: &Segment) -> pb::Segment {
    pb::Segment {
        key: segment.key.clone(),
        match_type: segment.match_type.number(),
        name: segment.name.clone(),
        description: segment.description.clone(),
        constraints: segment
            .constraints
            .iter()
            .map(|constraint| pb::Constraint {
                r#type: constraint.constraint_type.number(),
                property: constraint.property.clone(),
                operator: constraint.operator.clone(),
                value: constraint.value.clone(),
                description: constraint.description.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use flipt_model::ownership::Editable;
    use proptest::prelude::*;
    use prost::Message as _;
    use serde_json::{Map, Value};

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(Map::from_iter(map))),
            ]
        })
    }

    proptest! {
        /// However often it travels, and whoever writes its JSON anew on the way.
        #[test]
        fn a_flag_has_one_hash_after_its_first_way_over_the_wire(
            attachment in json(),
            metadata in prop::collection::btree_map("[a-c]{0,2}", json(), 0..4),
        ) {
            let variant = Variant { key: "v".to_owned(), attachment: attachment.to_string(), ..Variant::default() };
            let sent = Flag { key: "f".to_owned(), metadata, variants: vec![variant], ..Flag::default() };
            let bytes = flag_message(&sent).encode_to_vec();
            let received = flag(pb::Flag::decode(bytes.as_slice()).expect("a flag"), "f");
            let first = Resource::Flag(received.clone());
            let mut stored = received;
            for variant in &mut stored.variants {
                if let Ok(json) = serde_json::from_str::<Value>(&variant.attachment) {
                    variant.attachment = serde_json::to_string_pretty(&json).expect("JSON");
                }
            }
            let again = as_sent(&Resource::Flag(stored));
            let none = Editable::new();
            prop_assert_eq!(first.content_hash(&none), again.content_hash(&none));
            prop_assert_eq!(&first, &as_sent(&first));
        }
    }
}
