//! The evaluation snapshot of a namespace for client-side engines (documents spec, section 13).
//!
//! Each rule is sent once, with its distributions once. Flipt sends a rule once per segment, each time with
//! all distributions repeated, which makes current engines choose other variants than the server (evaluation
//! spec, section 14.3).

use std::collections::HashMap;

use flipt_proto::{
    evaluation::{
        EvaluationConstraint, EvaluationDistribution, EvaluationFlag, EvaluationNamespace,
        EvaluationNamespaceSnapshot, EvaluationRollout, EvaluationRolloutSegment, EvaluationRolloutThreshold,
        EvaluationRule, EvaluationSegment, EvaluationVariant, evaluation_rollout,
    },
    flipt::{self as pb, rollout},
};

use crate::{
    StoreError,
    database::{Transaction, params},
    flags,
    paging::Page,
    place::{Place, in_default_environment},
    rollouts, rules, segments,
};

/// Everything that evaluation in this namespace needs, in list order. A namespace that does not exist has
/// no flags.
pub(crate) async fn read(
    transaction: &mut Transaction,
    place: &Place,
    requested: &str,
) -> Result<EvaluationNamespaceSnapshot, StoreError> {
    let stored = place.stored(in_default_environment(requested));
    let namespace = stored.as_str();
    let listed = segments::list_page(transaction, namespace, Page::ALL).await?;
    let segments: HashMap<String, EvaluationSegment> = listed
        .segments
        .into_iter()
        .map(|segment| (segment.key.clone(), evaluation_segment(segment)))
        .collect();
    let find = |keys: &[String]| keys.iter().filter_map(|key| segments.get(key).cloned()).collect::<Vec<_>>();

    let mut rules_of: HashMap<String, Vec<pb::Rule>> = HashMap::new();
    for rule in rules::of_namespace(transaction, namespace).await? {
        rules_of.entry(rule.flag_key.clone()).or_default().push(rule);
    }
    let mut rollouts_of: HashMap<String, Vec<pb::Rollout>> = HashMap::new();
    for rollout in rollouts::of_namespace(transaction, namespace).await? {
        rollouts_of.entry(rollout.flag_key.clone()).or_default().push(rollout);
    }
    let attachments: HashMap<String, (String, String)> = transaction
        .fetch_all(
            r#"SELECT id, "key", attachment FROM variants WHERE namespace_key = ?"#,
            params![namespace],
        )
        .await?
        .iter()
        .map(|row| Ok((row.text(0)?, (row.text(1)?, row.text(2)?))))
        .collect::<Result<_, StoreError>>()?;

    let listed = flags::list_page(transaction, namespace, Page::ALL).await?;
    let flags = listed
        .flags
        .into_iter()
        .map(|flag| {
            let is_variant = flag.r#type == pb::FlagType::VariantFlagType as i32;
            let is_boolean = flag.r#type == pb::FlagType::BooleanFlagType as i32;
            let rules = rules_of.remove(&flag.key).filter(|_| is_variant).unwrap_or_default();
            let rollouts = rollouts_of.remove(&flag.key).filter(|_| is_boolean).unwrap_or_default();
            EvaluationFlag {
                rules: rules
                    .into_iter()
                    .filter(|rule| !rule.segment_keys.is_empty())
                    .map(|rule| EvaluationRule {
                        segments: find(&rule.segment_keys),
                        distributions: rule
                            .distributions
                            .iter()
                            .map(|distribution| evaluation_distribution(distribution, &attachments))
                            .collect(),
                        id: rule.id,
                        rank: rule.rank,
                        segment_operator: rule.segment_operator,
                    })
                    .collect(),
                rollouts: rollouts
                    .into_iter()
                    .map(|rollout| EvaluationRollout {
                        r#type: rollout.r#type,
                        rank: rollout.rank,
                        rule: rollout.rule.map(|rule| evaluation_rollout_rule(rule, find)),
                    })
                    .collect(),
                default_variant: flag.default_variant.filter(|_| is_variant).map(|variant| {
                    EvaluationVariant {
                        id: variant.id,
                        key: variant.key,
                        attachment: compact(variant.attachment),
                    }
                }),
                key: flag.key,
                name: flag.name,
                description: flag.description,
                enabled: flag.enabled,
                r#type: flag.r#type,
                created_at: flag.created_at,
                updated_at: flag.updated_at,
            }
        })
        .collect();
    Ok(EvaluationNamespaceSnapshot {
        namespace: Some(EvaluationNamespace { key: requested.to_owned() }),
        flags,
    })
}

fn evaluation_segment(segment: pb::Segment) -> EvaluationSegment {
    EvaluationSegment {
        key: segment.key,
        match_type: segment.match_type,
        constraints: segment
            .constraints
            .into_iter()
            .map(|constraint| EvaluationConstraint {
                id: constraint.id,
                r#type: constraint.r#type,
                property: constraint.property,
                operator: constraint.operator,
                value: constraint.value,
            })
            .collect(),
        ..Default::default()
    }
}

fn compact(attachment: String) -> String {
    flipt_model::validation::compact_json(&attachment).unwrap_or(attachment)
}

fn evaluation_distribution(
    distribution: &pb::Distribution,
    variants: &HashMap<String, (String, String)>,
) -> EvaluationDistribution {
    let (key, attachment) = variants.get(&distribution.variant_id).cloned().unwrap_or_default();
    EvaluationDistribution {
        variant_id: distribution.variant_id.clone(),
        variant_key: key,
        variant_attachment: compact(attachment),
        rollout: distribution.rollout,
        ..Default::default()
    }
}

fn evaluation_rollout_rule(
    rule: rollout::Rule,
    find: impl Fn(&[String]) -> Vec<EvaluationSegment>,
) -> evaluation_rollout::Rule {
    match rule {
        rollout::Rule::Segment(segment) => evaluation_rollout::Rule::Segment(EvaluationRolloutSegment {
            value: segment.value,
            segment_operator: segment.segment_operator,
            segments: find(&segment.segment_keys),
        }),
        rollout::Rule::Threshold(threshold) => {
            evaluation_rollout::Rule::Threshold(EvaluationRolloutThreshold {
                percentage: threshold.percentage,
                value: threshold.value,
            })
        }
    }
}
