//! What is written reads back equal, and no input makes a reader panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use flipt_model::document::{Encoding, read_import, write};
use flipt_model::validation::{canonical_json, compact_json};
use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Namespace, Rollout, RolloutRule,
    Rule, Segment, SegmentOperator, Variant,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// Texts made of what readers and writers of YAML trip over.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9]{1,6}",
        3 => prop::sample::select(vec![
            " ", "  ", "\n", "\n\n", "\t", "\r", "\r\n", ":", ": ", " #", "#", "-", "- ", "?", "? ", "'", "\"", "\\",
            "|", ">", "{", "}", "[", "]", ",", "&", "*", "!", "%", "@", "`", "~", "null", "true", "yes", "No", "1",
            "1.0", "0x1F", "1_000", "1:30", "2006-01-02", "---", "...", "--- ", "<<", "=", "\u{0}", "\u{7}", "\u{b}",
            "\u{1b}", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{fffd}", "\u{ffff}", "é",
            "漢", "😀", "e\u{301}", "word word word word word word word word word word word word word word word word",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn full_text() -> impl Strategy<Value = String> {
    text().prop_filter("not empty", |text| !text.is_empty())
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-1_000_000_i64..1_000_000).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite, not whole", |number| {
            (number.is_finite() && number.fract() != 0.0).then(|| Value::from(number))
        }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn variant(key: String) -> impl Strategy<Value = Variant> {
    (text(), text(), prop::option::of(value().prop_filter("not null", |value| !value.is_null()))).prop_map(
        move |(name, description, attachment)| Variant {
            key: key.clone(),
            name,
            description,
            attachment: attachment.map(|value| canonical_json(&value)).unwrap_or_default(),
        },
    )
}

fn percentage() -> impl Strategy<Value = f32> {
    prop_oneof![(0_u16..=10_000).prop_map(|hundredths| f32::from(hundredths) / 100.0), 0.0_f32..100.0]
}

fn segments() -> impl Strategy<Value = (Vec<String>, SegmentOperator)> {
    (prop::collection::btree_set(full_text(), 1..4), any::<bool>()).prop_map(|(keys, and)| {
        let operator = if and && keys.len() > 1 { SegmentOperator::And } else { SegmentOperator::Or };
        (keys.into_iter().collect(), operator)
    })
}

fn rule(variants: Vec<String>) -> impl Strategy<Value = Rule> {
    let distributions = if variants.is_empty() {
        Just(Vec::new()).boxed()
    } else {
        vec((prop::sample::select(variants), percentage()), 0..3).boxed()
    };
    (segments(), distributions).prop_map(|((segments, operator), distributions)| Rule {
        rank: 0,
        segments,
        operator,
        distributions: distributions
            .into_iter()
            .map(|(variant, rollout)| Distribution { variant, rollout })
            .collect(),
    })
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let rule = prop_oneof![
        (percentage(), any::<bool>())
            .prop_map(|(percentage, value)| RolloutRule::Threshold { percentage, value }),
        (segments(), any::<bool>()).prop_map(|((segments, operator), value)| RolloutRule::Segment {
            segments,
            operator,
            value
        }),
    ];
    (text(), rule).prop_map(|(description, rule)| Rollout { rank: 0, description, rule })
}

fn flag() -> impl Strategy<Value = Flag> {
    prop::collection::btree_set(full_text(), 0..3).prop_flat_map(|keys| {
        let keys: Vec<String> = keys.into_iter().collect();
        let variants: Vec<_> = keys.iter().map(|key| variant(key.clone()).boxed()).collect();
        let default = prop::option::of(any::<prop::sample::Index>());
        let metadata = prop::collection::btree_map(text(), value(), 0..4);
        (
            (text(), text(), text(), any::<bool>(), any::<bool>()),
            variants,
            default,
            metadata,
            vec(rule(keys.clone()), 0..3),
            vec(rollout(), 0..3),
        )
            .prop_map(move |(texts, variants, default, metadata, mut rules, mut rollouts)| {
                let (key, name, description, enabled, boolean) = texts;
                (1..).zip(&mut rules).for_each(|(rank, rule)| rule.rank = rank);
                (1..).zip(&mut rollouts).for_each(|(rank, rollout)| rollout.rank = rank);
                Flag {
                    key,
                    name,
                    description,
                    flag_type: if boolean { FlagType::Boolean } else { FlagType::Variant },
                    enabled,
                    metadata: metadata.into_iter().collect::<BTreeMap<_, _>>(),
                    default_variant: default.filter(|_| !keys.is_empty()).map(|at| at.get(&keys).clone()),
                    variants,
                    rules,
                    rollouts,
                }
            })
    })
}

fn constraint() -> impl Strategy<Value = Constraint> {
    (
        prop::sample::select(ConstraintType::ALL.to_vec()),
        text(),
        prop::sample::select(vec!["eq", "isoneof", "true", "present", ""]),
        text(),
        text(),
    )
        .prop_map(|(constraint_type, property, operator, value, description)| Constraint {
            constraint_type,
            property,
            operator: operator.to_owned(),
            value: if matches!(operator, "true" | "present") { String::new() } else { value },
            description,
        })
}

fn segment() -> impl Strategy<Value = Segment> {
    (text(), text(), text(), any::<bool>(), vec(constraint(), 0..3)).prop_map(
        |(key, name, description, any, constraints)| Segment {
            key,
            name,
            description,
            match_type: if any { MatchType::Any } else { MatchType::All },
            constraints,
        },
    )
}

fn namespace() -> impl Strategy<Value = Namespace> {
    (text(), text(), text(), vec(flag(), 0..3), vec(segment(), 0..3)).prop_map(
        |(key, name, description, flags, segments)| Namespace { key, name, description, flags, segments },
    )
}

fn read_back(namespaces: &[Namespace], encoding: Encoding) -> Vec<Namespace> {
    let written = write(namespaces, encoding);
    assert_eq!(written.warnings, Vec::<String>::new());
    let documents = read_import(written.text.as_bytes(), encoding)
        .unwrap_or_else(|error| panic!("{error} at {:?}\n{}", error.place(), written.text));
    documents
        .into_iter()
        .map(|document| {
            let named = document.namespace.unwrap_or_default();
            Namespace {
                key: named.key,
                name: named.name,
                description: named.description,
                flags: document.flags,
                segments: document.segments,
            }
        })
        .collect()
}

/// One flag with a text in every position a text can have.
fn surrounded(text: &str) -> Namespace {
    let nested = serde_json::json!([text, {text: [text, [text]]}]);
    Namespace {
        key: "k".into(),
        flags: vec![Flag {
            key: "f".into(),
            description: text.to_owned(),
            metadata: BTreeMap::from([(text.to_owned(), nested.clone())]),
            variants: vec![Variant {
                key: "v".into(),
                attachment: canonical_json(&nested),
                ..Variant::default()
            }],
            ..Flag::default()
        }],
        ..Namespace::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_text_reads_back_from_yaml(text in text()) {
        let namespaces = [surrounded(&text)];
        prop_assert_eq!(read_back(&namespaces, Encoding::Yaml), namespaces);
    }

    #[test]
    fn every_text_reads_back_from_json(text in text()) {
        let namespaces = [surrounded(&text)];
        prop_assert_eq!(read_back(&namespaces, Encoding::Json), namespaces);
    }

    #[test]
    fn every_state_reads_back(namespaces in vec(namespace(), 0..3)) {
        prop_assert_eq!(read_back(&namespaces, Encoding::Yaml), namespaces.clone());
        prop_assert_eq!(read_back(&namespaces, Encoding::Json), namespaces);
    }

    #[test]
    fn canonical_json_is_compact_and_means_the_same(value in value()) {
        let text = canonical_json(&value);
        prop_assert_eq!(compact_json(&text), Some(text.clone()));
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
