//! From a snapshot as Flipt v1 has it to the one of Flipt v2 (v2 spec, section 4.3). Names and descriptions
//! are left out, as v2 does since 2.10: engines do not need them.

use flipt_proto::{
    client as new,
    evaluation::{self as old, evaluation_rollout},
};

/// The snapshot with its digest.
pub(super) fn client_snapshot(
    snapshot: &old::EvaluationNamespaceSnapshot,
    digest: String,
) -> new::EvaluationNamespaceSnapshot {
    new::EvaluationNamespaceSnapshot {
        namespace: snapshot
            .namespace
            .as_ref()
            .map(|namespace| new::EvaluationNamespace { key: namespace.key.clone() }),
        flags: snapshot.flags.iter().map(flag).collect(),
        digest,
    }
}

fn flag(flag: &old::EvaluationFlag) -> new::EvaluationFlag {
    new::EvaluationFlag {
        key: flag.key.clone(),
        name: String::new(),
        description: String::new(),
        enabled: flag.enabled,
        r#type: flag.r#type,
        created_at: flag.created_at,
        updated_at: flag.updated_at,
        rules: flag.rules.iter().map(rule).collect(),
        rollouts: flag.rollouts.iter().map(rollout).collect(),
        default_variant: flag.default_variant.as_ref().map(|variant| new::EvaluationVariant {
            id: variant.id.clone(),
            key: variant.key.clone(),
            attachment: variant.attachment.clone(),
        }),
    }
}

fn rule(rule: &old::EvaluationRule) -> new::EvaluationRule {
    new::EvaluationRule {
        id: rule.id.clone(),
        segments: rule.segments.iter().map(segment).collect(),
        rank: rule.rank,
        segment_operator: rule.segment_operator,
        distributions: rule
            .distributions
            .iter()
            .map(|distribution| new::EvaluationDistribution {
                rule_id: distribution.rule_id.clone(),
                variant_key: distribution.variant_key.clone(),
                variant_attachment: distribution.variant_attachment.clone(),
                rollout: distribution.rollout,
            })
            .collect(),
    }
}

fn rollout(rollout: &old::EvaluationRollout) -> new::EvaluationRollout {
    let rule = rollout.rule.as_ref().map(|rule| match rule {
        evaluation_rollout::Rule::Segment(rule) => {
            new::evaluation_rollout::Rule::Segment(new::EvaluationRolloutSegment {
                value: rule.value,
                segment_operator: rule.segment_operator,
                segments: rule.segments.iter().map(segment).collect(),
            })
        }
        evaluation_rollout::Rule::Threshold(rule) => {
            new::evaluation_rollout::Rule::Threshold(new::EvaluationRolloutThreshold {
                percentage: rule.percentage,
                value: rule.value,
            })
        }
    });
    new::EvaluationRollout { r#type: rollout.r#type, rank: rollout.rank, rule }
}

fn segment(segment: &old::EvaluationSegment) -> new::EvaluationSegment {
    new::EvaluationSegment {
        key: segment.key.clone(),
        name: String::new(),
        description: String::new(),
        match_type: segment.match_type,
        created_at: None,
        updated_at: None,
        constraints: segment
            .constraints
            .iter()
            .map(|constraint| new::EvaluationConstraint {
                r#type: constraint.r#type,
                property: constraint.property.clone(),
                operator: constraint.operator.clone(),
                value: constraint.value.clone(),
            })
            .collect(),
    }
}
