//! The facts that Flipt's own tests fix (evaluation specification, section 15), and what follows from the rules
//! around them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;

use flipt_evaluation::{EvaluationError, Reason, Request, Snapshot};
use flipt_model::{
    Constraint, ConstraintType, Flag, FlagType, MatchType, Rollout, RolloutRule, Rule, Segment,
    SegmentOperator,
};
use support::*;

const NO_CONTEXT: () = ();

/// match, reason, variant and segments of a variant flag.
type Outcome<'a> = (bool, Reason, &'a str, Vec<&'a str>);

fn outcome<'a>(snapshot: &'a Snapshot, flag: &str, entity: &str, context: &[(&str, &str)]) -> Outcome<'a> {
    let result = snapshot.variant(&request(flag, entity, context)).unwrap();
    (result.matched, result.reason, result.variant, listed(&result.segments))
}

fn bar_is_baz() -> Segment {
    segment("bar", MatchType::All, vec![constraint(ConstraintType::String, "bar", "eq", "baz")])
}

fn foo(distributions: &[(&str, f32)]) -> Flag {
    variant_flag("foo", vec![rule(&["all"], distributions)])
}

#[test]
fn half_of_the_entities_get_each_variant() {
    let flags = vec![variant_flag("foo", vec![rule(&["bar"], &[("boz", 50.0), ("booz", 50.0)])])];
    let snapshot = snapshot(flags, vec![bar_is_baz()]);
    let context = [("bar", "baz")];
    assert_eq!(outcome(&snapshot, "foo", "1", &context), (true, Reason::Match, "boz", vec!["bar"]));
    assert_eq!(outcome(&snapshot, "foo", "2", &context), (true, Reason::Match, "booz", vec!["bar"]));
    assert_eq!(outcome(&snapshot, "foo", "1", &[]), (false, Reason::Unknown, "", vec![]));
}

#[test]
fn a_segment_without_constraints_takes_everybody() {
    for match_type in [MatchType::All, MatchType::Any] {
        let flags = vec![foo(&[("boz", 50.0), ("moz", 50.0)])];
        let snapshot = snapshot(flags, vec![segment("all", match_type, vec![])]);
        assert_eq!(outcome(&snapshot, "foo", "10", &[]).2, "boz");
        for context in [vec![], vec![("bar", "baz")]] {
            assert_eq!(outcome(&snapshot, "foo", "01", &context).2, "moz");
        }
    }
}

#[test]
fn a_match_type_without_name_takes_nobody() {
    let flags = vec![foo(&[("boz", 100.0)])];
    let snapshot = snapshot(flags, vec![segment("all", MatchType::Other(2), vec![])]);
    assert!(!outcome(&snapshot, "foo", "1", &[]).0);
}

#[test]
fn a_bucket_without_distribution_is_a_miss_that_reports_its_segments() {
    let without = snapshot(vec![foo(&[("boz", 10.0)])], vec![everybody("all")]);
    assert_eq!(outcome(&without, "foo", "123", &[]), (false, Reason::Unknown, "", vec!["all"]));
    let with = snapshot(vec![with_default(foo(&[("boz", 10.0)]), "bar")], vec![everybody("all")]);
    assert_eq!(outcome(&with, "foo", "123", &[]), (false, Reason::Default, "bar", vec!["all"]));
}

#[test]
fn a_miss_ends_the_evaluation() {
    let rules = vec![rule(&["all"], &[("boz", 10.0)]), rule(&["all"], &[("next", 100.0)])];
    let snapshot = snapshot(vec![variant_flag("foo", rules)], vec![everybody("all")]);
    assert_eq!(outcome(&snapshot, "foo", "123", &[]), (false, Reason::Unknown, "", vec!["all"]));
}

#[test]
fn distributions_of_nothing_are_passed_over() {
    let two = snapshot(vec![foo(&[("a", 0.0), ("b", 100.0)])], vec![everybody("all")]);
    assert_eq!(outcome(&two, "foo", "1", &[]).2, "b");
    let six = [("a", 0.0), ("b", 0.0), ("c", 50.0), ("d", 0.0), ("e", 0.0), ("f", 50.0)];
    assert_eq!(outcome(&snapshot(vec![foo(&six)], vec![everybody("all")]), "foo", "1", &[]).2, "c");
    let odd = [("a", -50.0), ("b", f32::NAN), ("c", 100.0)];
    assert_eq!(outcome(&snapshot(vec![foo(&odd)], vec![everybody("all")]), "foo", "1", &[]).2, "c");
}

#[test]
fn a_rule_without_distributions_matches_with_the_default_variant() {
    let with = snapshot(vec![with_default(foo(&[]), "bar")], vec![everybody("all")]);
    let result = with.variant(&request("foo", "1", &NO_CONTEXT)).unwrap();
    assert_eq!(
        (result.matched, result.reason, result.variant, result.attachment),
        (true, Reason::Match, "bar", "\"of bar\"")
    );
    let without = snapshot(vec![foo(&[])], vec![everybody("all")]);
    assert_eq!(outcome(&without, "foo", "1", &[]), (true, Reason::Match, "", vec!["all"]));
}

#[test]
fn and_reports_every_segment_and_or_those_that_match() {
    let flag = |operator| {
        variant_flag("foo", vec![Rule { operator, ..rule(&["bar", "all", "bar", "gone"], &[("a", 100.0)]) }])
    };
    let segments = || vec![everybody("all"), bar_is_baz()];
    let or = snapshot(vec![flag(SegmentOperator::Or)], segments());
    assert_eq!(outcome(&or, "foo", "1", &[("bar", "baz")]).3, ["bar", "all"]);
    assert_eq!(outcome(&or, "foo", "1", &[]).3, ["all"]);

    // A segment that does not exist is in the rule all the same, and nobody is in it.
    let and = snapshot(vec![flag(SegmentOperator::And)], segments());
    assert!(!outcome(&and, "foo", "1", &[("bar", "baz")]).0);
    let mut with_it = segments();
    with_it.push(everybody("gone"));
    let and = snapshot(vec![flag(SegmentOperator::And)], with_it);
    assert_eq!(outcome(&and, "foo", "1", &[("bar", "baz")]).3, ["bar", "all", "gone"]);
    assert!(!outcome(&and, "foo", "1", &[]).0);
}

#[test]
fn an_operator_without_name_counts_as_or() {
    let flag = variant_flag(
        "foo",
        vec![Rule { operator: SegmentOperator::Other(7), ..rule(&["bar", "all"], &[("a", 100.0)]) }],
    );
    let with = snapshot(vec![flag.clone()], vec![bar_is_baz(), everybody("all")]);
    assert_eq!(outcome(&with, "foo", "1", &[]).3, ["all"]);
    assert!(!outcome(&snapshot(vec![flag], vec![bar_is_baz()]), "foo", "1", &[]).0);
}

#[test]
fn more_than_64_segments_are_reported_in_order() {
    let keys: Vec<String> = (0..200).map(|number| format!("segment-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let flag =
        variant_flag("foo", vec![Rule { operator: SegmentOperator::And, ..rule(&keys, &[("a", 100.0)]) }]);
    let snapshot = snapshot(vec![flag], keys.iter().map(|key| everybody(key)).collect());
    assert_eq!(outcome(&snapshot, "foo", "1", &[]).3, keys);
}

#[test]
fn a_flag_that_is_off_still_names_its_default_variant() {
    let off = Flag { enabled: false, ..with_default(foo(&[("boz", 100.0)]), "bar") };
    let snapshot = snapshot(vec![off], vec![everybody("all")]);
    let result = snapshot.variant(&request("foo", "1", &NO_CONTEXT)).unwrap();
    assert_eq!(
        (result.matched, result.reason, result.variant, result.attachment, result.segments.is_empty()),
        (false, Reason::FlagDisabled, "bar", "\"of bar\"", true)
    );
}

#[test]
fn without_rules_the_default_variant_applies_or_nothing() {
    let with = snapshot(vec![with_default(variant_flag("foo", vec![]), "bar")], vec![]);
    assert_eq!(outcome(&with, "foo", "1", &[]), (false, Reason::Default, "bar", vec![]));
    let without = snapshot(vec![variant_flag("foo", vec![])], vec![]);
    assert_eq!(outcome(&without, "foo", "1", &[]), (false, Reason::Unknown, "", vec![]));
}

#[test]
fn a_default_that_is_no_variant_of_the_flag_is_none() {
    let flag = Flag { default_variant: Some("gone".into()), ..variant_flag("foo", vec![]) };
    assert_eq!(outcome(&snapshot(vec![flag], vec![]), "foo", "1", &[]), (false, Reason::Unknown, "", vec![]));
}

#[test]
fn a_distribution_of_no_variant_of_the_flag_keeps_its_key_and_its_buckets() {
    let mut flag = with_default(foo(&[("gone", 50.0), ("there", 50.0)]), "bar");
    flag.variants.retain(|variant| variant.key != "gone");
    let snapshot = snapshot(vec![flag], vec![everybody("all")]);
    let gone = snapshot.variant(&request("foo", "1", &NO_CONTEXT)).unwrap();
    assert_eq!((gone.matched, gone.variant, gone.attachment), (true, "gone", ""));
    let there = snapshot.variant(&request("foo", "2", &NO_CONTEXT)).unwrap();
    assert_eq!((there.matched, there.variant, there.attachment), (true, "there", "\"of there\""));
}

#[test]
fn rules_out_of_order_are_an_error_where_they_are_reached() {
    let ranked = |rank, segments: &[&str], variant| Rule { rank, ..rule(segments, &[(variant, 100.0)]) };
    let evaluate = |rules: Vec<Rule>| {
        let snapshot = snapshot(vec![variant_flag("foo", rules)], vec![everybody("all"), bar_is_baz()]);
        snapshot.variant(&request("foo", "1", &NO_CONTEXT)).map(|result| result.variant.to_owned())
    };
    let out_of_order = evaluate(vec![ranked(1, &["bar"], "a"), ranked(0, &["all"], "b")]);
    assert_eq!(out_of_order, Err(EvaluationError::RuleRankOutOfOrder(0)));
    assert_eq!(evaluate(vec![ranked(-1, &["all"], "a")]), Err(EvaluationError::RuleRankOutOfOrder(-1)));
    assert_eq!(evaluate(vec![ranked(1, &["bar"], "a"), ranked(1, &["all"], "b")]).unwrap(), "b");
    assert_eq!(evaluate(vec![ranked(0, &["all"], "a")]).unwrap(), "a");
    // Nobody gets as far as the second rule.
    assert_eq!(evaluate(vec![ranked(1, &["all"], "a"), ranked(0, &["all"], "b")]).unwrap(), "a");
}

#[test]
fn rollouts_out_of_order_are_an_error_where_they_are_reached() {
    let evaluate = |rollouts: &[(i32, f32)]| {
        let mut flag = boolean_flag("foo", false, vec![]);
        flag.rollouts = rollouts
            .iter()
            .map(|&(rank, percentage)| Rollout {
                rank,
                rule: threshold(percentage, true),
                ..Rollout::default()
            })
            .collect();
        snapshot(vec![flag], vec![]).boolean(&request("foo", "1", &NO_CONTEXT)).map(|result| result.enabled)
    };
    assert_eq!(evaluate(&[(1, 0.0), (0, 100.0)]), Err(EvaluationError::RolloutRankOutOfOrder(0)));
    // Flipt refuses to evaluate a flag whose first rank is negative, although it can be created.
    assert_eq!(evaluate(&[(-3, 0.0), (-1, 100.0)]), Ok(true));
    assert_eq!(evaluate(&[(-1, 100.0), (-3, 0.0)]), Ok(true));
    assert_eq!(evaluate(&[(1, 0.0), (1, 100.0)]), Ok(true));
    assert_eq!(evaluate(&[(1, 100.0), (0, 100.0)]), Ok(true));
}

#[test]
fn a_value_that_does_not_parse_is_no_error() {
    for constraint_type in [ConstraintType::Number, ConstraintType::DateTime, ConstraintType::Boolean] {
        let constraint = constraint(constraint_type, "bar", "eq", "boz");
        let segments = vec![segment("all", MatchType::All, vec![constraint])];
        let snapshot = snapshot(vec![foo(&[("a", 100.0)])], segments);
        assert_eq!(outcome(&snapshot, "foo", "1", &[("bar", "baz")]), (false, Reason::Unknown, "", vec![]));
    }
}

#[test]
fn thresholds_decide_by_the_residue() {
    for (key, enabled, rollout, entity, expected) in [
        ("test-flag", true, threshold(70.0, false), "test-entity", (false, Reason::Match)),
        ("test-flag", true, threshold(5.0, false), "test-entity", (true, Reason::Default)),
        ("test-flag", false, threshold(80.0, true), "test-entity", (true, Reason::Match)),
        ("flag_boolean", false, threshold(50.0, true), "hello", (false, Reason::Default)),
        ("flag_boolean", false, threshold(50.0, true), "fixed", (true, Reason::Match)),
        ("flag_boolean", true, RolloutRule::None, "fixed", (true, Reason::Default)),
    ] {
        let snapshot = snapshot(vec![boolean_flag(key, enabled, vec![rollout])], vec![]);
        let result = snapshot.boolean(&request(key, entity, &NO_CONTEXT)).unwrap();
        assert_eq!((result.enabled, result.reason), expected, "{key} {entity}");
        assert!(result.segments.is_empty());
    }
}

#[test]
fn fixed_entities_get_fixed_variants() {
    let halves: &[(&str, f32)] = &[("first", 50.0), ("second", 50.0)];
    for (key, variant) in
        [("flag_001", "second"), ("flag_002", "first"), ("flag_variant_and_segments", "second")]
    {
        let snapshot =
            snapshot(vec![variant_flag(key, vec![rule(&["all"], halves)])], vec![everybody("all")]);
        assert_eq!(outcome(&snapshot, key, "some-fixed-entity-id", &[]).2, variant, "{key}");
    }
}

#[test]
fn an_entity_id_is_compared_without_any_context() {
    let constraint = constraint(ConstraintType::EntityId, "entityId", "eq", "user@flipt.io");
    let segments = vec![segment("all", MatchType::All, vec![constraint])];
    let snapshot = snapshot(vec![foo(&[("a", 100.0)])], segments);
    assert!(outcome(&snapshot, "foo", "user@flipt.io", &[]).0);
    assert!(!outcome(&snapshot, "foo", "other@flipt.io", &[("entityId", "user@flipt.io")]).0);
}

#[test]
fn an_empty_entity_id_is_one_like_any_other() {
    let rollouts = vec![in_segments(&["all"], SegmentOperator::Or, true)];
    let snapshot = snapshot(vec![boolean_flag("foo", false, rollouts)], vec![everybody("all")]);
    let result = snapshot.boolean(&request("foo", "", &NO_CONTEXT)).unwrap();
    assert_eq!((result.enabled, result.reason, listed(&result.segments)), (true, Reason::Match, vec!["all"]));
}

#[test]
fn a_boolean_flag_has_no_use_for_rules_nor_a_variant_flag_for_rollouts() {
    let mut boolean = boolean_flag("foo", true, vec![]);
    boolean.rules = vec![Rule { rank: -1, ..rule(&["all"], &[("a", 100.0)]) }];
    let snapshot_of_boolean = snapshot(vec![boolean], vec![everybody("all")]);
    let result = snapshot_of_boolean.boolean(&request("foo", "1", &NO_CONTEXT)).unwrap();
    assert_eq!((result.enabled, result.reason), (true, Reason::Default));

    let mut variant = variant_flag("foo", vec![]);
    variant.rollouts = vec![Rollout { rule: threshold(100.0, true), ..Rollout::default() }];
    assert_eq!(outcome(&snapshot(vec![variant], vec![]), "foo", "1", &[]).1, Reason::Unknown);
}

#[test]
fn what_does_not_exist_is_not_found() {
    let snapshot = snapshot(vec![foo(&[])], vec![]);
    let ask = |namespace, flag| {
        snapshot
            .variant(&Request { namespace, flag, entity: "1", context: &NO_CONTEXT })
            .unwrap_err()
            .to_string()
    };
    assert_eq!(ask("nope", "foo"), r#"namespace "nope" not found"#);
    assert_eq!(ask("", "foo"), r#"namespace "" not found"#);
    assert_eq!(ask("default", "Foo"), r#"flag "default/Foo" not found"#);
    assert_eq!(ask("default", ""), r#"flag "default" not found"#);
}

#[test]
fn a_flag_of_another_type_is_refused_by_name() {
    let flags = vec![
        variant_flag("variant", vec![]),
        boolean_flag("boolean", true, vec![]),
        Flag { key: "other".into(), flag_type: FlagType::Other(3), ..Flag::default() },
    ];
    let snapshot = snapshot(flags, vec![]);
    let text = |error: EvaluationError| error.to_string();
    let variant = |key| snapshot.variant(&request(key, "1", &NO_CONTEXT)).map(|_| ()).map_err(text);
    let boolean = |key| snapshot.boolean(&request(key, "1", &NO_CONTEXT)).map(|_| ()).map_err(text);
    assert_eq!(variant("variant"), Ok(()));
    assert_eq!(boolean("boolean"), Ok(()));
    assert_eq!(variant("boolean"), Err("flag type BOOLEAN_FLAG_TYPE invalid".into()));
    assert_eq!(boolean("variant"), Err("flag type VARIANT_FLAG_TYPE invalid".into()));
    assert_eq!(variant("other"), Err("flag type 3 invalid".into()));
    assert_eq!(boolean("other"), Err("flag type 3 invalid".into()));
}

#[test]
fn a_constraint_of_unknown_type_fails_the_evaluation_that_reaches_it() {
    let untyped = |constraint_type| Constraint { constraint_type, ..Constraint::default() };
    let decided = constraint(ConstraintType::String, "bar", "eq", "baz");
    for constraint_type in [ConstraintType::Unknown, ConstraintType::Other(9)] {
        for match_type in [MatchType::All, MatchType::Any, MatchType::Other(5)] {
            let segments = vec![
                segment("poisoned", match_type, vec![decided.clone(), untyped(constraint_type)]),
                everybody("all"),
                bar_is_baz(),
            ];
            let flags = vec![
                variant_flag("first", vec![rule(&["all", "poisoned"], &[("a", 100.0)])]),
                variant_flag(
                    "later",
                    vec![rule(&["bar"], &[("a", 100.0)]), rule(&["poisoned"], &[("b", 100.0)])],
                ),
                Flag { enabled: false, ..variant_flag("off", vec![rule(&["poisoned"], &[("a", 100.0)])]) },
                boolean_flag("boolean", false, vec![in_segments(&["poisoned"], SegmentOperator::Or, true)]),
            ];
            let snapshot = snapshot(flags, segments);
            let failed = Some(EvaluationError::UnknownConstraintType);
            // Both contexts: the first constraint has decided, or has not.
            for context in [HashMap::new(), HashMap::from([("bar", "baz")])] {
                assert_eq!(snapshot.variant(&request("first", "1", &context)).err(), failed);
                assert_eq!(snapshot.boolean(&request("boolean", "1", &context)).err(), failed);
                assert!(snapshot.variant(&request("off", "1", &context)).is_ok());
            }
            assert_eq!(snapshot.variant(&request("later", "1", &())).err(), failed);
            assert_eq!(outcome(&snapshot, "later", "1", &[("bar", "baz")]).2, "a");
        }
    }
}

#[test]
fn of_flags_with_the_same_key_the_last_one_counts() {
    let flags = vec![foo(&[("a", 100.0)]), variant_flag("other", vec![]), foo(&[("b", 100.0)])];
    let snapshot = snapshot(flags, vec![everybody("all")]);
    assert_eq!(outcome(&snapshot, "foo", "1", &[]).2, "b");
    let keys: Vec<&str> = snapshot.namespace("default").unwrap().flags().map(|flag| flag.key()).collect();
    assert_eq!(keys, ["foo", "other"]);
}

#[test]
fn letter_case_is_ignored_on_demand_and_the_spelling_of_the_request_is_hashed() {
    let flag = |key: &str| flipt_model::Flag {
        key: key.into(),
        enabled: true,
        flag_type: flipt_model::FlagType::Boolean,
        rollouts: vec![flipt_model::Rollout {
            rule: flipt_model::RolloutRule::Threshold { percentage: 50.0, value: false },
            ..Default::default()
        }],
        ..Default::default()
    };
    let snapshot = |key: &str| {
        let flags = vec![flag(key)];
        let namespace = flipt_model::Namespace { key: "Web".into(), flags, ..Default::default() };
        Snapshot::compile(&flipt_model::Snapshot { namespaces: vec![namespace] })
    };
    let ask = |snapshot: &Snapshot, flag: &str, entity: &str| {
        let context: HashMap<String, String> = HashMap::new();
        let request = Request { namespace: "web", flag, entity, context: &context };
        snapshot.boolean(&request).map(|result| result.enabled)
    };
    assert!(ask(&snapshot("Split"), "split", "u1").is_err());
    let ignoring = snapshot("Split").ignoring_letter_case();
    let exact = snapshot("split").ignoring_letter_case();
    for entity in ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"] {
        assert_eq!(ask(&ignoring, "split", entity).unwrap(), ask(&exact, "split", entity).unwrap());
    }
    assert!(ask(&ignoring, "splat", "u1").is_err());
}
