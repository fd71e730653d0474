//! What a whole flag, segment or namespace must look like before it is written in one step.
//!
//! The fields of a resource are checked by [`crate::validation`]; this names the place in the resource.

use std::{collections::BTreeSet, fmt::Display};

use thiserror::Error;

use crate::{
    Flag, FlagType, MatchType, Namespace, RolloutRule, Rule, Segment, SegmentOperator, validation,
    validation::go_quote,
};

/// Percentages are 32 bits wide: three times 33.34 is a little more than 100.02.
const MAX_SHARE: f32 = 100.05;

/// Why a whole resource is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid field {field}: {reason}")]
pub struct InvalidResource {
    /// Place in the resource, such as `rules[0].distributions[1].variant`.
    pub field: String,
    /// What is wrong there.
    pub reason: String,
}

fn refuse<T>(field: impl Into<String>, reason: impl Display) -> Result<T, InvalidResource> {
    Err(InvalidResource { field: field.into(), reason: reason.to_string() })
}

/// Whether a text can be the key of an environment: 1 to 128 letters, digits, `-`, `_` or `.`, not starting
/// with `.`, because it stands in the names of published objects.
#[must_use]
pub fn is_environment_key(key: &str) -> bool {
    (1..=128).contains(&key.len())
        && !key.starts_with('.')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Checks a namespace without what is in it.
///
/// # Errors
/// [`InvalidResource`].
pub fn check_namespace(namespace: &Namespace) -> Result<(), InvalidResource> {
    check_key(&namespace.key)?;
    check_name(&namespace.name)
}

/// Checks a flag by itself. Whether its segments exist is for the store to say.
///
/// # Errors
/// [`InvalidResource`].
pub fn check_flag(flag: &Flag) -> Result<(), InvalidResource> {
    check_key(&flag.key)?;
    check_name(&flag.name)?;
    if let FlagType::Other(number) = flag.flag_type {
        return refuse("type", format!("unknown flag type {number}"));
    }
    let mut keys = BTreeSet::new();
    for (at, variant) in flag.variants.iter().enumerate() {
        if variant.key.is_empty() {
            return refuse(format!("variants[{at}].key"), "must not be empty");
        }
        if !keys.insert(variant.key.as_str()) {
            return refuse(
                format!("variants[{at}].key"),
                format!("{} is not unique", go_quote(&variant.key)),
            );
        }
        if validation::attachment(&variant.attachment).is_err() {
            return refuse(
                format!("variants[{at}].attachment"),
                format!("must be JSON of at most {} KB", validation::MAX_ATTACHMENT_BYTES / 1024),
            );
        }
    }
    if let Some(default) = &flag.default_variant
        && !keys.contains(default.as_str())
    {
        return refuse("defaultVariant", format!("variant {} not found on the flag", go_quote(default)));
    }
    for (at, rule) in flag.rules.iter().enumerate() {
        check_rule(&format!("rules[{at}]"), rule, &keys)?;
    }
    for (at, rollout) in flag.rollouts.iter().enumerate() {
        let place = format!("rollouts[{at}]");
        match &rollout.rule {
            RolloutRule::None => return refuse(place, "either segment or threshold must be set"),
            RolloutRule::Threshold { percentage, .. } => {
                check_percentage(format!("{place}.threshold.percentage"), *percentage)?;
            }
            RolloutRule::Segment { segments, operator, .. } => {
                check_segments(&format!("{place}.segment"), segments, *operator)?;
            }
        }
    }
    Ok(())
}

/// Checks a segment and gives it as it is stored: operators in lower case, dates in UTC.
///
/// # Errors
/// [`InvalidResource`].
pub fn check_segment(mut segment: Segment) -> Result<Segment, InvalidResource> {
    check_key(&segment.key)?;
    check_name(&segment.name)?;
    if let MatchType::Other(number) = segment.match_type {
        return refuse("matchType", format!("unknown match type {number}"));
    }
    for (at, constraint) in segment.constraints.iter_mut().enumerate() {
        let checked = validation::constraint(
            constraint.constraint_type,
            &constraint.property,
            &constraint.operator,
            &constraint.value,
        );
        match checked {
            Ok(normalised) => {
                (constraint.operator, constraint.value) = (normalised.operator, normalised.value)
            }
            Err(error) => return refuse(format!("constraints[{at}]"), error),
        }
    }
    Ok(segment)
}

fn check_rule(place: &str, rule: &Rule, variants: &BTreeSet<&str>) -> Result<(), InvalidResource> {
    check_segments(place, &rule.segments, rule.operator)?;
    let mut sum = 0.0;
    for (at, distribution) in rule.distributions.iter().enumerate() {
        let place = format!("{place}.distributions[{at}]");
        if !variants.contains(distribution.variant.as_str()) {
            let variant = go_quote(&distribution.variant);
            return refuse(format!("{place}.variant"), format!("variant {variant} not found on the flag"));
        }
        check_percentage(format!("{place}.rollout"), distribution.rollout)?;
        sum += distribution.rollout;
    }
    if sum > MAX_SHARE {
        return refuse(
            format!("{place}.distributions"),
            format!("the shares add up to {sum} %, at most 100 % can be given"),
        );
    }
    Ok(())
}

fn check_segments(place: &str, keys: &[String], operator: SegmentOperator) -> Result<(), InvalidResource> {
    if let SegmentOperator::Other(number) = operator {
        return refuse(format!("{place}.segmentOperator"), format!("unknown segment operator {number}"));
    }
    if keys.is_empty() {
        return refuse(format!("{place}.segments"), "must not be empty");
    }
    let mut known = BTreeSet::new();
    match keys.iter().find(|key| !known.insert(key.as_str())) {
        Some(twice) => refuse(format!("{place}.segments"), format!("{} is named twice", go_quote(twice))),
        None => Ok(()),
    }
}

fn check_percentage(place: String, value: f32) -> Result<(), InvalidResource> {
    if (0.0..=100.0).contains(&value) { Ok(()) } else { refuse(place, "must be within range [0, 100]") }
}

fn check_key(key: &str) -> Result<(), InvalidResource> {
    if key.is_empty() {
        return refuse("key", "must not be empty");
    }
    if validation::is_key(key) { Ok(()) } else { refuse("key", "contains invalid characters") }
}

fn check_name(name: &str) -> Result<(), InvalidResource> {
    if name.is_empty() { refuse("name", "must not be empty") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Constraint, ConstraintType, Distribution, Rollout, Variant};

    fn flag() -> Flag {
        Flag {
            key: "f".into(),
            name: "F".into(),
            variants: ["a", "b"].map(|key| Variant { key: key.into(), ..Variant::default() }).into(),
            default_variant: Some("a".into()),
            rules: vec![Rule {
                rank: 1,
                segments: vec!["s".into()],
                distributions: vec![
                    Distribution { variant: "a".into(), rollout: 33.33 },
                    Distribution { variant: "b".into(), rollout: 66.67 },
                ],
                ..Rule::default()
            }],
            ..Flag::default()
        }
    }

    fn place(change: impl FnOnce(&mut Flag)) -> String {
        let mut flag = flag();
        change(&mut flag);
        check_flag(&flag).unwrap_err().field
    }

    #[test]
    fn a_sound_flag_passes_and_each_fault_is_named_by_its_place() {
        check_flag(&flag()).unwrap();
        assert_eq!(place(|flag| flag.key = "a b".into()), "key");
        assert_eq!(place(|flag| flag.name.clear()), "name");
        assert_eq!(place(|flag| flag.flag_type = FlagType::Other(7)), "type");
        assert_eq!(place(|flag| flag.variants[1].key = "a".into()), "variants[1].key");
        assert_eq!(place(|flag| flag.variants[0].attachment = "{".into()), "variants[0].attachment");
        assert_eq!(place(|flag| flag.default_variant = Some("c".into())), "defaultVariant");
        assert_eq!(place(|flag| flag.rules[0].segments.clear()), "rules[0].segments");
        assert_eq!(place(|flag| flag.rules[0].segments.push("s".into())), "rules[0].segments");
        assert_eq!(
            place(|flag| flag.rules[0].distributions[1].variant = "c".into()),
            "rules[0].distributions[1].variant"
        );
        assert_eq!(
            place(|flag| flag.rules[0].distributions[1].rollout = f32::NAN),
            "rules[0].distributions[1].rollout"
        );
        assert_eq!(place(|flag| flag.rules[0].distributions[1].rollout = 67.0), "rules[0].distributions");
        assert_eq!(place(|flag| flag.rollouts.push(Rollout::default())), "rollouts[0]");
    }

    #[test]
    fn a_segment_is_normalised_as_the_api_does_it() {
        let constraint = Constraint {
            constraint_type: ConstraintType::Boolean,
            property: "p".into(),
            operator: "TRUE".into(),
            value: "x".into(),
            ..Constraint::default()
        };
        let segment = Segment {
            key: "s".into(),
            name: "S".into(),
            constraints: vec![constraint],
            ..Segment::default()
        };
        let stored = check_segment(segment.clone()).unwrap();
        assert_eq!(
            (stored.constraints[0].operator.as_str(), stored.constraints[0].value.as_str()),
            ("true", "")
        );
        let mut wrong = segment;
        wrong.constraints[0].operator = "gt".into();
        let error = check_segment(wrong).unwrap_err().to_string();
        assert!(error.starts_with("invalid field constraints[0]: constraint operator \"gt\""), "{error}");
    }

    #[test]
    fn an_environment_key_can_stand_in_a_path() {
        for key in ["default", "eu.prod-1", "A_b"] {
            assert!(is_environment_key(key), "{key}");
        }
        for key in ["", ".", "..", "a/b", "ä", "a b"] {
            assert!(!is_environment_key(key), "{key}");
        }
    }
}
