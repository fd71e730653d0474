//! Evaluating allocates nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::hint::black_box;

use allocation_counter::measure;
use flipt_model::{ConstraintType, Flag, MatchType, Rule, SegmentOperator};
use support::*;

#[test]
fn evaluating_allocates_nothing() {
    use ConstraintType::{Boolean, DateTime, EntityId, Number, String};

    let everything = segment(
        "everything",
        MatchType::All,
        vec![
            constraint(String, "plan", "eq", "pro"),
            constraint(String, "country", "isoneof", r#"["NL", "BE"]"#),
            constraint(String, "country", "isnotoneof", r#"["US"]"#),
            constraint(String, "version", "prefix", "1."),
            constraint(String, "version", "notcontains", "beta"),
            constraint(Number, "age", "gte", "18"),
            constraint(Number, "age", "isoneof", "[33, 34]"),
            constraint(Number, "missing", "notpresent", ""),
            constraint(Boolean, "staff", "true", ""),
            constraint(DateTime, "since", "lt", "2024-01-01"),
            constraint(EntityId, "", "suffix", "@flipt.io"),
        ],
    );
    let context = HashMap::from(
        [
            ("plan", "pro"),
            ("country", "NL"),
            ("version", "1.2"),
            ("age", "34"),
            ("staff", "t"),
            ("since", "2023-05-06T07:08:09.5+02:00"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let both = Rule {
        operator: SegmentOperator::And,
        ..rule(&["everything", "all"], &[("a", 33.33), ("b", 33.33), ("c", 33.34)])
    };
    let rollouts = vec![
        threshold(0.0, true),
        in_segments(&["nobody"], SegmentOperator::Or, false),
        in_segments(&["everything", "all"], SegmentOperator::And, true),
    ];
    let flags = vec![
        variant_flag("match", vec![both]),
        with_default(variant_flag("miss", vec![rule(&["all"], &[("a", 0.01)])]), "d"),
        Flag { enabled: false, ..with_default(variant_flag("off", vec![]), "d") },
        boolean_flag("boolean", false, rollouts),
    ];
    let nobody = segment("nobody", MatchType::Any, vec![constraint(String, "plan", "eq", "free")]);
    let snapshot = snapshot(flags, vec![everything, everybody("all"), nobody]);

    let boolean = request("boolean", "ann@flipt.io", &context);
    assert_eq!(listed(&snapshot.boolean(&boolean).unwrap().segments).len(), 2);
    let matching = request("match", "ann@flipt.io", &context);
    assert_eq!(listed(&snapshot.variant(&matching).unwrap().segments).len(), 2);

    let allocations = measure(|| {
        for flag in ["match", "miss", "off"] {
            let result = snapshot.variant(&request(flag, "ann@flipt.io", &context));
            black_box(result.map(|result| result.segments.iter().map(str::len).sum::<usize>()).is_ok());
        }
        let result = snapshot.boolean(&boolean);
        black_box(result.map(|result| result.segments.iter().map(str::len).sum::<usize>()).is_ok());
    });
    assert_eq!(allocations.count_total, 0, "{allocations:?}");

    // The counter does count.
    assert_eq!(measure(|| drop(black_box(vec![1_u8]))).count_total, 1);
}
