//! Every operator of every type, both ways: one value that matches and one that does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeSet, HashMap};

use flipt_model::ConstraintType;
use support::{constraint, matches};

/// Type, operators, and for each a constraint value with values under test: those that match, those that do not.
type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const TEXT: &[Case] = &[
    ("eq", "bar", &["bar"], &["", "Bar", " bar", "ba", "barr"]),
    ("neq", "bar", &["Bar", " bar", " "], &["", "bar"]),
    ("empty", "", &["", " ", "\t\n", "\u{a0}", "\u{3000}"], &["x", " x ", "\u{200b}", "\u{feff}"]),
    ("notempty", "", &["x", " x ", "\u{200b}"], &["", " ", "\u{2003}"]),
    ("prefix", "ba", &["bar", "  bar", "ba"], &["", "b", "aba", "Bar"]),
    ("suffix", "ar", &["bar", "bar  ", "ar"], &["", "r", "ara", "baR"]),
    ("contains", "oba", &["foobar", "oba"], &["", "foOBar", "ob"]),
    ("contains", " ", &["a b", " a"], &["", "ab"]),
    ("notcontains", "oba", &["foOBar", "ob"], &["", "foobar", "oba"]),
    ("isoneof", r#"["a", "b\u0063", " d"]"#, &["a", "bc", " d"], &["", "b", "d", "A"]),
    ("isnotoneof", r#"["a", "b\u0063"]"#, &["b", "A", " a"], &["", "a", "bc"]),
    ("isoneof", r#"[""]"#, &[], &["", " ", "a"]),
];

const NUMBER: &[Case] = &[
    ("eq", "42", &["42", "4.2e1", "0x2Ap0", "4_2"], &["", "43", "x", " 42", "NaN"]),
    ("neq", "42", &["43", "-42", "NaN"], &["", "42", "42.0", "x"]),
    ("lt", "42", &["41.9", "-inf"], &["", "42", "43", "inf", "x", "NaN"]),
    ("lte", "42", &["41", "42.0"], &["", "42.1", "x", "NaN"]),
    ("gt", "42", &["42.1", "inf"], &["", "42", "41", "x", "NaN"]),
    ("gte", "42", &["42", "43"], &["", "41.9", "x", "NaN"]),
    ("present", "", &["1", "abc"], &["", " "]),
    ("notpresent", "", &["", " "], &["1", "abc"]),
    ("isoneof", "[1, 2.5, -0.0]", &["1", "2.50", "0", "-0"], &["", "2", "x", "NaN"]),
    ("isnotoneof", "[1, 2.5]", &["2", "NaN", "inf"], &["", "1", "2.5", "x"]),
    ("isoneof", "[]", &[], &["", "0"]),
    ("isnotoneof", "[]", &["0"], &["", "x"]),
    ("eq", "x", &[], &["", "x", "0"]),
    ("neq", "x", &[], &["", "x", "0"]),
];

const BOOLEAN: &[Case] = &[
    (
        "true",
        "",
        &["1", "t", "T", "TRUE", "true", "True"],
        &["", "0", "f", "F", "FALSE", "false", "False", "tRUE", "yes", " true", "on"],
    ),
    (
        "false",
        "",
        &["0", "f", "F", "FALSE", "false", "False"],
        &["", "1", "t", "T", "TRUE", "true", "True", "fALSE", "no", "false ", "off"],
    ),
    // The constraint's value is not looked at.
    ("true", "false", &["true"], &["false"]),
    ("present", "", &["false", "garbage"], &["", " "]),
    ("notpresent", "", &["", " "], &["false", "garbage"]),
];

const DATETIME: &[Case] = &[
    (
        "eq",
        "2024-05-06T07:08:09Z",
        &["2024-05-06T07:08:09Z", "2024-05-06T09:08:09+02:00"],
        &["", "2024-05-06T07:08:09.1Z", "2024-05-06", "now"],
    ),
    ("eq", "2024-05-06", &["2024-05-06", "2024-05-06T00:00:00Z"], &["2024-05-07"]),
    ("neq", "2024-05-06", &["2024-05-07", "2024-05-06T00:00:01Z"], &["", "2024-05-06", "now"]),
    ("lt", "2024-05-06", &["2024-05-05T23:59:59.999999999Z"], &["", "2024-05-06", "2024-05-07", "now"]),
    ("lte", "2024-05-06", &["2024-05-05", "2024-05-06"], &["", "2024-05-06T00:00:00.000000001Z", "now"]),
    ("gt", "2024-05-06", &["2024-05-06T00:00:00.000000001Z"], &["", "2024-05-06", "2024-05-05", "now"]),
    ("gte", "2024-05-06", &["2024-05-06", "2024-05-07"], &["", "2024-05-05T23:59:59Z", "now"]),
    ("present", "", &["2024-05-06", "now"], &["", " "]),
    ("notpresent", "", &["", " "], &["2024-05-06", "now"]),
    ("neq", "now", &[], &["", "2024-05-06", "now"]),
];

fn groups() -> [(ConstraintType, &'static [Case]); 5] {
    [
        (ConstraintType::String, TEXT),
        (ConstraintType::EntityId, TEXT),
        (ConstraintType::Number, NUMBER),
        (ConstraintType::Boolean, BOOLEAN),
        (ConstraintType::DateTime, DATETIME),
    ]
}

fn holds(constraint_type: ConstraintType, operator: &str, constant: &str, value: &str) -> bool {
    let constraint = constraint(constraint_type, "property", operator, constant);
    match constraint_type {
        ConstraintType::EntityId => matches(constraint, value, &HashMap::new()),
        _ => {
            let context = HashMap::from([("property".to_owned(), value.to_owned())]);
            let holds = matches(constraint.clone(), "entity", &context);
            if value.is_empty() {
                // Absent is the same as empty.
                assert_eq!(matches(constraint, "entity", &HashMap::new()), holds);
            }
            holds
        }
    }
}

#[test]
fn every_operator_matches_what_it_should_and_nothing_else() {
    for (constraint_type, cases) in groups() {
        for (operator, constant, matching, others) in cases {
            for value in *matching {
                assert!(
                    holds(constraint_type, operator, constant, value),
                    "{constraint_type} {operator} {constant:?} must match {value:?}"
                );
            }
            for value in *others {
                assert!(
                    !holds(constraint_type, operator, constant, value),
                    "{constraint_type} {operator} {constant:?} must not match {value:?}"
                );
            }
        }
    }
}

const ORDER: [&str; 6] = ["eq", "neq", "lt", "lte", "gt", "gte"];

fn operators(constraint_type: ConstraintType) -> BTreeSet<&'static str> {
    match constraint_type {
        ConstraintType::String | ConstraintType::EntityId => BTreeSet::from([
            "eq",
            "neq",
            "empty",
            "notempty",
            "prefix",
            "suffix",
            "contains",
            "notcontains",
            "isoneof",
            "isnotoneof",
        ]),
        ConstraintType::Number => {
            ORDER.into_iter().chain(["present", "notpresent", "isoneof", "isnotoneof"]).collect()
        }
        ConstraintType::DateTime => ORDER.into_iter().chain(["present", "notpresent"]).collect(),
        ConstraintType::Boolean => BTreeSet::from(["true", "false", "present", "notpresent"]),
        ConstraintType::Unknown | ConstraintType::Other(_) => BTreeSet::new(),
    }
}

#[test]
fn no_operator_is_left_out_here() {
    for (constraint_type, cases) in groups() {
        let covered = |both: &dyn Fn(&Case) -> bool| -> BTreeSet<&str> {
            cases.iter().filter(|case| both(case)).map(|case| case.0).collect()
        };
        assert_eq!(covered(&|case| !case.2.is_empty()), operators(constraint_type), "{constraint_type}");
        assert_eq!(covered(&|case| !case.3.is_empty()), operators(constraint_type), "{constraint_type}");
    }
}

#[test]
fn an_operator_of_another_type_never_matches() {
    let all: BTreeSet<&str> =
        groups().iter().flat_map(|(constraint_type, _)| operators(*constraint_type)).collect();
    let unknown = ["", "EQ", "Eq", "le", "ge", "foo", " eq"];
    for (constraint_type, _) in groups() {
        for operator in all.difference(&operators(constraint_type)).chain(&unknown) {
            for value in ["", "1", "true", "2024-05-06", "a"] {
                for constant in [value, "", "[]", "[\"a\"]"] {
                    assert!(
                        !holds(constraint_type, operator, constant, value),
                        "{constraint_type} {operator} {constant:?} {value:?}"
                    );
                }
            }
        }
    }
}
