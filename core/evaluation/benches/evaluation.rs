//! Time of one evaluation, as a multiple of what it cannot do without: finding the flag by its key and hashing
//! the entity id. Both are measured in the same run, so the ratio holds on any machine.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use flipt_evaluation::{Request, Snapshot};
use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Namespace, Rollout, RolloutRule,
    Rule, Segment, SegmentOperator, Variant,
};

const FLAGS: usize = 10_000;

fn main() {
    let snapshot = Snapshot::compile(&flipt_model::Snapshot { namespaces: vec![namespace()] });
    let entities: Vec<String> = (0..1024).map(|number| format!("user-{number}@example.com")).collect();
    let keys: Vec<String> = (0..1024).map(|number| flag_key(number * 7 % FLAGS)).collect();
    let context = HashMap::from(
        [("plan", "pro"), ("country", "NL"), ("age", "34"), ("version", "12")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );

    let index: HashMap<String, u32, ahash::RandomState> =
        (0..FLAGS).map(|number| (flag_key(number), crc32fast::hash(flag_key(number).as_bytes()))).collect();
    let floor = fastest(|turn| {
        let seed = index.get(&keys[turn % keys.len()]).copied().unwrap();
        let mut hasher = crc32fast::Hasher::new_with_initial(seed);
        hasher.update(entities[turn % entities.len()].as_bytes());
        hasher.finalize()
    });
    println!("{:<44} {floor:>7.1} ns", "floor: hash lookup, CRC of the entity id");

    let request = |turn: usize| Request {
        namespace: "default",
        flag: &keys[turn % keys.len()],
        entity: &entities[turn % entities.len()],
        context: &context,
    };
    let show = |name: &str, nanoseconds: f64| {
        println!("{name:<44} {nanoseconds:>7.1} ns {:>6.1} × floor", nanoseconds / floor);
    };
    show(
        "variant: 3 constraints, 3 distributions",
        fastest(|turn| snapshot.variant(black_box(&request(turn))).unwrap().variant.len()),
    );
    show(
        "boolean: the same segment, then a threshold",
        fastest(|turn| {
            let request = Request { flag: "boolean", ..request(turn) };
            snapshot.boolean(black_box(&request)).unwrap().enabled
        }),
    );
    show(
        "boolean: a threshold alone",
        fastest(|turn| {
            let request = Request { flag: "threshold", ..request(turn) };
            snapshot.boolean(black_box(&request)).unwrap().enabled
        }),
    );
}

fn flag_key(number: usize) -> String {
    format!("checkout-experiment-{number}")
}

/// Nanoseconds of one call in the fastest of several rounds: the one that was disturbed least.
fn fastest<T>(mut call: impl FnMut(usize) -> T) -> f64 {
    const TURNS: usize = 200_000;
    let round = |call: &mut dyn FnMut(usize)| {
        let start = Instant::now();
        for turn in 0..TURNS {
            call(turn);
        }
        start.elapsed()
    };
    let mut call = |turn| {
        black_box(call(turn));
    };
    let fastest = (0..25).map(|_| round(&mut call)).min().unwrap_or(Duration::ZERO);
    fastest.as_secs_f64() * 1e9 / TURNS as f64
}

fn namespace() -> Namespace {
    let constraint = |constraint_type, property: &str, operator: &str, value: &str| Constraint {
        constraint_type,
        property: property.into(),
        operator: operator.into(),
        value: value.into(),
        ..Constraint::default()
    };
    let segment = |key: &str, country: &str| Segment {
        key: key.into(),
        match_type: MatchType::All,
        constraints: vec![
            constraint(ConstraintType::String, "plan", "eq", "pro"),
            constraint(ConstraintType::Number, "age", "gte", "18"),
            constraint(ConstraintType::String, "country", "isoneof", country),
        ],
        ..Segment::default()
    };
    let variant = |key: &str| Variant { key: key.into(), attachment: "{}".into(), ..Variant::default() };
    let distribution = |variant: &str, rollout| Distribution { variant: variant.into(), rollout };
    let experiment = |number| Flag {
        key: flag_key(number),
        flag_type: FlagType::Variant,
        enabled: true,
        variants: ["control", "blue", "green"].map(variant).into(),
        rules: vec![Rule {
            rank: 1,
            segments: vec!["adults".into()],
            operator: SegmentOperator::Or,
            distributions: vec![
                distribution("control", 50.0),
                distribution("blue", 25.0),
                distribution("green", 25.0),
            ],
        }],
        ..Flag::default()
    };
    let boolean = |key: &str, rules: Vec<RolloutRule>| Flag {
        key: key.into(),
        flag_type: FlagType::Boolean,
        rollouts: (1..).zip(rules).map(|(rank, rule)| Rollout { rank, rule, ..Rollout::default() }).collect(),
        ..Flag::default()
    };
    let elsewhere = RolloutRule::Segment {
        segments: vec!["elsewhere".into()],
        operator: SegmentOperator::Or,
        value: true,
    };
    let half = RolloutRule::Threshold { percentage: 50.0, value: true };
    let mut flags: Vec<Flag> = (0..FLAGS).map(experiment).collect();
    flags.push(boolean("boolean", vec![elsewhere, half.clone()]));
    flags.push(boolean("threshold", vec![half]));
    Namespace {
        key: "default".into(),
        flags,
        segments: vec![
            segment("adults", r#"["NL", "BE", "DE", "FR"]"#),
            segment("elsewhere", r#"["US", "CA"]"#),
        ],
        ..Namespace::default()
    }
}
