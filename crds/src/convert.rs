//! What namespaces, flags and segments mean in the flag model.
//!
//! Whatever the API server accepts converts, but for what its rules cannot see: how long an attachment is as text.
//! The result is checked by the same functions that check what comes over the API.

use flipt_model::{
    self as model, RolloutRule,
    resource::{InvalidResource, check_flag, check_namespace, check_segment},
    validation,
};
use kube::ResourceExt;
use serde_json::Value;

use crate::{
    ConstraintType, FlagType, FliptFlag, FliptNamespace, FliptSegment, Management, MatchType, SegmentOperator,
};

/// Longest attachment of a variant, in bytes of JSON text. Everything that an object holds is kept in etcd, and in the
/// memory of everyone who watches.
pub const MAX_ATTACHMENT_BYTES: usize = 10_000;

/// The namespace that a resource describes, without what is in it.
///
/// # Errors
/// [`InvalidResource`], which the API server would have refused.
pub fn namespace_of(resource: &FliptNamespace) -> Result<model::Namespace, InvalidResource> {
    let spec = &resource.spec;
    let key = key_of(&spec.management, resource);
    let namespace = model::Namespace {
        name: spec.name.clone().unwrap_or_else(|| key.clone()),
        key,
        description: spec.description.clone(),
        ..model::Namespace::default()
    };
    check_namespace(&namespace)?;
    Ok(namespace)
}

/// The flag that a resource describes. Its segments may not exist.
///
/// # Errors
/// [`InvalidResource`]: an attachment is longer than [`MAX_ATTACHMENT_BYTES`], or something that the API server would
/// have refused.
pub fn flag_of(resource: &FliptFlag) -> Result<model::Flag, InvalidResource> {
    let spec = &resource.spec;
    let key = key_of(&spec.management, resource);
    let variants = spec.variants.iter().enumerate().map(variant).collect::<Result<_, _>>()?;
    let flag = model::Flag {
        name: spec.name.clone().unwrap_or_else(|| key.clone()),
        key,
        description: spec.description.clone(),
        flag_type: spec.flag_type.into(),
        enabled: spec.enabled,
        metadata: spec.metadata.clone(),
        variants,
        default_variant: spec
            .variants
            .iter()
            .find(|variant| variant.default)
            .map(|variant| variant.key.clone()),
        rules: (1..).zip(&spec.rules).map(rule).collect(),
        rollouts: (1..).zip(&spec.rollouts).map(rollout).collect(),
    };
    check_flag(&flag)?;
    Ok(flag)
}

/// The segment that a resource describes, with constraints as they are stored: dates in UTC.
///
/// # Errors
/// [`InvalidResource`], which the API server would have refused.
pub fn segment_of(resource: &FliptSegment) -> Result<model::Segment, InvalidResource> {
    let spec = &resource.spec;
    let key = key_of(&spec.management, resource);
    check_segment(model::Segment {
        name: spec.name.clone().unwrap_or_else(|| key.clone()),
        key,
        description: spec.description.clone(),
        match_type: spec.match_type.into(),
        constraints: spec.constraints.iter().map(constraint).collect(),
    })
}

fn key_of(management: &Management, resource: &impl ResourceExt) -> String {
    management.key.clone().unwrap_or_else(|| resource.name_any())
}

fn variant((at, variant): (usize, &crate::Variant)) -> Result<model::Variant, InvalidResource> {
    let attachment = match &variant.attachment {
        None | Some(Value::Null) => String::new(),
        Some(value) => validation::canonical_json(value),
    };
    if attachment.len() > MAX_ATTACHMENT_BYTES {
        return Err(InvalidResource {
            field: format!("variants[{at}].attachment"),
            reason: format!(
                "is {} bytes of JSON, at most {MAX_ATTACHMENT_BYTES} are allowed: deliver a reference to it instead",
                attachment.len()
            ),
        });
    }
    Ok(model::Variant {
        key: variant.key.clone(),
        name: variant.name.clone(),
        description: variant.description.clone(),
        attachment,
    })
}

fn rule((rank, rule): (i32, &crate::FlagRule)) -> model::Rule {
    let distributions = rule
        .distributions
        .iter()
        .map(|share| model::Distribution { variant: share.variant.clone(), rollout: share.rollout })
        .collect();
    model::Rule {
        rank,
        segments: rule.segments.clone(),
        operator: rule.segment_operator.into(),
        distributions,
    }
}

fn rollout((rank, rollout): (i32, &crate::Rollout)) -> model::Rollout {
    let rule = match (&rollout.segment, &rollout.threshold) {
        (Some(segment), None) => RolloutRule::Segment {
            segments: segment.keys.clone(),
            operator: segment.operator.into(),
            value: segment.value,
        },
        (None, Some(threshold)) => {
            RolloutRule::Threshold { percentage: threshold.percentage, value: threshold.value }
        }
        // The check of the flag refuses it, as the API server does.
        _ => RolloutRule::None,
    };
    model::Rollout { rank, description: rollout.description.clone(), rule }
}

fn constraint(constraint: &crate::Constraint) -> model::Constraint {
    model::Constraint {
        constraint_type: constraint.constraint_type.into(),
        property: constraint.property.clone(),
        operator: constraint.operator.as_str().to_owned(),
        value: constraint.value.clone(),
        description: constraint.description.clone(),
    }
}

impl From<FlagType> for model::FlagType {
    fn from(flag_type: FlagType) -> Self {
        match flag_type {
            FlagType::Variant => Self::Variant,
            FlagType::Boolean => Self::Boolean,
        }
    }
}

impl From<SegmentOperator> for model::SegmentOperator {
    fn from(operator: SegmentOperator) -> Self {
        match operator {
            SegmentOperator::Or => Self::Or,
            SegmentOperator::And => Self::And,
        }
    }
}

impl From<MatchType> for model::MatchType {
    fn from(match_type: MatchType) -> Self {
        match match_type {
            MatchType::All => Self::All,
            MatchType::Any => Self::Any,
        }
    }
}

impl From<ConstraintType> for model::ConstraintType {
    fn from(constraint_type: ConstraintType) -> Self {
        match constraint_type {
            ConstraintType::String => Self::String,
            ConstraintType::Number => Self::Number,
            ConstraintType::Boolean => Self::Boolean,
            ConstraintType::DateTime => Self::DateTime,
            ConstraintType::EntityId => Self::EntityId,
        }
    }
}
