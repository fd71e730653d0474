//! Tests of one property, parsed once and ready to run.
//!
//! An operator that the type does not know, and a constraint value that does not parse, compile to
//! [`Test::Never`]: such a constraint never matches, whatever the value under test is (section 4.1).

use std::collections::HashSet;

use ahash::RandomState;
use flipt_model::ConstraintType;

use crate::context::Context;
use crate::datetime::Instant;
use crate::{list, number};

/// A compiled constraint.
#[derive(Debug, PartialEq)]
pub(crate) struct Constraint {
    subject: Subject,
    test: Test,
}

/// Where the value under test comes from.
#[derive(Debug, PartialEq)]
enum Subject {
    Entity,
    Property(Box<str>),
}

/// What must hold for the value under test. Except for the two blank tests, none holds for the empty text,
/// which is what an absent property reads as.
#[derive(Debug, PartialEq)]
enum Test {
    Never,
    Blank,
    NotBlank,
    TextEqual(Box<str>),
    TextNotEqual(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    NotContains(Box<str>),
    TextIn(HashSet<Box<str>, RandomState>),
    TextNotIn(HashSet<Box<str>, RandomState>),
    Number(Comparison, f64),
    NumberIn(Box<[f64]>),
    NumberNotIn(Box<[f64]>),
    Boolean(bool),
    Instant(Comparison, Instant),
}

/// Comparison with the value under test on the left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Constraint {
    pub(crate) fn compile(source: &flipt_model::Constraint) -> Self {
        let (operator, value) = (source.operator.as_str(), source.value.as_str());
        let test = match source.constraint_type {
            ConstraintType::String | ConstraintType::EntityId => compile_text(operator, value),
            ConstraintType::Number => compile_number(operator, value),
            ConstraintType::Boolean => compile_boolean(operator),
            ConstraintType::DateTime => compile_datetime(operator, value),
            // The segment is poisoned and never asks.
            ConstraintType::Unknown | ConstraintType::Other(_) => Some(Test::Never),
        };
        let subject = match source.constraint_type {
            ConstraintType::EntityId => Subject::Entity,
            _ => Subject::Property(source.property.as_str().into()),
        };
        Self { subject, test: test.unwrap_or(Test::Never) }
    }

    /// Whether the constraint matches.
    pub(crate) fn holds<C: Context + ?Sized>(&self, entity: &str, context: &C) -> bool {
        match &self.subject {
            Subject::Entity => self.test.holds(entity),
            Subject::Property(property) => self.test.holds(context.get(property).unwrap_or_default()),
        }
    }
}

fn compile_text(operator: &str, value: &str) -> Option<Test> {
    Some(match operator {
        "empty" => Test::Blank,
        "notempty" => Test::NotBlank,
        "eq" => Test::TextEqual(value.into()),
        "neq" => Test::TextNotEqual(value.into()),
        "prefix" => Test::Prefix(value.into()),
        "suffix" => Test::Suffix(value.into()),
        "contains" => Test::Contains(value.into()),
        "notcontains" => Test::NotContains(value.into()),
        "isoneof" => Test::TextIn(list::texts(value)?),
        "isnotoneof" => Test::TextNotIn(list::texts(value)?),
        _ => return None,
    })
}

fn compile_number(operator: &str, value: &str) -> Option<Test> {
    Some(match operator {
        "notpresent" => Test::Blank,
        "present" => Test::NotBlank,
        "isoneof" => Test::NumberIn(list::numbers(value)?),
        "isnotoneof" => Test::NumberNotIn(list::numbers(value)?),
        _ => Test::Number(comparison(operator)?, number::parse(value)?),
    })
}

fn compile_boolean(operator: &str) -> Option<Test> {
    Some(match operator {
        "notpresent" => Test::Blank,
        "present" => Test::NotBlank,
        "true" => Test::Boolean(true),
        "false" => Test::Boolean(false),
        _ => return None,
    })
}

fn compile_datetime(operator: &str, value: &str) -> Option<Test> {
    Some(match operator {
        "notpresent" => Test::Blank,
        "present" => Test::NotBlank,
        _ => Test::Instant(comparison(operator)?, Instant::parse(value)?),
    })
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "eq" => Comparison::Equal,
        "neq" => Comparison::NotEqual,
        "lt" => Comparison::Less,
        "lte" => Comparison::LessOrEqual,
        "gt" => Comparison::Greater,
        "gte" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Blank => value.trim().is_empty(),
            Self::NotBlank => !value.trim().is_empty(),
            // Absent is not different from anything: this stands before the negative tests on purpose.
            _ if value.is_empty() => false,
            Self::Never => false,
            Self::TextEqual(text) => value == text.as_ref(),
            Self::TextNotEqual(text) => value != text.as_ref(),
            // Only these two trim the value, and neither trims the constraint's.
            Self::Prefix(text) => value.trim().starts_with(text.as_ref()),
            Self::Suffix(text) => value.trim().ends_with(text.as_ref()),
            Self::Contains(text) => value.contains(text.as_ref()),
            Self::NotContains(text) => !value.contains(text.as_ref()),
            Self::TextIn(texts) => texts.contains(value),
            Self::TextNotIn(texts) => !texts.contains(value),
            Self::Number(comparison, right) => {
                number::parse(value).is_some_and(|left| comparison.holds(left, *right))
            }
            Self::NumberIn(numbers) => number::parse(value).is_some_and(|n| list::has_number(numbers, n)),
            Self::NumberNotIn(numbers) => {
                number::parse(value).is_some_and(|number| !list::has_number(numbers, number))
            }
            Self::Boolean(wanted) => parse_boolean(value) == Some(*wanted),
            Self::Instant(comparison, right) => {
                Instant::parse(value).is_some_and(|left| comparison.holds(left, *right))
            }
        }
    }
}

fn parse_boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
