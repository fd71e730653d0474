//! What a request must look like, and the exact sentence a client gets when it does not.
//!
//! Every caller (API, remote import, admission webhook) asks these functions, in the order in which the API
//! checks its fields; the first failure is the answer.

use thiserror::Error;

use crate::{ConstraintType, time};

pub use crate::json::{canonical_json, compact_json};
pub use crate::quote::go_quote;

/// Most bytes an attachment may have.
pub const MAX_ATTACHMENT_BYTES: usize = 1000 * 1024;

/// Most items a list in a constraint may have.
pub const MAX_CONSTRAINT_ITEMS: usize = 100;

/// Operators that take no value; a value given with them is not kept.
pub const VALUELESS_OPERATORS: [&str; 6] = ["true", "false", "empty", "notempty", "present", "notpresent"];

/// Why a request is refused; the text is the API's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValidationError {
    /// A field's value is refused.
    #[error("invalid field {field}: {reason}")]
    Field {
        /// The field, spelled as in JSON.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An offset or page token came without a limit.
    #[error("limit must be set when offset or pageToken is set")]
    LimitMissing,
    /// The constraint has no type, or one that does not exist.
    #[error("invalid constraint type: {}", go_quote(name))]
    ConstraintType {
        /// Name of the type, or its number.
        name: String,
    },
    /// The constraint's type does not know the operator.
    #[error("constraint operator {} is not valid for type {kind}", go_quote(operator))]
    Operator {
        /// The operator as sent.
        operator: String,
        /// The type, as messages name it.
        kind: &'static str,
    },
    /// A constraint on the entity id names another property.
    #[error("property is {property} instead of \"entityId\"")]
    EntityIdProperty {
        /// The property as sent.
        property: String,
    },
    /// The value of a date-time constraint is no date and no time.
    #[error("parsing datetime from {}", go_quote(value))]
    DateTime {
        /// The value as sent.
        value: String,
    },
    /// The value of a list operator is not a list of the right kind.
    #[error("invalid value provided for property {} of type {kind}", go_quote(property))]
    List {
        /// The constraint's property.
        property: String,
        /// The type, as messages name it.
        kind: &'static str,
    },
    /// The value of a list operator has too many items.
    #[error(
        "too many values provided for property {} of type {kind} (maximum {MAX_CONSTRAINT_ITEMS})",
        go_quote(property)
    )]
    ListLength {
        /// The constraint's property.
        property: String,
        /// The type, as messages name it.
        kind: &'static str,
    },
}

fn field(field: &str, reason: &'static str) -> ValidationError {
    ValidationError::Field { field: field.to_owned(), reason }
}

/// Refuses an empty value.
///
/// # Errors
/// `invalid field <name>: must not be empty`
pub fn not_empty(name: &str, value: &str) -> Result<(), ValidationError> {
    if value.is_empty() { Err(field(name, "must not be empty")) } else { Ok(()) }
}

/// Checks the key of a new namespace, flag or segment: letters, digits, hyphen, underscore, comma.
///
/// # Errors
/// The field `key` is empty or contains invalid characters.
pub fn key(value: &str) -> Result<(), ValidationError> {
    not_empty("key", value)?;
    if is_key(value) { Ok(()) } else { Err(field("key", "contains invalid characters")) }
}

/// Whether the text has at least one character and only those of keys.
#[must_use]
pub fn is_key(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b','))
}

/// Checks an attachment: empty, or any JSON value of at most [`MAX_ATTACHMENT_BYTES`].
///
/// # Errors
/// The field `attachment` is not JSON, or too long.
pub fn attachment(value: &str) -> Result<(), ValidationError> {
    if value.is_empty() {
        return Ok(());
    }
    if compact_json(value).is_none() {
        return Err(field("attachment", "must be a json string"));
    }
    if value.len() > MAX_ATTACHMENT_BYTES {
        return Err(field("attachment", "must be less than 1000 KB"));
    }
    Ok(())
}

/// Checks the share of a distribution: 0 to 100. What is not a number is refused as too small; the reference
/// lets it through, into a database that cannot hold it.
///
/// # Errors
/// The field `rollout` is out of range.
pub fn rollout(value: f32) -> Result<(), ValidationError> {
    if value.is_nan() || value < 0.0 {
        return Err(field("rollout", "must be greater than or equal to '0'"));
    }
    if value > 100.0 {
        return Err(field("rollout", "must be less than or equal to '100'"));
    }
    Ok(())
}

/// Checks the percentage of a threshold rollout: 0 to 100.
///
/// # Errors
/// The field `threshold.percentage` is out of range, or not a number.
pub fn threshold_percentage(value: f32) -> Result<(), ValidationError> {
    if (0.0..=100.0).contains(&value) {
        Ok(())
    } else {
        Err(field("threshold.percentage", "must be within range [0, 100]"))
    }
}

/// Checks the segments of a rule or rollout: one key or a list of keys, not both.
///
/// # Errors
/// Neither is given, or both are.
pub fn segment_keys(segment_key: &str, segment_keys: &[String]) -> Result<(), ValidationError> {
    match (segment_key.is_empty(), segment_keys.is_empty()) {
        (true, true) => Err(field("segmentKey or segmentKeys", "must not be empty")),
        (false, false) => Err(field("segmentKey or segmentKeys", "only one can be present")),
        _ => Ok(()),
    }
}

/// Checks the rank of a new rule.
///
/// # Errors
/// The field `rank` is not greater than 0.
pub fn rank(value: i32) -> Result<(), ValidationError> {
    if value > 0 { Ok(()) } else { Err(field("rank", "must be greater than 0")) }
}

/// Checks the ids of a new order, in the field `ruleIds` or `rolloutIds`.
///
/// # Errors
/// There are less than two.
pub fn order_ids(name: &str, ids: &[String]) -> Result<(), ValidationError> {
    if ids.len() < 2 { Err(field(name, "must contain atleast 2 elements")) } else { Ok(()) }
}

/// Checks which part of a list is asked for.
///
/// # Errors
/// An offset or a page token is given without a limit.
pub fn paging(limit: i32, offset: i32, page_token: &str) -> Result<(), ValidationError> {
    if limit == 0 && (offset > 0 || !page_token.is_empty()) {
        return Err(ValidationError::LimitMissing);
    }
    Ok(())
}

/// A constraint's operator and value in the form in which they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalisedConstraint {
    /// Lower case.
    pub operator: String,
    /// Empty for [`VALUELESS_OPERATORS`]; instants in UTC without fraction.
    pub value: String,
}

/// Checks a constraint, and puts it into the form in which it is stored.
///
/// # Errors
/// In this order: empty `property`, empty `operator`, entity id with another property, operator unknown to the
/// type, no such type, missing value, value that is no date-time, value that is not the right kind of list.
pub fn constraint(
    constraint_type: ConstraintType,
    property: &str,
    operator: &str,
    value: &str,
) -> Result<NormalisedConstraint, ValidationError> {
    not_empty("property", property)?;
    not_empty("operator", operator)?;
    if constraint_type == ConstraintType::EntityId && property != "entityId" {
        return Err(ValidationError::EntityIdProperty { property: property.to_owned() });
    }
    let (kind, operators) = match constraint_type {
        ConstraintType::String => ("string", STRING_OPERATORS),
        ConstraintType::Number => ("number", ORDERED_OPERATORS),
        ConstraintType::Boolean => ("boolean", BOOLEAN_OPERATORS),
        ConstraintType::DateTime => ("datetime", ORDERED_OPERATORS),
        ConstraintType::EntityId => ("entityId", ENTITY_ID_OPERATORS),
        ConstraintType::Unknown | ConstraintType::Other(_) => {
            return Err(ValidationError::ConstraintType { name: constraint_type.to_string() });
        }
    };
    let lower = operator.to_lowercase();
    if !operators.contains(&lower.as_str()) {
        return Err(ValidationError::Operator { operator: operator.to_owned(), kind });
    }
    let valueless = is_valueless(&lower);
    if value.is_empty() && !valueless {
        return Err(field("value", "must not be empty"));
    }
    let mut kept = value.to_owned();
    if !value.is_empty() {
        if constraint_type == ConstraintType::DateTime {
            kept = date_time(value)?;
        } else if matches!(lower.as_str(), "isoneof" | "isnotoneof") {
            list(constraint_type, kind, property, value)?;
        }
    }
    Ok(NormalisedConstraint { operator: lower, value: if valueless { String::new() } else { kept } })
}

/// Whether the operator (in lower case) takes no value.
#[must_use]
pub fn is_valueless(operator: &str) -> bool {
    VALUELESS_OPERATORS.contains(&operator)
}

const STRING_OPERATORS: &[&str] = &[
    "eq",
    "neq",
    "empty",
    "notempty",
    "prefix",
    "suffix",
    "isoneof",
    "isnotoneof",
    "contains",
    "notcontains",
];
const ORDERED_OPERATORS: &[&str] =
    &["eq", "neq", "lt", "lte", "gt", "gte", "present", "notpresent", "isoneof", "isnotoneof"];
const BOOLEAN_OPERATORS: &[&str] = &["true", "false", "present", "notpresent"];
const ENTITY_ID_OPERATORS: &[&str] = &["eq", "neq", "isoneof", "isnotoneof", "contains", "notcontains"];

fn date_time(value: &str) -> Result<String, ValidationError> {
    if let Some(instant) = time::parse_instant(value) {
        return Ok(instant.to_string());
    }
    if time::parse_date(value).is_some() {
        return Ok(value.to_owned());
    }
    Err(ValidationError::DateTime { value: value.to_owned() })
}

fn list(
    constraint_type: ConstraintType,
    kind: &'static str,
    property: &str,
    value: &str,
) -> Result<(), ValidationError> {
    // `null` reads as an empty list and as an item of any kind, as it does for the reference.
    let length = if constraint_type == ConstraintType::Number {
        serde_json::from_str::<Option<Vec<Option<f64>>>>(value)
            .map(|items| items.map_or(0, |items| items.len()))
    } else {
        serde_json::from_str::<Option<Vec<Option<String>>>>(value)
            .map(|items| items.map_or(0, |items| items.len()))
    };
    match length {
        Err(_) => Err(ValidationError::List { property: property.to_owned(), kind }),
        Ok(length) if length > MAX_CONSTRAINT_ITEMS => {
            Err(ValidationError::ListLength { property: property.to_owned(), kind })
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn text<T: std::fmt::Debug>(result: Result<T, ValidationError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn required_fields_are_named() {
        assert_eq!(text(not_empty("flagKey", "")), "invalid field flagKey: must not be empty");
        assert_eq!(not_empty("flagKey", " "), Ok(()));
    }

    #[test]
    fn keys_have_a_charset() {
        assert_eq!(key("a,b_C-1"), Ok(()));
        assert_eq!(text(key("")), "invalid field key: must not be empty");
        for bad in ["a b", "a/b", "ä", "a\n", "a.b", "a\0"] {
            assert_eq!(text(key(bad)), "invalid field key: contains invalid characters");
        }
    }

    #[test]
    fn attachments_are_json_of_limited_size() {
        for good in ["", "1", "null", "\"x\"", " {\"a\": [1]} "] {
            assert_eq!(attachment(good), Ok(()));
        }
        for bad in ["x", "{", "{a: 1}", " "] {
            assert_eq!(text(attachment(bad)), "invalid field attachment: must be a json string");
        }
        let long = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        assert_eq!(attachment(&long(MAX_ATTACHMENT_BYTES)), Ok(()));
        assert_eq!(
            text(attachment(&long(MAX_ATTACHMENT_BYTES + 1))),
            "invalid field attachment: must be less than 1000 KB"
        );
    }

    #[test]
    fn shares_are_0_to_100_and_numbers() {
        assert_eq!((rollout(0.0), rollout(100.0), rollout(33.33)), (Ok(()), Ok(()), Ok(())));
        for bad in [-0.1, f32::NAN, f32::NEG_INFINITY] {
            assert_eq!(text(rollout(bad)), "invalid field rollout: must be greater than or equal to '0'");
        }
        for bad in [100.1, f32::INFINITY] {
            assert_eq!(text(rollout(bad)), "invalid field rollout: must be less than or equal to '100'");
        }
        assert_eq!(threshold_percentage(50.0), Ok(()));
        for bad in [-1.0, 100.5, f32::NAN] {
            assert_eq!(
                text(threshold_percentage(bad)),
                "invalid field threshold.percentage: must be within range [0, 100]"
            );
        }
    }

    #[test]
    fn segments_come_as_one_key_or_as_a_list() {
        let list = ["a".to_owned()];
        assert_eq!((segment_keys("a", &[]), segment_keys("", &list)), (Ok(()), Ok(())));
        assert_eq!(text(segment_keys("", &[])), "invalid field segmentKey or segmentKeys: must not be empty");
        assert_eq!(
            text(segment_keys("a", &list)),
            "invalid field segmentKey or segmentKeys: only one can be present"
        );
    }

    #[test]
    fn ranks_start_at_1() {
        assert_eq!(rank(1), Ok(()));
        for bad in [0, -1] {
            assert_eq!(text(rank(bad)), "invalid field rank: must be greater than 0");
        }
    }

    #[test]
    fn an_order_names_at_least_two() {
        let ids = ["a".to_owned(), "b".to_owned()];
        assert_eq!(order_ids("ruleIds", &ids), Ok(()));
        assert_eq!(
            text(order_ids("rolloutIds", &ids[..1])),
            "invalid field rolloutIds: must contain atleast 2 elements"
        );
    }

    #[test]
    fn paging_needs_a_limit() {
        for (limit, offset, token) in [(0, 0, ""), (1, 1, "x"), (0, -1, "")] {
            assert_eq!(paging(limit, offset, token), Ok(()));
        }
        for (offset, token) in [(1, ""), (0, "x")] {
            assert_eq!(text(paging(0, offset, token)), "limit must be set when offset or pageToken is set");
        }
    }

    /// Replays every constraint the reference was given over its API.
    #[test]
    fn recorded_constraints_are_answered_word_for_word() {
        let mut seen = 0;
        for recorded in [
            include_str!("../tests/data/constraints/validation.json"),
            include_str!("../tests/data/constraints/values.json"),
            include_str!("../tests/data/constraints/operators.json"),
        ] {
            for case in serde_json::from_str::<Vec<Value>>(recorded).unwrap() {
                let sent = |name: &str| case["request"][name].as_str().unwrap_or_default();
                let number = case["request"]["type"].as_i64().map(|number| i32::try_from(number).unwrap());
                let kind = number.map_or_else(
                    || ConstraintType::from_name(sent("type")).unwrap_or_default(),
                    ConstraintType::from_number,
                );
                let answer = constraint(kind, sent("property"), sent("operator"), sent("value"));
                match case["message"].as_str() {
                    Some(message) => assert_eq!(text(answer), message, "{case}"),
                    None => {
                        let kept = answer.unwrap_or_else(|error| panic!("{case}: {error}"));
                        assert_eq!(kept.operator, case["kept"]["operator"].as_str().unwrap(), "{case}");
                        assert_eq!(kept.value, case["kept"]["value"].as_str().unwrap(), "{case}");
                    }
                }
                seen += 1;
            }
        }
        assert!(seen > 200, "{seen}");
    }
}
