//! The snapshot of a namespace for client-side engines (documents spec, section 13).

use flipt_model::{ConstraintType, Flag, FlagType, MatchType, Rollout, RolloutRule, Rule, Segment};
use flipt_proto::{
    evaluation::{
        EvaluationConstraint, EvaluationDistribution, EvaluationFlag, EvaluationNamespace,
        EvaluationNamespaceSnapshot, EvaluationRollout, EvaluationRolloutSegment, EvaluationRolloutThreshold,
        EvaluationRule, EvaluationSegment, EvaluationVariant, evaluation_rollout,
    },
    flipt as pb,
};

use crate::answers::Answers;

/// Everything that evaluation in the namespace needs; `requested` is its key as the request has it.
pub(crate) fn snapshot(answers: &Answers<'_>, requested: &str) -> EvaluationNamespaceSnapshot {
    EvaluationNamespaceSnapshot {
        namespace: Some(EvaluationNamespace { key: requested.to_owned() }),
        flags: answers.content.flags.iter().map(|found| flag(answers, found)).collect(),
    }
}

fn flag(answers: &Answers<'_>, flag: &Flag) -> EvaluationFlag {
    let is_variant = flag.flag_type == FlagType::Variant;
    let is_boolean = flag.flag_type == FlagType::Boolean;
    let rules = if is_variant { flag.rules.as_slice() } else { &[] };
    let rollouts = if is_boolean { flag.rollouts.as_slice() } else { &[] };
    let default = flag.default_variant.as_ref().filter(|_| is_variant).and_then(|key| flag.variant(key));
    EvaluationFlag {
        key: flag.key.clone(),
        name: flag.name.clone(),
        description: flag.description.clone(),
        enabled: flag.enabled,
        r#type: flag.flag_type.number(),
        created_at: answers.time(),
        updated_at: answers.time(),
        rules: rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| !rule.segments.is_empty())
            .map(|(index, found)| rule(answers, flag, index, found))
            .collect(),
        rollouts: rollouts.iter().map(|found| rollout(answers, found)).collect(),
        default_variant: default.map(|variant| EvaluationVariant {
            id: answers.variant_id(flag, &variant.key),
            key: variant.key.clone(),
            attachment: variant.attachment.clone(),
        }),
    }
}

fn rule(answers: &Answers<'_>, flag: &Flag, index: usize, rule: &Rule) -> EvaluationRule {
    let distributions = rule
        .distributions
        .iter()
        .map(|distribution| {
            let variant = flag.variant(&distribution.variant);
            EvaluationDistribution {
                variant_id: answers.variant_id(flag, &distribution.variant),
                variant_key: distribution.variant.clone(),
                variant_attachment: variant.map(|variant| variant.attachment.clone()).unwrap_or_default(),
                rollout: distribution.rollout,
                ..Default::default()
            }
        })
        .collect();
    EvaluationRule {
        id: answers.rule_id(flag, index),
        segments: segments(answers, &rule.segments),
        rank: rule.rank,
        segment_operator: rule.operator.number(),
        distributions,
    }
}

fn rollout(answers: &Answers<'_>, rollout: &Rollout) -> EvaluationRollout {
    let (number, rule) = match &rollout.rule {
        RolloutRule::None => (pb::RolloutType::UnknownRolloutType, None),
        RolloutRule::Threshold { percentage, value } => (
            pb::RolloutType::ThresholdRolloutType,
            Some(evaluation_rollout::Rule::Threshold(EvaluationRolloutThreshold {
                percentage: *percentage,
                value: *value,
            })),
        ),
        RolloutRule::Segment { segments: keys, operator, value } => (
            pb::RolloutType::SegmentRolloutType,
            Some(evaluation_rollout::Rule::Segment(EvaluationRolloutSegment {
                value: *value,
                segment_operator: operator.number(),
                segments: segments(answers, keys),
            })),
        ),
    };
    EvaluationRollout { r#type: number as i32, rank: rollout.rank, rule }
}

fn segments(answers: &Answers<'_>, keys: &[String]) -> Vec<EvaluationSegment> {
    keys.iter().filter_map(|key| answers.find_segment(key)).map(segment).collect()
}

/// Constraints have no identifiers here (api spec, section 2.9).
fn segment(segment: &Segment) -> EvaluationSegment {
    EvaluationSegment {
        key: segment.key.clone(),
        match_type: MatchType::number(segment.match_type),
        constraints: segment
            .constraints
            .iter()
            .map(|constraint| EvaluationConstraint {
                id: String::new(),
                r#type: ConstraintType::number(constraint.constraint_type),
                property: constraint.property.clone(),
                operator: constraint.operator.clone(),
                value: constraint.value.clone(),
            })
            .collect(),
        ..Default::default()
    }
}
