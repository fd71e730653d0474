//! What holds for any flags, not only for those that somebody thought of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use flipt_evaluation::Snapshot;
use flipt_model::{
    Constraint, ConstraintType, Flag, FlagType, MatchType, Namespace, Segment, SegmentOperator,
};
use proptest::prelude::*;
use proptest::sample::select;
use support::*;

const ENTITIES: usize = 100_000;

#[test]
fn each_variant_gets_its_share_of_the_entities() {
    for (flag, shares) in [
        ("checkout", vec![50.0_f32, 50.0]),
        ("colours", vec![10.0, 20.0, 30.0, 40.0]),
        ("thirds", vec![33.33, 33.33, 33.34]),
        ("rare", vec![0.1, 1.0, 98.9]),
    ] {
        let keys: Vec<String> = (0..shares.len()).map(|index| index.to_string()).collect();
        let distributions: Vec<(&str, f32)> =
            keys.iter().map(String::as_str).zip(shares.iter().copied()).collect();
        let snapshot =
            snapshot(vec![variant_flag(flag, vec![rule(&["all"], &distributions)])], vec![everybody("all")]);
        let mut counts: HashMap<String, u32> = HashMap::new();
        for number in 0..ENTITIES {
            let entity = format!("entity-{number}");
            let result = snapshot.variant(&request(flag, &entity, &())).unwrap();
            *counts.entry(result.variant.to_owned()).or_default() += 1;
        }
        for (key, share) in distributions {
            let count = f64::from(counts.get(key).copied().unwrap_or_default());
            let (expected, deviation) = binomial(f64::from(share) / 100.0);
            // Besides chance, a truncated width takes away up to one bucket in a thousand.
            let bound = 5.0 * deviation + ENTITIES as f64 / 1000.0;
            assert!((count - expected).abs() < bound, "{flag}: {key} {count} of {expected} ± {bound}");
        }
    }
}

#[test]
fn a_threshold_takes_its_share_of_the_entities() {
    for percentage in [1.0_f32, 25.0, 50.0, 99.0] {
        let snapshot = snapshot(vec![boolean_flag("flag", false, vec![threshold(percentage, true)])], vec![]);
        let taken = (0..ENTITIES)
            .filter(|number| {
                snapshot.boolean(&request("flag", &format!("entity-{number}"), &())).unwrap().enabled
            })
            .count();
        let (expected, deviation) = binomial(f64::from(percentage) / 100.0);
        assert!((taken as f64 - expected).abs() < 5.0 * deviation, "{percentage}: {taken} of {expected}");
    }
}

/// Expected number of entities, and its standard deviation.
fn binomial(share: f64) -> (f64, f64) {
    let expected = ENTITIES as f64 * share;
    (expected, (expected * (1.0 - share)).sqrt())
}

fn keys() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c", "d", "e"]).prop_map(str::to_owned)
}

fn segment_keys() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(keys(), 0..4)
}

fn segment_operators() -> impl Strategy<Value = SegmentOperator> {
    (0..3).prop_map(SegmentOperator::from_number)
}

fn constraints() -> impl Strategy<Value = Constraint> {
    let operators = select(vec![
        "eq",
        "neq",
        "lt",
        "lte",
        "gt",
        "gte",
        "empty",
        "notempty",
        "true",
        "false",
        "present",
        "notpresent",
        "prefix",
        "suffix",
        "isoneof",
        "isnotoneof",
        "contains",
        "notcontains",
        "le",
    ]);
    // Type 0 is rare, so that most evaluations get past it.
    (
        prop::sample::select(vec![0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5]),
        select(vec!["x", "y"]),
        operators,
        values(),
    )
        .prop_map(|(number, property, operator, value)| {
            constraint(ConstraintType::from_number(number), property, operator, &value)
        })
}

fn values() -> impl Strategy<Value = String> {
    select(vec![
        "",
        "1",
        "2.5",
        "a",
        "ab",
        "true",
        "false",
        "2024-05-06",
        "[1, 2.5]",
        "[\"a\", \"1\"]",
        "null",
    ])
    .prop_map(str::to_owned)
}

fn segments() -> impl Strategy<Value = Segment> {
    (keys(), 0..3, prop::collection::vec(constraints(), 0..3)).prop_map(|(key, match_type, constraints)| {
        segment(&key, MatchType::from_number(match_type), constraints)
    })
}

fn flags() -> impl Strategy<Value = Flag> {
    let rules = (segment_keys(), segment_operators(), prop::collection::vec((keys(), 0.0..60.0_f32), 0..4));
    let rollouts = (any::<bool>(), segment_keys(), segment_operators(), 0.0..100.0_f32, any::<bool>());
    (
        keys(),
        0..3,
        any::<bool>(),
        prop::collection::vec(rules, 0..3),
        prop::collection::vec(rollouts, 0..3),
        prop::option::of(keys()),
        -1..4,
    )
        .prop_map(|(key, flag_type, enabled, rules, rollouts, default_variant, rank)| {
            let rules = rules.into_iter().map(|(segments, operator, distributions)| {
                let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
                let distributions: Vec<(&str, f32)> =
                    distributions.iter().map(|(key, rollout)| (key.as_str(), *rollout)).collect();
                flipt_model::Rule { operator, ..rule(&segments, &distributions) }
            });
            let rollouts = rollouts.into_iter().map(|(by_segment, segments, operator, percentage, value)| {
                let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
                if by_segment {
                    in_segments(&segments, operator, value)
                } else {
                    threshold(percentage, value)
                }
            });
            let mut flag = variant_flag(&key, rules.collect());
            flag.rollouts = boolean_flag("", false, rollouts.collect()).rollouts;
            if let Some(last) = flag.rules.last_mut() {
                last.rank = rank;
            }
            if let Some(last) = flag.rollouts.last_mut() {
                last.rank = rank;
            }
            Flag { flag_type: FlagType::from_number(flag_type), enabled, default_variant, ..flag }
        })
}

fn namespaces() -> impl Strategy<Value = Namespace> {
    (prop::collection::vec(flags(), 0..5), prop::collection::vec(segments(), 0..5)).prop_map(
        |(flags, segments)| {
            let mut source = namespace(vec![], vec![]);
            flags.into_iter().for_each(|flag| put(&mut source.flags, flag, |flag| &flag.key));
            segments
                .into_iter()
                .for_each(|segment| put(&mut source.segments, segment, |segment| &segment.key));
            source
        },
    )
}

/// Replaces what has the same key, or appends.
fn put<T>(list: &mut Vec<T>, value: T, key: impl Fn(&T) -> &String) {
    match list.iter().position(|earlier| key(earlier) == key(&value)) {
        Some(position) => list[position] = value,
        None => list.push(value),
    }
}

#[derive(Debug, Clone)]
enum Edit {
    PutFlag(Flag),
    DeleteFlag(String),
    PutSegment(Segment),
    DeleteSegment(String),
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        flags().prop_map(Edit::PutFlag),
        keys().prop_map(Edit::DeleteFlag),
        segments().prop_map(Edit::PutSegment),
        keys().prop_map(Edit::DeleteSegment),
    ]
}

/// Everything that can be seen of a namespace: its flags in order, with their values for some requests.
fn observe(namespace: &flipt_evaluation::Namespace) -> Vec<String> {
    let contexts: Vec<HashMap<&str, &str>> = ["", "1", "2.5", "a", "ab", "true", "2024-05-06"]
        .iter()
        .map(|value| HashMap::from([("x", *value), ("y", "1")]))
        .collect();
    let mut seen = Vec::new();
    for flag in namespace.flags() {
        assert!(Arc::ptr_eq(flag, namespace.flag(flag.key()).unwrap()));
        seen.push(format!("{} {} {}", flag.key(), flag.flag_type(), flag.enabled()));
        for context in &contexts {
            for entity in ["", "a", "entity-7"] {
                seen.push(match flag.flag_type() {
                    FlagType::Boolean => format!(
                        "{:?}",
                        flag.boolean(entity, context).map(|result| (
                            result.enabled,
                            result.reason,
                            listed(&result.segments).join(" ")
                        ))
                    ),
                    _ => format!(
                        "{:?}",
                        flag.variant(entity, context).map(|result| (
                            result.matched,
                            result.reason,
                            result.variant,
                            result.attachment,
                            listed(&result.segments).join(" ")
                        ))
                    ),
                });
            }
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn edits_lead_to_what_compiling_anew_gives(source in namespaces(), edits in prop::collection::vec(edits(), 1..12)) {
        let mut source = source;
        let mut edited = flipt_evaluation::Namespace::compile(&source);
        for edit in edits {
            let before = (edited.clone(), observe(&edited));
            let next = match edit {
                Edit::PutFlag(flag) => {
                    let next = edited.with_flag(&flag);
                    put(&mut source.flags, flag, |flag| &flag.key);
                    next
                }
                Edit::DeleteFlag(key) => {
                    source.flags.retain(|flag| flag.key != key);
                    edited.without_flag(&key)
                }
                Edit::PutSegment(segment) => {
                    let next = edited.with_segment(&segment);
                    put(&mut source.segments, segment, |segment| &segment.key);
                    next
                }
                Edit::DeleteSegment(key) => {
                    source.segments.retain(|segment| segment.key != key);
                    edited.without_segment(&key)
                }
            };
            let anew = flipt_evaluation::Namespace::compile(&source);
            prop_assert_eq!(observe(&next), observe(&anew));
            prop_assert_eq!(&next, &anew);
            // Whoever still evaluates on the state before the edit sees that state.
            prop_assert_eq!(observe(&before.0), before.1);
            edited = next;
        }
    }

    #[test]
    fn other_flags_never_move_a_bucket(source in namespaces(), others in prop::collection::vec(flags(), 0..4), removed in keys()) {
        let compiled = flipt_evaluation::Namespace::compile(&source);
        let changed = others.iter().fold(compiled.without_flag(&removed), |namespace, flag| namespace.with_flag(flag));
        for flag in source.flags.iter().filter(|flag| flag.key != removed && others.iter().all(|other| other.key != flag.key)) {
            let (before, after) = (compiled.flag(&flag.key).unwrap(), changed.flag(&flag.key).unwrap());
            prop_assert!(Arc::ptr_eq(before, after), "the flag itself is shared");
            for number in 0..50 {
                let entity = format!("entity-{number}");
                let of = |flag: &flipt_evaluation::Flag| flag.variant(&entity, &()).map(|result| result.variant.to_owned());
                prop_assert_eq!(of(before), of(after));
            }
        }
    }

    #[test]
    fn no_text_makes_an_evaluation_panic(
        number in 0..7, operator in "[a-z]{2,11}|eq|isoneof|isnotoneof|lt", value in any::<String>(), constant in any::<String>(), list in any::<Vec<String>>()
    ) {
        let constraint_type = ConstraintType::from_number(number);
        let json = serde_json::to_string(&list).unwrap();
        for constant in [&constant, &json] {
            let segments = vec![segment("all", MatchType::Any, vec![constraint(constraint_type, &value, &operator, constant)])];
            let rollouts = vec![in_segments(&["all"], SegmentOperator::Or, true)];
            let snapshot = snapshot(vec![boolean_flag(&value, false, rollouts)], segments);
            let context = [(&value, &value)];
            let failed = matches!(constraint_type, ConstraintType::Unknown | ConstraintType::Other(_));
            prop_assert_eq!(snapshot.boolean(&request(&value, &value, &context)).is_err(), failed);
        }
    }

    #[test]
    fn a_text_is_in_a_list_that_holds_it(list in prop::collection::vec(".{1,6}", 1..20), other in ".{1,6}") {
        let json = serde_json::to_string(&list).unwrap();
        let holds = |operator: &str, value: &str| {
            let context = HashMap::from([("x".to_owned(), value.to_owned())]);
            matches(constraint(ConstraintType::String, "x", operator, &json), "", &context)
        };
        for value in list.iter().chain([&other]) {
            prop_assert_eq!(holds("isoneof", value), list.contains(value));
            prop_assert_eq!(holds("isnotoneof", value), !list.contains(value));
        }
    }

    #[test]
    fn numbers_compare_as_numbers(left in any::<f64>(), right in any::<f64>()) {
        let holds = |operator: &str| {
            let context = HashMap::from([("x".to_owned(), format!("{left:?}"))]);
            matches(constraint(ConstraintType::Number, "x", operator, &format!("{right:e}")), "", &context)
        };
        let expected = [left == right, left != right, left < right, left <= right, left > right, left >= right];
        prop_assert_eq!(["eq", "neq", "lt", "lte", "gt", "gte"].map(holds), expected);
    }
}

#[test]
fn a_snapshot_changes_one_namespace_at_a_time() {
    let other = Namespace { key: "other".into(), ..namespace(vec![variant_flag("x", vec![])], vec![]) };
    let first = snapshot(vec![variant_flag("foo", vec![])], vec![]);
    let both = first.with_namespace(flipt_evaluation::Namespace::compile(&other));
    let keys = |snapshot: &Snapshot| {
        snapshot.namespaces().map(|namespace| namespace.key().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (keys(&first), keys(&both)),
        (vec!["default".to_owned()], vec!["default".to_owned(), "other".to_owned()])
    );
    assert!(Arc::ptr_eq(first.namespace("default").unwrap(), both.namespace("default").unwrap()));

    let emptied = flipt_evaluation::Namespace::compile(&namespace(vec![], vec![]));
    let replaced = both.with_namespace(emptied);
    assert_eq!(keys(&replaced), keys(&both));
    assert_eq!(replaced.namespace("default").unwrap().flags().count(), 0);
    let remaining = replaced.without_namespace("default").without_namespace("nope");
    assert_eq!(keys(&remaining), ["other"]);
    assert!(remaining.namespace("default").is_none() && remaining.namespace("other").is_some());
    assert!(remaining.namespace("").is_none(), "the caller resolves the empty key");
}
