//! Feature files: what the schema accepts, in which words it refuses the rest, and what loading makes of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_model::document::{
    Encoding, Issue, LoadError, load_features, load_features_with_warnings, validate_features,
};
use flipt_model::{Flag, Namespace, RolloutRule, SegmentOperator, Snapshot};
use serde_json::Value;

fn issues(text: &str) -> Vec<Issue> {
    validate_features(text.as_bytes(), Encoding::Yaml, "x.yml")
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn messages(text: &str) -> Vec<String> {
    issues(text).into_iter().map(|issue| issue.message).collect()
}

/// A file whose only flag has these members beside key and name.
fn flag(members: &str) -> String {
    format!("version: \"1.4\"\nflags:\n- {{key: f, name: F, {members}}}\n")
}

fn flag_of(version: &str, members: &str) -> String {
    flag(members).replace("1.4", version)
}

/// A file whose only flag has one rule.
fn rule(members: &str) -> String {
    flag(&format!("rules: [{{{members}}}]"))
}

/// A file whose only flag has one rollout.
fn rollout(members: &str) -> String {
    flag(&format!("type: BOOLEAN_FLAG_TYPE, rollouts: [{{{members}}}]"))
}

fn variant(members: &str) -> String {
    flag(&format!("variants: [{{{members}}}]"))
}

fn segment(members: &str) -> String {
    format!("segments:\n- {{key: s, name: S, {members}}}\n")
}

fn constraint(members: &str) -> String {
    segment(&format!("match_type: ALL_MATCH_TYPE, constraints: [{{{members}}}]"))
}

#[test]
fn recorded_files_are_accepted_or_refused_as_recorded() {
    let mut seen = 0;
    for case in serde_json::from_str::<Vec<Value>>(include_str!("data/documents/validate.json")).unwrap() {
        let field = |name: &str| case[name].as_str().unwrap_or_default();
        let loaded = load_features(&[(field("file"), field("text"))]);
        seen += 1;
        if field("name") == "lt on a number" {
            // The reference knows only `le`; exports with `lt` are feature files, too.
            assert!(loaded.is_ok());
            continue;
        }
        match loaded {
            Ok(_) => assert!(case["accepted"] == true, "{case}"),
            Err(LoadError::Invalid { issues, .. }) => {
                let messages: Vec<Value> = issues.iter().map(|issue| issue.message.clone().into()).collect();
                assert!(issues.iter().all(|issue| issue.file == field("file") && issue.line > 0));
                assert!(case["accepted"] == false && field("error").is_empty(), "{case} {messages:?}");
                match &case["messages"] {
                    Value::Null => assert!(!messages.is_empty()),
                    recorded => assert_eq!(*recorded, Value::from(messages), "{case}"),
                }
            }
            Err(error) => match field("error") {
                "<<ANY>>" => {}
                recorded => assert_eq!(error.to_string(), recorded, "{case}"),
            },
        }
    }
    assert!(seen >= 24, "{seen}");
}

#[test]
fn accepted() {
    for text in [
        "",
        "# comment\n",
        "---\n",
        "namespace: foo\n",
        "version: \"1.0\"\nnamespace: {key: a, name: A, description: d}\n",
        "namespace: {}\n",
        "namespace: {name: A}\n",
        "flags: []\nsegments: []\n",
        "flags: [{key: \"a,b_C-1\", name: F}]\n",
        "flags: [{key: f, name: F}, {key: f, name: F}]\n",
        &flag("type: BOOLEAN_FLAG_TYPE, variants: [{key: a}], rules: [{segment: s}]"),
        &flag("enabled: true, description: ''"),
        &flag("rollouts: []"),
        &flag("metadata: {a: text, b: 1, c: true, d: 1.5, e: 2006-01-02}"),
        &flag_of("1.1", "type: BOOLEAN_FLAG_TYPE, rollouts: [{segment: {keys: [a]}}]"),
        &rule("segment: s"),
        &rule("segment: {}"),
        &rule("segment: {operator: AND_SEGMENT_OPERATOR}"),
        &rule("segment: {operator: null}"),
        &rule("segment: {keys: []}"),
        &rule("segment: {keys: [\"a b\"]}"),
        &rule("segment: s, rank: 0"),
        &rule("segment: s, rank: -1"),
        &rule("segment: s, distributions: [{variant: a, rollout: 100}, {variant: a, rollout: 100.0}]"),
        &rollout(""),
        &rollout("description: d"),
        &rollout("segment: {key: s, operator: null, value: true}"),
        &rollout("segment: {keys: []}"),
        &rollout("threshold: {percentage: 101}"),
        &rollout("threshold: {percentage: -1.5, value: false}"),
        &variant("key: \"any text at all\", name: n, default: true"),
        &variant("key: a, attachment: {a: 1}"),
        &variant("key: a, attachment: [1]"),
        &variant("key: a, attachment: null"),
        &constraint("type: NUMBER_COMPARISON_TYPE, property: p, operator: le"),
        &constraint("type: NUMBER_COMPARISON_TYPE, property: p, operator: lt"),
        &constraint("type: DATETIME_COMPARISON_TYPE, property: p, operator: lt, value: 2006-01-02"),
        &constraint("type: BOOLEAN_COMPARISON_TYPE, property: p, operator: \"true\""),
        &constraint("type: ENTITY_ID_COMPARISON_TYPE, property: anything, operator: prefix, value: x"),
    ] {
        assert_eq!(messages(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn refused_with_the_reference_s_words() {
    for (text, message) in [
        ("extra: 1\n".to_owned(), "extra: field not allowed"),
        (flag("bogus: 1"), "flags.0.bogus: field not allowed"),
        (variant("key: a, bogus: 1"), "flags.0.variants.0.bogus: field not allowed"),
        (rule("segment: s, bogus: 1"), "flags.0.rules.0.bogus: field not allowed"),
        (
            rule("segment: s, distributions: [{variant: a, rollout: 1, bogus: 1}]"),
            "flags.0.rules.0.distributions.0.bogus: field not allowed",
        ),
        (segment("match_type: ALL_MATCH_TYPE, bogus: 1"), "segments.0.bogus: field not allowed"),
        (
            constraint("type: STRING_COMPARISON_TYPE, property: p, operator: eq, bogus: 1"),
            "segments.0.constraints.0.bogus: field not allowed",
        ),
        ("flags: [{key: f}]".to_owned(), r#"flags.0.name: incomplete value =~"^.+$""#),
        ("flags: [{name: F}]".to_owned(), r#"flags.0.key: incomplete value =~"^[-_,A-Za-z0-9]+$""#),
        (
            "flags: [{key: f, name: \"\"}]".to_owned(),
            r#"flags.0.name: invalid value "" (out of bound =~"^.+$")"#,
        ),
        (
            "flags: [{key: f, name: \"a\\nb\"}]".to_owned(),
            r#"flags.0.name: invalid value "a\nb" (out of bound =~"^.+$")"#,
        ),
        (
            "flags: [{key: \"f 1\", name: F}]".to_owned(),
            r#"flags.0.key: invalid value "f 1" (out of bound =~"^[-_,A-Za-z0-9]+$")"#,
        ),
        (
            "flags: [{key: 1, name: F}]".to_owned(),
            "flags.0.key: conflicting values 1 and string (mismatched types int and string)",
        ),
        (flag_of("1.0", "type: BOOLEAN_FLAG_TYPE"), "flags.0.type: field not allowed"),
        (flag_of("1.0", "rollouts: []"), "flags.0.rollouts: field not allowed"),
        (flag_of("1.2", "metadata: {a: b}"), "flags.0.metadata: field not allowed"),
        (
            flag_of("1.2", "variants: [{key: a, default: true}]"),
            "flags.0.variants.0.default: field not allowed",
        ),
        (
            flag("type: NOPE_FLAG_TYPE"),
            r#"flags.0.type: conflicting values "NOPE_FLAG_TYPE" and "VARIANT_FLAG_TYPE" | "BOOLEAN_FLAG_TYPE""#,
        ),
        ("version: \"1.5\"".to_owned(), r#"version: conflicting values "1.4" and "1.5""#),
        (
            "version: 1.4".to_owned(),
            r#"version: conflicting values 1.4 and "1.4" (mismatched types float and string)"#,
        ),
        (
            constraint("type: NUMBER_COMPARISON_TYPE, property: p, operator: eq, value: 1"),
            "segments.0.constraints.0.value: conflicting values 1 and string (mismatched types int and string)",
        ),
        (
            constraint("type: BOOLEAN_COMPARISON_TYPE, property: p, operator: true"),
            "segments.0.constraints.0.operator: conflicting values true and string (mismatched types bool and string)",
        ),
        (
            constraint("type: BOOLEAN_COMPARISON_TYPE, property: p, operator: eq"),
            "segments.0.constraints.0.operator: conflicting values \"eq\" and \
             \"true\" | \"false\" | \"present\" | \"notpresent\"",
        ),
        (
            constraint("property: p, operator: eq"),
            "segments.0.constraints.0.type: incomplete value \"STRING_COMPARISON_TYPE\" | \
             \"NUMBER_COMPARISON_TYPE\" | \"BOOLEAN_COMPARISON_TYPE\" | \"DATETIME_COMPARISON_TYPE\" | \
             \"ENTITY_ID_COMPARISON_TYPE\"",
        ),
        (
            constraint("type: STRING_COMPARISON_TYPE, operator: eq"),
            r#"segments.0.constraints.0.property: incomplete value =~"^.+$""#,
        ),
        (
            constraint("type: UNKNOWN_COMPARISON_TYPE, property: p, operator: eq"),
            "segments.0.constraints.0.type: conflicting values \"UNKNOWN_COMPARISON_TYPE\" and \
             \"STRING_COMPARISON_TYPE\" | \"NUMBER_COMPARISON_TYPE\" | \"BOOLEAN_COMPARISON_TYPE\" | \
             \"DATETIME_COMPARISON_TYPE\" | \"ENTITY_ID_COMPARISON_TYPE\"",
        ),
        (
            rule("segment: s, distributions: [{variant: a, rollout: 110}]"),
            "flags.0.rules.0.distributions.0.rollout: invalid value 110 (out of bound <=100)",
        ),
        (
            rule("segment: s, distributions: [{variant: a, rollout: -1}]"),
            "flags.0.rules.0.distributions.0.rollout: invalid value -1 (out of bound >=0)",
        ),
        (
            rule("segment: s, distributions: [{variant: a, rollout: .nan}]"),
            "flags.0.rules.0.distributions.0.rollout: invalid value .nan (out of bound <=100)",
        ),
        (
            rule("segment: s, distributions: [{variant: a, rollout: \"50\"}]"),
            "flags.0.rules.0.distributions.0.rollout: conflicting values \"50\" and number \
             (mismatched types string and number)",
        ),
        (
            rule("segment: s, distributions: [{variant: a}]"),
            "flags.0.rules.0.distributions.0.rollout: incomplete value >=0 & <=100",
        ),
        (
            rule("segment: s, distributions: [{rollout: 1}]"),
            r#"flags.0.rules.0.distributions.0.variant: incomplete value =~"^.+$""#,
        ),
        (
            rule(""),
            "flags.0.rules.0.segment: incomplete value =~\"^[-_,A-Za-z0-9]+$\" | \
             {keys:[],operator:*null | \"AND_SEGMENT_OPERATOR\" | \"OR_SEGMENT_OPERATOR\"}",
        ),
        (
            rule("segment: {operator: XOR}"),
            "flags.0.rules.0.segment.operator: conflicting values \"XOR\" and \
             \"OR_SEGMENT_OPERATOR\" | \"AND_SEGMENT_OPERATOR\"",
        ),
        (
            rule("segment: null"),
            "flags.0.rules.0.segment: conflicting values null and string (mismatched types null and string)",
        ),
        (
            rule("segment: [a]"),
            "flags.0.rules.0.segment: conflicting values [\"a\"] and string (mismatched types list and string)",
        ),
        (rule("segment: {key: s1}"), "flags.0.rules.0.segment.key: field not allowed"),
        (
            rule("segment: s, rank: 1.5"),
            "flags.0.rules.0.rank: conflicting values 1.5 and int (mismatched types float and int)",
        ),
        (segment(""), r#"segments.0.match_type: incomplete value "ANY_MATCH_TYPE" | "ALL_MATCH_TYPE""#),
        (
            segment("match_type: NOPE"),
            r#"segments.0.match_type: conflicting values "NOPE" and "ANY_MATCH_TYPE" | "ALL_MATCH_TYPE""#,
        ),
        (
            flag("metadata: {a: {b: 1}}"),
            "flags.0.metadata.a: conflicting values {b:1} and string (mismatched types struct and string)",
        ),
        (
            flag("metadata: {a: null}"),
            "flags.0.metadata.a: conflicting values null and string (mismatched types null and string)",
        ),
        (
            variant("key: a, attachment: hello"),
            "flags.0.variants.0.attachment: conflicting values \"hello\" and {...} \
             (mismatched types string and struct)",
        ),
        (
            variant("key: a, attachment: 5"),
            "flags.0.variants.0.attachment: conflicting values 5 and {...} (mismatched types int and struct)",
        ),
        (flag("type: VARIANT_FLAG_TYPE, rollouts: []"), "flags.0.rollouts: field not allowed"),
        (
            rollout("segment: {key: s}, threshold: {percentage: 1}"),
            "flags.0.rollouts.0.threshold: field not allowed",
        ),
        (
            rollout("segment: {value: true}"),
            "flags.0.rollouts.0.segment: incomplete value {key:=~\"^[-_,A-Za-z0-9]+$\"} | {keys:[]}",
        ),
        (
            rollout("segment: null"),
            "flags.0.rollouts.0.segment: conflicting values null and #RolloutSegment \
             (mismatched types null and struct)",
        ),
        (
            rollout("segment: {key: \"a b\"}"),
            r#"flags.0.rollouts.0.segment.key: invalid value "a b" (out of bound =~"^[-_,A-Za-z0-9]+$")"#,
        ),
        (
            rollout("threshold: {percentage: \"50\"}"),
            "flags.0.rollouts.0.threshold.percentage: conflicting values \"50\" and float \
             (mismatched types string and float)",
        ),
        (
            rollout("threshold: {value: true}"),
            "flags.0.rollouts.0.threshold.percentage: incomplete value float | int",
        ),
        (rollout("segment: {key: s, keys: [s]}"), "flags.0.rollouts.0.segment.keys: field not allowed"),
        (rollout("rank: 1"), "flags.0.rollouts.0.rank: field not allowed"),
        (
            "namespace: \"a b\"".to_owned(),
            r#"namespace: invalid value "a b" (out of bound =~"^[-_,A-Za-z0-9]+$")"#,
        ),
        ("namespace: \"\"".to_owned(), r#"namespace: invalid value "" (out of bound =~"^[-_,A-Za-z0-9]+$")"#),
        ("namespace: {name: \"\"}".to_owned(), r#"namespace.name: invalid value "" (out of bound =~"^.+$")"#),
        ("namespace: {protected: true}".to_owned(), "namespace.protected: field not allowed"),
        (
            "flags:".to_owned(),
            "flags: conflicting values null and [...#Flag] (mismatched types null and list)",
        ),
        (
            flag("rules: null"),
            "flags.0.rules: conflicting values null and [...#Rule] (mismatched types null and list)",
        ),
        (
            segment("match_type: ALL_MATCH_TYPE, constraints: null"),
            "segments.0.constraints: conflicting values null and [...#Constraint] \
             (mismatched types null and list)",
        ),
        (
            flag("description: null"),
            "flags.0.description: conflicting values null and string (mismatched types null and string)",
        ),
        (
            flag("enabled: yes"),
            "flags.0.enabled: conflicting values \"yes\" and bool (mismatched types string and bool)",
        ),
        (
            flag("enabled: null"),
            "flags.0.enabled: conflicting values null and bool (mismatched types null and bool)",
        ),
        (
            "flags: [null]".to_owned(),
            "flags.0: conflicting values null and #Flag (mismatched types null and struct)",
        ),
        (
            "hello".to_owned(),
            "conflicting values \"hello\" and #Document (mismatched types string and struct)",
        ),
        ("- a".to_owned(), "conflicting values [\"a\"] and #Document (mismatched types list and struct)"),
    ] {
        assert_eq!(messages(&text), [message], "{text}");
    }
}

#[test]
fn every_operator_belongs_to_its_types() {
    let strings = "eq neq empty notempty prefix suffix isoneof isnotoneof contains notcontains";
    for (constraint_type, operators) in [
        ("STRING", strings),
        ("ENTITY_ID", strings),
        ("NUMBER", "eq neq present notpresent le lt lte gt gte isoneof isnotoneof"),
        ("BOOLEAN", "true false present notpresent"),
        ("DATETIME", "eq neq present notpresent le lt lte gt gte"),
    ] {
        for operator in format!("{strings} present notpresent le lt lte gt gte true false EQ x").split(' ') {
            let text = constraint(&format!(
                "type: {constraint_type}_COMPARISON_TYPE, property: p, operator: \"{operator}\""
            ));
            let accepted = operators.split(' ').any(|accepted| accepted == operator);
            assert_eq!(issues(&text).is_empty(), accepted, "{constraint_type} {operator}");
        }
    }
}

#[test]
fn issues_name_the_true_line() {
    let text = "# a comment\n\n# and another\nversion: \"1.4\"\n\nflags:\n- key: f\n\n  name: \"\"\n  enabled: 1\n- name: G\n";
    let places: Vec<_> =
        issues(text).into_iter().map(|issue| (issue.path, issue.line, issue.column)).collect();
    assert_eq!(
        places,
        [
            ("flags.0.name".to_owned(), 9, 9),
            ("flags.0.enabled".to_owned(), 10, 12),
            ("flags.1.key".to_owned(), 11, 3),
        ]
    );
    let json = "{\n  \"flags\": [\n    {\"key\": \"f\", \"name\": 5}\n  ]\n}";
    let issues = validate_features(json.as_bytes(), Encoding::Json, "a.json").unwrap();
    assert_eq!((issues[0].line, issues[0].column), (3, 26));
    assert_eq!(
        issues[0].to_string(),
        "flags.0.name: conflicting values 5 and string (mismatched types int and string) (a.json 3)"
    );
}

#[test]
fn checking_stops_after_the_first_document_with_issues() {
    let text = "flags: [{key: a}]\n---\nextra: 1\n";
    assert_eq!(messages(text), [r#"flags.0.name: incomplete value =~"^.+$""#]);
}

#[test]
fn what_is_no_document_is_an_error_and_no_issue() {
    for (text, encoding) in [
        ("flags: [", Encoding::Yaml),
        ("flags: [{key: f, name: F1, name: F2}]", Encoding::Yaml),
        ("{\"flags\": []} {\"flags\": []}", Encoding::Json),
        ("{", Encoding::Json),
    ] {
        assert!(validate_features(text.as_bytes(), encoding, "x").is_err(), "{text}");
    }
}

fn load(files: &[(&str, &str)]) -> Snapshot {
    load_features(files).unwrap_or_else(|error| panic!("{error}"))
}

fn only(namespace: &Namespace) -> &Flag {
    assert_eq!(namespace.flags.len(), 1);
    &namespace.flags[0]
}

#[test]
fn no_files_make_an_empty_default_namespace() {
    let snapshot = load(&[]);
    assert_eq!(snapshot.namespaces.len(), 1);
    let namespace = &snapshot.namespaces[0];
    assert_eq!((namespace.key.as_str(), namespace.name.as_str()), ("default", "Default"));
    assert_eq!(load(&[("a.yml", ""), ("b.json", ""), ("c", "{}"), ("d.yaml", "---\n")]), snapshot);
}

#[test]
fn documents_of_a_namespace_add_up_and_later_ones_replace() {
    let snapshot = load(&[
        (
            "a.yml",
            "namespace: {key: n, name: First, description: d}\n\
             flags:\n- {key: z, name: Z}\n- {key: f, name: old, rules: [{segment: gone}]}\n\
             segments: [{key: s, name: old, match_type: ALL_MATCH_TYPE}]\n\
             ---\nnamespace: {name: Renamed}\n",
        ),
        (
            "b.json",
            "{\"namespace\": {\"key\": \"n\", \"name\": \"Second\"}, \"flags\": [{\"key\": \"f\", \"name\": \"new\"}], \
              \"segments\": [{\"key\": \"s\", \"name\": \"new\", \"match_type\": \"ANY_MATCH_TYPE\"}]}",
        ),
    ]);
    assert_eq!(snapshot.namespaces.len(), 2);
    assert_eq!(snapshot.namespace("default").unwrap().name, "Default");
    let namespace = snapshot.namespace("n").unwrap();
    assert_eq!((namespace.name.as_str(), namespace.description.as_str()), ("First", "d"));
    let keys: Vec<_> = namespace.flags.iter().map(|flag| (flag.key.as_str(), flag.name.as_str())).collect();
    assert_eq!(keys, [("f", "new"), ("z", "Z")]);
    assert_eq!(namespace.segments.len(), 1);
    assert_eq!(namespace.segments[0].name, "new");
}

#[test]
fn rules_may_use_segments_of_later_documents() {
    let snapshot = load(&[
        ("a.yml", &rule("segment: {keys: [s, s, t], operator: AND_SEGMENT_OPERATOR}, rank: 7")),
        ("b.yml", &segment("match_type: ALL_MATCH_TYPE")),
        ("c.yml", "segments: [{key: t, name: T, match_type: ANY_MATCH_TYPE}]"),
    ]);
    let rule = &only(snapshot.namespace("default").unwrap()).rules[0];
    assert_eq!((rule.rank, rule.operator), (1, SegmentOperator::And));
    assert_eq!(rule.segments, ["s", "t"]);
}

#[test]
fn missing_references_are_errors_with_a_place() {
    for (text, message) in [
        (rule("segment: nope"), "flag default/f rule 1 references unknown segment \"nope\""),
        (
            flag("rules: [{segment: {}}, {segment: {keys: [nope]}}]"),
            "flag default/f rule 2 references unknown segment \"nope\"",
        ),
        (rollout("segment: {key: nope}"), "flag default/f rule 1 references unknown segment \"nope\""),
        (
            rule("segment: {}, distributions: [{variant: nope, rollout: 1}]"),
            "flag default/f rule 1 references unknown variant \"nope\"",
        ),
        (
            format!("namespace: n\n{}", rule("segment: s").replace("version: \"1.4\"\n", "")),
            "flag n/f rule 1 references unknown segment \"s\"",
        ),
    ] {
        let other = segment("match_type: ALL_MATCH_TYPE");
        let error = load_features(&[("dir/a.yml", text), ("b.yml", other)]).unwrap_err();
        assert_eq!(error.to_string(), message);
        match error {
            LoadError::UnknownSegment { file, place, .. } | LoadError::UnknownVariant { file, place, .. } => {
                assert_eq!((file.as_str(), place.line), ("dir/a.yml", 3));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rollouts_keep_their_place_even_if_they_do_nothing() {
    let text = flag(
        "type: BOOLEAN_FLAG_TYPE, rollouts: [{description: d}, {segment: {key: s, operator: AND_SEGMENT_OPERATOR}}, \
         {threshold: {percentage: 33.333333333, value: true}}]",
    );
    let snapshot = load(&[("a.yml", &text), ("b.yml", &segment("match_type: ALL_MATCH_TYPE"))]);
    let rollouts = &only(snapshot.namespace("default").unwrap()).rollouts;
    assert_eq!(rollouts.iter().map(|rollout| rollout.rank).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((rollouts[0].description.as_str(), &rollouts[0].rule), ("d", &RolloutRule::None));
    assert_eq!(
        rollouts[1].rule,
        RolloutRule::Segment { segments: vec!["s".into()], operator: SegmentOperator::And, value: false }
    );
    assert_eq!(rollouts[2].rule, RolloutRule::Threshold { percentage: 33.333_332, value: true });
}

#[test]
fn attachments_become_text_and_missing_ones_nothing() {
    let text = flag(
        "variants: [{key: a, attachment: {b: [1.0, 0x1F], a: <}}, {key: b}, {key: c, attachment: null, default: true}, \
         {key: d, default: true}, {key: d, name: second}]",
    );
    let snapshot = load(&[("a.yml", &text)]);
    let flag = only(snapshot.namespace("default").unwrap());
    let attachments: Vec<_> = flag.variants.iter().map(|variant| variant.attachment.as_str()).collect();
    assert_eq!(attachments, [r#"{"a":"\u003c","b":[1,31]}"#, "", "", "", ""]);
    assert_eq!(flag.default_variant.as_deref(), Some("d"));
}

#[test]
fn le_is_read_as_lt_with_a_warning() {
    let text = constraint("type: NUMBER_COMPARISON_TYPE, property: age, operator: le, value: \"5\"");
    let features = load_features_with_warnings(&[("a.yml", text)]).unwrap();
    let segments = &features.snapshot.namespace("default").unwrap().segments;
    assert_eq!(segments[0].constraints[0].operator, "lt");
    assert_eq!(
        features.warnings,
        ["a.yml: segment \"s\" property \"age\": operator \"le\" is read as \"lt\""]
    );
}

#[test]
fn what_passes_the_schema_may_still_not_load() {
    for text in [
        flag("metadata: {a: 2006-01-02}"),
        rule("segment: {}, rank: -1"),
        variant("key: a, attachment: {1: x}"),
    ] {
        assert_eq!(messages(&text), Vec::<String>::new());
        assert!(matches!(load_features(&[("a.yml", &text)]), Err(LoadError::Document { .. })), "{text}");
    }
}

#[test]
fn one_bad_file_fails_the_load() {
    let good = segment("match_type: ALL_MATCH_TYPE");
    for (name, text, message) in [
        ("b.toml", "", "unexpected extension: \".toml\""),
        ("d/b.yml", "extra: 1", "extra: field not allowed (b.yml 1)"),
        (
            "b.json",
            "{} {}",
            "b.json: unmarshalling document: json: line 1, column 4: a feature file holds one JSON object",
        ),
    ] {
        let error = load_features(&[("a.yml", good.as_str()), (name, text)]).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

/// Import takes more than feature files may hold: scalar attachments, nested metadata.
#[test]
fn an_export_is_a_feature_file_as_far_as_the_schema_reaches() {
    let text = include_str!("data/documents/all-namespaces.yaml");
    let mut refused = Vec::new();
    for document in text.split("---\n") {
        match load_features(&[("features.yml", document)]) {
            Ok(snapshot) => assert!(snapshot.namespaces.len() <= 2),
            Err(LoadError::Invalid { issues, .. }) => {
                refused.extend(issues.into_iter().map(|issue| issue.message))
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(
        refused,
        [
            r#"flags.0.metadata.tags: conflicting values ["a","b"] and string (mismatched types list and string)"#,
            r#"flags.0.variants.2.attachment: conflicting values "text" and {...} (mismatched types string and struct)"#,
            r#"flags.0.metadata.deep: conflicting values {a:[1,null]} and string (mismatched types struct and string)"#,
            r#"flags.0.variants.2.attachment: conflicting values "str" and {...} (mismatched types string and struct)"#,
        ]
    );
}
