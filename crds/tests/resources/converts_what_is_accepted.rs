//! What the API server accepts means something in the flag model: the operator never meets a resource that only it
//! finds invalid, but for attachments that are too long.

use std::cell::Cell;

use crate::api_server::ApiServer;
use flipt_crds::{
    FliptFlag, FliptNamespace, FliptSegment, MAX_ATTACHMENT_BYTES, flag_of, namespace_of, segment_of,
};
use flipt_model as model;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn resource(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "flipt.io/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn stored<K: DeserializeOwned>(api_server: &ApiServer, resource: &Value) -> Option<K> {
    let stored = api_server.create(resource).ok()?;
    Some(serde_json::from_value(stored).expect("what the API server accepts can be read"))
}

#[test]
fn a_flag_keeps_everything_it_says() {
    let api_server = ApiServer::new();
    let flag: FliptFlag = stored(
        &api_server,
        &resource(
            "FliptFlag",
            "new-checkout",
            json!({
                "serverRef": { "name": "main" }, "key": "new_checkout", "enabled": true, "description": "d",
                "metadata": { "owner": "team-a" },
                "variants": [
                    { "key": "blue", "name": "Blue", "attachment": { "z": "<", "a": [1, 2.0, null] } },
                    { "key": "green", "default": true, "description": "g", "attachment": null },
                ],
                "rules": [
                    { "segments": ["a"], "distributions": [{ "variant": "blue", "rollout": 33.33 }] },
                    { "segments": ["b", "c"], "segmentOperator": "AND" },
                ],
            }),
        ),
    )
    .unwrap();
    let variant = |key: &str| model::Variant { key: key.into(), ..model::Variant::default() };
    assert_eq!(
        flag_of(&flag).unwrap(),
        model::Flag {
            key: "new_checkout".into(),
            name: "new_checkout".into(),
            description: "d".into(),
            flag_type: model::FlagType::Variant,
            enabled: true,
            metadata: [("owner".to_owned(), json!("team-a"))].into(),
            variants: vec![
                model::Variant {
                    name: "Blue".into(),
                    attachment: r#"{"a":[1,2,null],"z":"\u003c"}"#.into(),
                    ..variant("blue")
                },
                model::Variant { description: "g".into(), ..variant("green") },
            ],
            default_variant: Some("green".into()),
            rules: vec![
                model::Rule {
                    rank: 1,
                    segments: vec!["a".into()],
                    operator: model::SegmentOperator::Or,
                    distributions: vec![model::Distribution { variant: "blue".into(), rollout: 33.33 }],
                },
                model::Rule {
                    rank: 2,
                    segments: vec!["b".into(), "c".into()],
                    operator: model::SegmentOperator::And,
                    distributions: Vec::new(),
                },
            ],
            rollouts: Vec::new(),
        }
    );
}

#[test]
fn a_boolean_flag_keeps_its_rollouts_in_order() {
    let api_server = ApiServer::new();
    let flag: FliptFlag = stored(
        &api_server,
        &resource(
            "FliptFlag",
            "switch",
            json!({
                "serverRef": { "name": "main" }, "type": "BOOLEAN", "name": "Switch",
                "rollouts": [
                    { "segment": { "keys": ["a", "b"], "operator": "AND", "value": true }, "description": "d" },
                    { "threshold": { "percentage": 12.5 } },
                ],
            }),
        ),
    )
    .unwrap();
    let flag = flag_of(&flag).unwrap();
    assert_eq!((flag.key.as_str(), flag.name.as_str()), ("switch", "Switch"));
    assert_eq!(flag.flag_type, model::FlagType::Boolean);
    assert_eq!(
        flag.rollouts,
        [
            model::Rollout {
                rank: 1,
                description: "d".into(),
                rule: model::RolloutRule::Segment {
                    segments: vec!["a".into(), "b".into()],
                    operator: model::SegmentOperator::And,
                    value: true,
                },
            },
            model::Rollout {
                rank: 2,
                description: String::new(),
                rule: model::RolloutRule::Threshold { percentage: 12.5, value: false },
            },
        ]
    );
}

#[test]
fn a_namespace_is_named_like_its_key_unless_it_says_otherwise() {
    let api_server = ApiServer::new();
    let read = |spec| {
        let resource = resource("FliptNamespace", "shop", spec);
        namespace_of(&stored::<FliptNamespace>(&api_server, &resource).unwrap()).unwrap()
    };
    let namespace = read(json!({ "serverRef": { "name": "main" } }));
    assert_eq!((namespace.key.as_str(), namespace.name.as_str()), ("shop", "shop"));
    let namespace =
        read(json!({ "serverRef": { "name": "main" }, "key": "Shop_1", "name": "N", "description": "d" }));
    assert_eq!((&*namespace.key, &*namespace.name, &*namespace.description), ("Shop_1", "N", "d"));
}

#[test]
fn an_attachment_that_is_too_long_is_named_with_its_place() {
    let api_server = ApiServer::new();
    let read = |length: usize| {
        let attachment = "x".repeat(length - 2);
        let variants = json!([{ "key": "a" }, { "key": "b", "attachment": attachment }]);
        let spec = json!({ "serverRef": { "name": "main" }, "variants": variants });
        flag_of(&stored::<FliptFlag>(&api_server, &resource("FliptFlag", "f", spec)).unwrap())
    };
    assert!(read(MAX_ATTACHMENT_BYTES).is_ok());
    let error = read(MAX_ATTACHMENT_BYTES + 1).unwrap_err();
    assert_eq!(error.field, "variants[1].attachment");
    assert!(
        error.reason.contains("10001 bytes") && error.reason.contains("at most 10000"),
        "{}",
        error.reason
    );
}

/// Keys, with some that are none.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => "[ab]",
        3 => "[-_,A-Za-z0-9]{1,4}",
        1 => select(vec!["", "a b", "ä", "a.b", "a\n"]).prop_map(String::from),
    ]
}

fn percentage() -> BoxedStrategy<Value> {
    let off = vec![json!(-0.1), json!(100.01), json!(1e30), json!("50"), json!(null), json!(true)];
    prop_oneof![
        8 => select(vec![json!(50), json!(50.03), json!(50.03), json!(0)]),
        4 => (0.0..=100.0_f64).prop_map(Value::from),
        1 => select(off),
    ]
    .boxed()
}

/// An object with these members, of which each may be missing.
fn object(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (names, strategies): (Vec<_>, Vec<_>) = members
        .into_iter()
        .map(|(name, value)| (name, prop_oneof![40 => value.prop_map(Some), 1 => Just(None)].boxed()))
        .unzip();
    strategies
        .prop_map(move |values| {
            names
                .iter()
                .zip(values)
                .filter_map(|(name, value)| Some(((*name).to_owned(), value?)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .boxed()
}

fn text(strategy: impl Strategy<Value = String> + 'static) -> BoxedStrategy<Value> {
    strategy.prop_map(Value::from).boxed()
}

fn list(item: BoxedStrategy<Value>, most: usize) -> BoxedStrategy<Value> {
    vec(item, 0..=most).prop_map(Value::from).boxed()
}

fn one_of(names: &[&str]) -> BoxedStrategy<Value> {
    select(names.iter().map(|name| json!(name)).collect::<Vec<_>>()).boxed()
}

fn flag() -> BoxedStrategy<Value> {
    let variant = object(vec![
        ("key", text(key())),
        ("name", text("[a-z]{0,3}")),
        ("default", one_in(6)),
        ("attachment", select(vec![json!(null), json!({ "a": 1 }), json!("t"), json!([])]).boxed()),
    ]);
    let distribution = object(vec![("variant", text(key())), ("rollout", percentage())]);
    let rule = object(vec![
        ("segments", list(text(key()), 2)),
        ("segmentOperator", one_of(&["OR", "AND"])),
        ("distributions", list(distribution, 2)),
    ]);
    let value = || any::<bool>().prop_map(Value::from).boxed();
    let segment = object(vec![
        ("keys", list(text(key()), 2)),
        ("operator", one_of(&["OR", "AND"])),
        ("value", value()),
    ]);
    let threshold = object(vec![("percentage", percentage()), ("value", value())]);
    let rollout = prop_oneof![
        5 => object(vec![("segment", segment.clone())]),
        5 => object(vec![("threshold", threshold.clone())]),
        1 => object(vec![("segment", segment), ("threshold", threshold)]),
    ]
    .boxed();
    let common = || {
        vec![
            ("serverRef", Just(json!({ "name": "main" })).boxed()),
            ("key", text(key())),
            ("name", text("[a-z]{0,9}")),
            ("enabled", value()),
            ("variants", list(variant.clone(), 2)),
        ]
    };
    prop_oneof![
        4 => object([common(), vec![("type", one_of(&["VARIANT"])), ("rules", list(rule.clone(), 2))]].concat()),
        4 => object([common(), vec![("type", one_of(&["BOOLEAN"])), ("rollouts", list(rollout.clone(), 2))]].concat()),
        1 => object([
            common(),
            vec![
                ("type", one_of(&["VARIANT", "BOOLEAN", "OTHER"])),
                ("rules", list(rule, 1)),
                ("rollouts", list(rollout, 1)),
            ],
        ]
        .concat()),
    ]
    .prop_flat_map(|spec| text(prop_oneof![4 => "[a-z]{1,3}", 1 => "[a-z]\\.[a-z]"]).prop_map(move |name| {
        resource("FliptFlag", name.as_str().unwrap(), spec.clone())
    }))
    .boxed()
}

fn one_in(many: u32) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(json!(true)), many => Just(json!(false))].boxed()
}

/// JSON lists, and what is nearly one.
fn list_text(item: &'static str) -> BoxedStrategy<Value> {
    let items = prop_oneof![9 => vec(item, 0..4), 1 => vec(item, 98..103)];
    prop_oneof![
        9 => text(items.prop_map(|items| format!("[{}]", items.join(", ")))),
        1 => one_of(&["", "null", "[", "[,]", "[1,]", "[\"a\",]", " [ ] ", "[]\n", "[]\u{c}", "[]x"]),
    ]
    .boxed()
}

/// Days around the ends of months, with and without a time, and what is nearly one.
fn date_text() -> BoxedStrategy<Value> {
    let day = "(1900|2000|2023|2024)-(01|02|04|12|13)-(00|01|28|29|30|31|32)";
    let time = "(T([01]?[0-9]|2[0-5]):[0-6][0-9]:(00|59|60)([.,][0-9]{0,10})?(Z|z|[-+](00|02|24|25):(00|30|60|61))?)?";
    (day, prop_oneof![Just(String::new()), time]).prop_map(|(day, time)| json!(day + &time)).boxed()
}

const OPERATORS: [&str; 21] = [
    "eq",
    "neq",
    "lt",
    "lte",
    "gt",
    "gte",
    "empty",
    "notempty",
    "prefix",
    "suffix",
    "isoneof",
    "isnotoneof",
    "contains",
    "notcontains",
    "present",
    "notpresent",
    "true",
    "false",
    "EQ",
    "le",
    "",
];

fn constraint() -> BoxedStrategy<Value> {
    const TEXT: &str = r#""([a-z,\[\] ]|\\["\\/bfnrtux]|\\u[0-9a-fA-F]{4}|ä|😀){0,3}"|null"#;
    const NUMBER: &str = r"-?(0|[1-9][0-9]{0,2}|00)(\.[0-9]{0,2})?([eE][-+]?[0-9]{1,3})?|null";
    const ANY: &str = r#""a"|null|1|\[\]|true"#;
    let of = |types: &[&str], properties: &[&str], operators: &[&str], value: BoxedStrategy<Value>| {
        object(vec![
            ("type", one_of(types)),
            ("property", one_of(properties)),
            ("operator", one_of(operators)),
            ("value", value),
        ])
    };
    let lists = ["isoneof", "isnotoneof"];
    prop_oneof![
        4 => of(&["STRING"], &["p"], &lists, list_text(TEXT)),
        3 => of(&["ENTITY_ID"], &["entityId", "entityId", "p"], &lists, list_text(TEXT)),
        4 => of(&["NUMBER"], &["p"], &lists, list_text(NUMBER)),
        6 => of(&["DATETIME"], &["p"], &["eq", "lt", "isoneof"], date_text()),
        1 => of(&["DATETIME", "BOOLEAN"], &["p"], &["present", "true"], one_of(&["", "2024-01-01"])),
        3 => of(
            &["STRING", "NUMBER", "BOOLEAN", "DATETIME", "ENTITY_ID"],
            &["entityId", "p", ""],
            &OPERATORS,
            prop_oneof![one_of(&["", "a", "true"]), list_text(ANY), date_text()].boxed(),
        ),
    ]
    .boxed()
}

fn segment() -> BoxedStrategy<Value> {
    object(vec![
        ("serverRef", Just(json!({ "name": "main" })).boxed()),
        ("key", text(key())),
        ("matchType", one_of(&["ALL", "ANY"])),
        ("constraints", list(constraint(), 2)),
    ])
    .prop_map(|spec| resource("FliptSegment", "segment", spec))
    .boxed()
}

/// Runs `check` on what the API server accepts, and makes sure that this was neither everything nor next to nothing.
fn for_all_accepted<K: DeserializeOwned>(
    cases: u32,
    resources: BoxedStrategy<Value>,
    check: impl Fn(&K) -> Result<(), String>,
) {
    let api_server = ApiServer::new();
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&resources, |resource| {
            match stored::<K>(&api_server, &resource) {
                Some(resource) => {
                    accepted.set(accepted.get() + 1);
                    check(&resource).map_err(TestCaseError::fail)?;
                }
                None => refused.set(refused.get() + 1),
            }
            Ok(())
        })
        .unwrap();
    assert!(
        accepted.get() > cases / 20 && refused.get() > cases / 20,
        "{accepted:?} accepted, {refused:?} refused"
    );
}

#[test]
fn every_accepted_flag_is_one_of_the_model() {
    for_all_accepted(1_000, flag(), |flag: &FliptFlag| {
        flag_of(flag).map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn every_accepted_segment_is_one_of_the_model() {
    for_all_accepted(1_000, segment(), |segment: &FliptSegment| {
        segment_of(segment).map(drop).map_err(|error| error.to_string())
    });
}

/// What Flipt answered to several hundred constraints (core/model/tests/data/constraints). None that it refuses is
/// accepted, and of those that it accepts only few are not, each for a reason.
#[test]
fn constraints_are_accepted_as_flipt_accepts_them() {
    let api_server = ApiServer::new();
    let (mut same, mut stricter) = (0, Vec::new());
    for recorded in [
        include_str!("../../../core/model/tests/data/constraints/validation.json"),
        include_str!("../../../core/model/tests/data/constraints/values.json"),
        include_str!("../../../core/model/tests/data/constraints/operators.json"),
    ] {
        for case in serde_json::from_str::<Vec<Value>>(recorded).unwrap() {
            let mut constraint = case["request"].clone();
            constraint["type"] = match &constraint["type"] {
                Value::String(name) => json!(name.trim_end_matches("_COMPARISON_TYPE")),
                Value::Number(number) => {
                    let names = ["UNKNOWN", "STRING", "NUMBER", "BOOLEAN", "DATETIME", "ENTITY_ID"];
                    json!(names.get(number.as_u64().unwrap() as usize).copied().unwrap_or_default())
                }
                _ => json!("UNKNOWN"),
            };
            let spec = json!({ "serverRef": { "name": "main" }, "constraints": [constraint] });
            let accepted =
                stored::<FliptSegment>(&api_server, &resource("FliptSegment", "segment", spec)).is_some();
            match (accepted, case["message"].is_null()) {
                (true, false) => panic!("Flipt refuses this: {case}"),
                (false, true) => stricter.push(case),
                _ => same += 1,
            }
        }
    }
    for case in &stricter {
        let request = &case["request"];
        let operator = request["operator"].as_str().unwrap();
        let value = request["value"].as_str().unwrap_or_default();
        let upper_case = operator != operator.to_lowercase();
        let useless_value = case["kept"]["value"] == "" && !value.is_empty();
        assert!(upper_case || useless_value, "refused without a reason: {case}");
    }
    assert!(same > 150, "{same} decided alike, {} stricter", stricter.len());
}
