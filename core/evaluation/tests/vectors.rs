//! The 274 computed vectors of the evaluation specification, section 16.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;

use flipt_evaluation::Snapshot;
use flipt_model::ConstraintType;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use support::{
    boolean_flag, bucket, constraint, entity_of_each_bucket, everybody, listed, matches, request, rule,
    snapshot, threshold, variant_flag,
};

#[derive(Deserialize)]
struct Hash {
    id: String,
    flag: String,
    entity: String,
    crc_flag_entity: u32,
    bucket: usize,
    crc_entity_flag: u32,
    residue: u8,
}

#[derive(Deserialize)]
struct Thresholds {
    id: String,
    rollouts: Vec<f32>,
    kept: Vec<usize>,
    thresholds: Vec<u32>,
}

#[derive(Deserialize)]
struct ConstraintCase {
    id: String,
    #[serde(rename = "type")]
    constraint_type: ConstraintType,
    operator: String,
    value: String,
    context: Option<String>,
    #[serde(rename = "match")]
    matched: bool,
}

#[derive(Deserialize)]
struct VariantCase {
    id: String,
    flag: String,
    entity: String,
    bucket: u32,
    context: HashMap<String, String>,
    #[serde(rename = "match")]
    matched: bool,
    reason: String,
    variant: String,
    segments: Vec<String>,
}

#[derive(Deserialize)]
struct BooleanCase {
    id: String,
    flag: String,
    entity: String,
    residue: u32,
    context: HashMap<String, String>,
    enabled: bool,
    reason: String,
    segments: Vec<String>,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path)
}

fn flags_of_the_specification() -> Snapshot {
    Snapshot::compile(&flipt_model::Snapshot { namespaces: vec![read("namespace")] })
}

#[test]
fn none_of_the_vectors_is_missing() {
    let counts = [
        read::<Vec<Hash>>("hashes").len(),
        read::<Vec<Thresholds>>("thresholds").len(),
        read::<Vec<ConstraintCase>>("constraints").len(),
        read::<Vec<VariantCase>>("variants").len(),
        read::<Vec<BooleanCase>>("booleans").len(),
    ];
    assert_eq!(counts, [61, 29, 130, 36, 18]);
    assert_eq!(counts.iter().sum::<usize>(), 274);
}

#[test]
fn hashes() {
    // A thousand distributions of one bucket each, and a hundred thresholds of one residue each, make both
    // numbers visible from outside.
    let keys: Vec<String> = (0..1000).map(|bucket| bucket.to_string()).collect();
    let shares: Vec<(&str, f32)> = keys.iter().map(|key| (key.as_str(), 0.1)).collect();
    for case in read::<Vec<Hash>>("hashes") {
        let Hash { id, flag, entity, .. } = case;
        assert_eq!(crc32fast::hash(format!("{flag}{entity}").as_bytes()), case.crc_flag_entity, "{id}");
        assert_eq!(crc32fast::hash(format!("{entity}{flag}").as_bytes()), case.crc_entity_flag, "{id}");

        let by_bucket =
            snapshot(vec![variant_flag(&flag, vec![rule(&["all"], &shares)])], vec![everybody("all")]);
        let result = by_bucket.variant(&request(&flag, &entity, &())).unwrap();
        assert_eq!(result.variant, keys[case.bucket], "{id}");

        let smallest = (0..=100_u8).find(|&percentage| {
            let flags = vec![boolean_flag(&flag, false, vec![threshold(percentage.into(), true)])];
            snapshot(flags, vec![]).boolean(&request(&flag, &entity, &())).unwrap().enabled
        });
        assert_eq!(smallest, Some(case.residue + 1), "{id}");
    }
}

#[test]
fn distribution_thresholds() {
    let entities = entity_of_each_bucket("boundary-flag");
    for Thresholds { id, rollouts, kept, thresholds } in read::<Vec<Thresholds>>("thresholds") {
        let keys: Vec<String> = (0..rollouts.len()).map(|index| index.to_string()).collect();
        let shares: Vec<(&str, f32)> = keys.iter().map(String::as_str).zip(rollouts).collect();
        let flags = vec![variant_flag("boundary-flag", vec![rule(&["all"], &shares)])];
        let snapshot = snapshot(flags, vec![everybody("all")]);
        for (bucket, entity) in (0_u32..).zip(&entities) {
            let result = snapshot.variant(&request("boundary-flag", entity, &())).unwrap();
            let owner = thresholds.iter().position(|threshold| *threshold > bucket).map(|share| kept[share]);
            assert_eq!(result.variant, owner.map_or("", |index| &keys[index]), "{id}, bucket {bucket}");
            assert_eq!(result.matched, owner.is_some() || kept.is_empty(), "{id}, bucket {bucket}");
        }
    }
}

#[test]
fn constraints() {
    for case in read::<Vec<ConstraintCase>>("constraints") {
        let context = case.context.map(|value| ("property".to_owned(), value)).into_iter().collect();
        let constraint = constraint(case.constraint_type, "property", &case.operator, &case.value);
        assert_eq!(matches(constraint, "entity", &context), case.matched, "{}", case.id);
    }
}

#[test]
fn string_constraints_hold_for_entity_ids_as_well() {
    for case in read::<Vec<ConstraintCase>>("constraints") {
        if case.constraint_type != ConstraintType::String {
            continue;
        }
        let constraint = constraint(ConstraintType::EntityId, "entityId", &case.operator, &case.value);
        let entity = case.context.unwrap_or_default();
        // The context is not consulted, whatever it says under the constraint's property.
        let context = HashMap::from([("entityId".to_owned(), "bar".to_owned())]);
        assert_eq!(matches(constraint, &entity, &context), case.matched, "{}", case.id);
    }
}

#[test]
fn variant_evaluations() {
    let snapshot = flags_of_the_specification();
    for case in read::<Vec<VariantCase>>("variants") {
        let result = snapshot.variant(&request(&case.flag, &case.entity, &case.context)).unwrap();
        assert_eq!(bucket(&case.flag, &case.entity), case.bucket, "{}", case.id);
        let attachment =
            if case.variant.is_empty() { String::new() } else { format!("{{\"of\":\"{}\"}}", case.variant) };
        assert_eq!(
            (
                result.matched,
                result.reason.name(),
                result.variant,
                result.attachment,
                listed(&result.segments)
            ),
            (
                case.matched,
                format!("{}_EVALUATION_REASON", case.reason).as_str(),
                case.variant.as_str(),
                attachment.as_str(),
                case.segments.iter().map(String::as_str).collect()
            ),
            "{}",
            case.id
        );
    }
}

#[test]
fn boolean_evaluations() {
    let snapshot = flags_of_the_specification();
    for case in read::<Vec<BooleanCase>>("booleans") {
        let result = snapshot.boolean(&request(&case.flag, &case.entity, &case.context)).unwrap();
        let residue = crc32fast::hash(format!("{}{}", case.entity, case.flag).as_bytes()) % 100;
        assert_eq!(residue, case.residue, "{}", case.id);
        assert_eq!(
            (result.enabled, result.reason.name(), listed(&result.segments)),
            (
                case.enabled,
                format!("{}_EVALUATION_REASON", case.reason).as_str(),
                case.segments.iter().map(String::as_str).collect()
            ),
            "{}",
            case.id
        );
    }
}
