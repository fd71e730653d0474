//! How documents are read for import: the tables of the document specification, row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_model::document::{
    DocumentError, Encoding, ImportDocument, NamespaceRef, Place, Version, read_import,
    read_import_until_error,
};
use flipt_model::{Flag, FlagType, MatchType, RolloutRule, SegmentOperator};
use serde_json::json;

fn yaml(text: &str) -> Result<Vec<ImportDocument>, DocumentError> {
    read_import(text.as_bytes(), Encoding::Yaml)
}

fn json(text: &str) -> Result<Vec<ImportDocument>, DocumentError> {
    read_import(text.as_bytes(), Encoding::Json)
}

fn document(text: &str) -> ImportDocument {
    let mut documents = yaml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn flag(text: &str) -> Flag {
    document(text).flags.remove(0)
}

fn error(text: &str) -> String {
    yaml(text).expect_err(text).to_string()
}

fn place(text: &str) -> (usize, usize) {
    let Place { line, column } = yaml(text).expect_err(text).place();
    (line, column)
}

#[test]
fn the_extension_selects_the_encoding() {
    for (path, encoding) in [
        ("a.yml", Encoding::Yaml),
        ("dir.json/a.yaml", Encoding::Yaml),
        ("dir.d/a", Encoding::Yaml),
        ("a.json", Encoding::Json),
    ] {
        assert_eq!(Encoding::from_extension(path), Ok(encoding), "{path}");
    }
    for path in ["a.YML", "a.toml", "a.yml.bak"] {
        let text = Encoding::from_extension(path).unwrap_err().to_string();
        let extension = &path[path.rfind('.').unwrap()..];
        assert_eq!(
            text,
            format!("unexpected extension: {extension:?}, expected one of \".yml\", \".yaml\", \".json\"")
        );
    }
}

#[test]
fn nothing_is_no_document() {
    for text in ["", "\n\n", "# comment\n", "# a\n# b"] {
        assert_eq!(yaml(text), Ok(vec![]), "{text:?}");
    }
    for text in ["", " \n", "# comment", "# comment\n"] {
        assert_eq!(json(text), Ok(vec![]), "{text:?}");
    }
}

#[test]
fn an_empty_document_is_one_for_the_default_namespace() {
    for text in ["---\n", "---", "--- # comment\n", "null", "{}"] {
        let document = document(text);
        assert_eq!(document, ImportDocument::default(), "{text:?}");
        assert_eq!(document.namespace_key(), "default");
    }
    assert_eq!(yaml("---\n---\nflags: [{key: d}]\n").unwrap().len(), 2);
}

#[test]
fn versions_speak_for_the_whole_file() {
    assert_eq!(document("version: 1.4").version, Version::V1_4);
    assert_eq!(document("flags: []").version, Version::V1_4);
    assert_eq!(document("version: \" 1.3\"").version, Version::V1_3);
    let documents = yaml("version: \"1.1\"\n---\nversion: \"9\"\n").unwrap();
    assert_eq!(documents[1].version, Version::V1_1);
    assert_eq!(error("version: 1.5"), "unsupported version: 1.5");
    assert!(error("version: abc").starts_with("parsing document version: "));
    assert_eq!(
        error("version: \"1.0\"\n---\nflags: [{key: f, rollouts: [{threshold: {}}]}]"),
        "flag.rollouts is supported in version >=1.1, found 1.0"
    );
}

#[test]
fn ungated_features_work_in_every_version() {
    let document = document(
        "version: \"1.0\"\nnamespace: {key: n, name: N}\nflags:\n- key: f\n  metadata: {a: 1}\n  rules:\n  \
         - {segment: {keys: [a, b], operator: AND_SEGMENT_OPERATOR}, rank: 3}\n",
    );
    assert_eq!(document.flags[0].rules[0].operator, SegmentOperator::And);
    assert_eq!(document.flags[0].rules[0].rank, 3);
}

#[test]
fn ranks_are_positions_unless_given() {
    let ranks = |text: &str| flag(text).rules.iter().map(|rule| rule.rank).collect::<Vec<_>>();
    assert_eq!(
        ranks("flags: [{key: f, rules: [{segment: a}, {segment: b, rank: 0}, null, {segment: c}]}]"),
        [1, 2, 4]
    );
    assert_eq!(
        ranks("version: 1.0\nflags: [{key: f, rules: [{segment: a}, {segment: b, rank: 2}]}]"),
        [0, 2]
    );
    let flag = flag("flags: [{key: f, rules: [{segment: a, rank: 7}, {segment: b, rank: 3}]}]");
    assert_eq!(
        flag.rules.iter().map(|rule| (rule.rank, rule.segments[0].as_str())).collect::<Vec<_>>(),
        [(3, "b"), (7, "a")]
    );
}

#[test]
fn bad_ranks_are_refused() {
    for rank in ["-1", "x", "1.5", "\"1\"", "true", "[]", "99999999999"] {
        let text = format!("flags: [{{key: f, rules: [{{segment: a, rank: {rank}}}]}}]");
        assert!(error(&text).contains("flags.0.rules.0.rank: "), "{rank}");
    }
    assert!(json("{\"flags\": [{\"rules\": [{\"segment\": \"a\", \"rank\": 1.0}]}]}").is_err());
}

#[test]
fn strings_are_taken_with_their_source_text() {
    for (source, text) in [
        ("1.50", "1.50"),
        ("true", "true"),
        ("2006-01-02", "2006-01-02"),
        ("yes", "yes"),
        ("0x1F", "0x1F"),
        ("null", ""),
        ("~", ""),
        ("", ""),
        ("\"null\"", "null"),
        ("!!str 5", "5"),
        ("!!binary aGk=", "hi"),
        ("'a ''b'''", "a 'b'"),
        ("\"\\x41\\u00e9\\U0001F600\\n\"", "Aé😀\n"),
        ("|\n    two\n    lines\n", "two\nlines\n"),
        (">-\n    two\n    lines\n", "two lines"),
        ("a b\n    c", "a b c"),
    ] {
        assert_eq!(flag(&format!("flags:\n- description: {source}\n")).description, text, "{source}");
    }
    for source in ["[a]", "{a: b}"] {
        let text = format!("flags:\n- description: {source}\n");
        assert!(
            error(&text)
                .starts_with("unmarshalling document: line 2, column 16: flags.0.description: expected text")
        );
    }
}

#[test]
fn booleans_come_in_new_and_old_words_but_not_in_quotes() {
    for (source, value) in [
        ("true", true),
        ("True", true),
        ("TRUE", true),
        ("yes", true),
        ("on", true),
        ("y", true),
        ("false", false),
        ("False", false),
        ("no", false),
        ("off", false),
        ("n", false),
        ("~", false),
        ("", false),
    ] {
        assert_eq!(flag(&format!("flags:\n- enabled: {source}\n")).enabled, value, "{source}");
    }
    for source in ["\"true\"", "'yes'", "1", "0", "Yes", "oN", "text", "[]", "2006-01-02"] {
        let text = format!("flags:\n- enabled: {source}\n");
        assert!(error(&text).contains("flags.0.enabled: expected true or false"), "{source}");
    }
}

#[test]
fn percentages_are_numbers_rounded_to_32_bits() {
    let read = |source: &str| {
        let text = format!(
            "flags: [{{key: f, type: BOOLEAN_FLAG_TYPE, rollouts: [{{threshold: {{percentage: {source}}}}}]}}]"
        );
        yaml(&text).map(|documents| match documents[0].flags[0].rollouts[0].rule {
            RolloutRule::Threshold { percentage, .. } => percentage,
            ref other => panic!("{other:?}"),
        })
    };
    for (source, percentage) in
        [("33.333333333", 33.333_332), ("50", 50.0), ("0x10", 16.0), ("1e1", 10.0), ("~", 0.0)]
    {
        assert_eq!(read(source), Ok(percentage), "{source}");
    }
    for source in ["\"50\"", "half", ".nan", ".inf", "1e300", "true", "[]"] {
        assert!(read(source).is_err(), "{source}");
    }
}

#[test]
fn a_rule_names_one_segment_or_several() {
    let rule = |segment: &str| {
        let rule = flag(&format!("flags: [{{key: f, rules: [{{segment: {segment}}}]}}]")).rules.remove(0);
        (rule.segments, rule.operator)
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(rule("5"), (keys(&["5"]), SegmentOperator::Or));
    assert_eq!(rule("{keys: [a], operator: AND_SEGMENT_OPERATOR}"), (keys(&["a"]), SegmentOperator::Or));
    assert_eq!(
        rule("{keys: [a, b, a], operator: AND_SEGMENT_OPERATOR}"),
        (keys(&["a", "b"]), SegmentOperator::And)
    );
    assert_eq!(rule("{keys: [a, 1]}"), (keys(&["a", "1"]), SegmentOperator::Or));
    let bad = |segment: &str| error(&format!("flags: [{{key: f, rules: [{{segment: a}}, {{{segment}}}]}}]"));
    assert_eq!(bad("segment: [a]"), "unmarshalling document: failed to unmarshal to string or segmentKeys");
    for segment in
        ["", "segment: null", "segment: ''", "segment: {}", "segment: {key: a}", "segment: {keys: []}"]
    {
        assert_eq!(bad(segment), "creating rule: flag \"default/f\" rule 1 has no segment", "{segment}");
    }
    assert!(
        bad("segment: {keys: [a, b], operator: XOR}")
            .contains("\"XOR\" is not one of OR_SEGMENT_OPERATOR, AND_SEGMENT_OPERATOR")
    );
}

#[test]
fn a_namespace_is_a_key_or_an_object() {
    let named = |key: &str, name: &str, description: &str| {
        Some(NamespaceRef { key: key.into(), name: name.into(), description: description.into() })
    };
    for (source, namespace, key) in [
        ("staging", named("staging", "staging", ""), "staging"),
        ("12", named("12", "12", ""), "12"),
        ("null", None, "default"),
        ("''", named("", "", ""), "default"),
        ("{}", named("", "", ""), "default"),
        ("{key: a, name: A, description: d, protected: true}", named("a", "A", "d"), "a"),
    ] {
        let document = document(&format!("namespace: {source}"));
        assert_eq!(document.namespace, namespace, "{source}");
        assert_eq!(document.namespace_key(), key);
    }
    assert_eq!(error("namespace: [a]"), "unmarshalling document: failed to unmarshal to string or namespace");
    assert_eq!(
        json("{\"namespace\": 12}").unwrap_err().to_string(),
        "unmarshalling document: failed to unmarshal to string or namespace"
    );
}

#[test]
fn null_elements_are_skipped_except_rollouts() {
    let document = document(
        "flags: [null, {key: f, variants: [null, {key: a}], rules: [{segment: s, distributions: [null, {variant: a}]}]}]\n\
         segments: [~, {key: s, constraints: [null, {property: p}]}]\n",
    );
    let flag = &document.flags[0];
    assert_eq!((flag.variants.len(), flag.rules[0].distributions.len()), (1, 1));
    assert_eq!(document.segments[0].constraints.len(), 1);
    assert!(
        error("flags: [{key: f, rollouts: [null]}]")
            .contains("flags.0.rollouts.0: a rollout must not be null")
    );
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let document = document(
        "flags:\n- &base\n  key: g\n  name: G\n  enabled: true\n- <<: *base\n  key: h\n- key: i\n  <<: [{name: I}, *base]\n\
         - {<<: {<<: *base, name: J}, key: j}\n",
    );
    let flags: Vec<_> =
        document.flags.iter().map(|flag| (flag.key.as_str(), flag.name.as_str(), flag.enabled)).collect();
    assert_eq!(flags, [("g", "G", true), ("h", "G", true), ("i", "I", true), ("j", "J", true)]);
    assert!(error("flags: [{<<: text}]").contains("map merge requires map or sequence of maps as the value"));
    assert!(error("flags: [{<<: [a]}]").contains("map merge requires"));
    assert!(error("flags: [*missing]").starts_with("unmarshalling document: yaml: "));
    assert!(error("flags: &a [*a]").contains("anchor value contains itself"));
    // In quotes it is a key like any other.
    assert_eq!(flag("flags: [{key: f, \"<<\": 5}]").key, "f");
}

#[test]
fn duplicate_keys_are_refused_with_both_lines() {
    let text = "flags:\n- key: a\n  name: x\n  key: b\n";
    assert_eq!(
        error(text),
        "unmarshalling document: line 4, column 3: flags.0: mapping key \"key\" already defined at line 2"
    );
    for text in [
        "a: 1\na: 1",
        "flags: [{<<: {}, <<: {}}]",
        "flags: [{variants: [{attachment: {a: 1, a: 1}}]}]",
        "? [a]\n: 1\n? [b]\n: 2",
    ] {
        assert!(error(text).contains("already defined"), "{text}");
    }
}

#[test]
fn unknown_keys_are_ignored_and_case_counts() {
    assert_eq!(document("flagz: [1]\nextra: {a: b}\nFlags: [{key: a}]\n1: x\n"), ImportDocument::default());
    assert!(error("? [a]\n: b\n").contains("expected text as key"));
}

#[test]
fn json_ignores_the_case_of_keys_and_takes_the_last_of_several() {
    let documents = json(
        "# comment\n{\"FLAGS\": [{\"Key\": \"a\", \"key\": \"b\", \"extra\": 1}]}\n {\"namespace\": \"n\"}{}",
    )
    .unwrap();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0].flags[0].key, "b");
    assert_eq!(documents[1].namespace_key(), "n");
}

#[test]
fn json_is_strict_about_types_and_the_top() {
    for (text, message) in [
        (
            "{\"flags\": [{\"key\": 5}]}",
            "unmarshalling document: line 1, column 20: flags.0.key: expected text, found 5",
        ),
        (
            "{\"flags\": [{\"enabled\": \"true\"}]}",
            "unmarshalling document: line 1, column 24: flags.0.enabled: expected true or false, found text \"true\"",
        ),
        ("[]", "unmarshalling document: line 1, column 1: document: expected a map, found a list"),
        ("5", "unmarshalling document: line 1, column 1: document: expected a map, found 5"),
        ("{\"flags\": [", "unmarshalling document: json: line 1, column 12: unexpected end of JSON input"),
        (
            "{}\n x",
            "unmarshalling document: json: line 2, column 2: invalid character at the beginning of a value",
        ),
        (
            " # comment\n{}",
            "unmarshalling document: json: line 1, column 2: invalid character at the beginning of a value",
        ),
        ("{\"a\" 1}", "unmarshalling document: json: line 1, column 6: expected `:` after an object key"),
        (
            "{\"a\": 1 2}",
            "unmarshalling document: json: line 1, column 9: expected `,` or `}` after an object member",
        ),
        (
            "{\"a\": [1 2]}",
            "unmarshalling document: json: line 1, column 10: expected `,` or `]` after an array element",
        ),
        ("{a: 1}", "unmarshalling document: json: line 1, column 2: expected a string"),
        (
            "{\"a\": 01}",
            "unmarshalling document: json: line 1, column 8: expected `,` or `}` after an object member",
        ),
        ("{\"a\": 1e999}", "unmarshalling document: json: line 1, column 7: number out of range"),
        ("{\"a\": -}", "unmarshalling document: json: line 1, column 7: malformed number"),
        ("{\"a\": \"\\x\"}", "unmarshalling document: json: line 1, column 7: malformed string"),
    ] {
        assert_eq!(json(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn yaml_holds_json_and_so_does_standard_input() {
    let text = "{\"flags\": [{\"key\": \"b\", \"name\": \"B\"}]}";
    assert_eq!(yaml(text), json(text));
}

#[test]
fn documents_before_an_error_can_still_be_had() {
    let (documents, error) = read_import_until_error(
        b"namespace: a\n---\nnamespace: b\n---\n- x\n---\nnamespace: c\n",
        Encoding::Yaml,
    );
    assert_eq!(documents.iter().map(ImportDocument::namespace_key).collect::<Vec<_>>(), ["a", "b"]);
    let error = error.unwrap();
    assert_eq!(error.place(), Place { line: 5, column: 1 });
    assert_eq!(
        error.to_string(),
        "unmarshalling document: line 5, column 1: document: expected a map, found a list"
    );
}

#[test]
fn attachments_of_yaml_values_as_computed() {
    let attachment = |source: &str| {
        flag(&format!("flags:\n- variants:\n  - attachment: {source}\n")).variants.remove(0).attachment
    };
    for (source, text) in [
        ("1.0", "1"),
        ("1e3", "1000"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("0o17", "15"),
        ("017", "15"),
        ("1_000", "1000"),
        ("9223372036854775807", "9223372036854775807"),
        ("18446744073709551615", "18446744073709551615"),
        ("123456789012345678901", "123456789012345680000"),
        ("2006-01-02", "\"2006-01-02T00:00:00Z\""),
        ("2006-01-02 15:04:05", "\"2006-01-02T15:04:05Z\""),
        ("\"2006-01-02\"", "\"2006-01-02\""),
        ("yes", "\"yes\""),
        ("y", "\"y\""),
        ("on", "\"on\""),
        ("1:30", "\"1:30\""),
        ("NaN", "\"NaN\""),
        ("=", "\"=\""),
        ("!!binary aGk=", "\"hi\""),
        ("!!float 1", "1"),
        ("!!str 1", "\"1\""),
        ("~", ""),
        ("", ""),
        ("true", "true"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("'{\"a\": 1}'", "\"{\\\"a\\\": 1}\""),
        ("[~, []]", "[null,[]]"),
        ("{z: 1e3, a: [.5, 1_000], '<': '&'}", "{\"\\u003c\":\"\\u0026\",\"a\":[0.5,1000],\"z\":1000}"),
        ("{a: {b: 1}, <<: {c: 2}}", "{\"a\":{\"b\":1},\"c\":2}"),
        ("''", "\"\""),
    ] {
        assert_eq!(attachment(source), text, "{source}");
    }
    for (source, detail) in [
        ("{1: x}", "json: unsupported type: map[interface {}]interface {}"),
        ("{a: {true: x}}", "json: unsupported type: map[interface {}]interface {}"),
        ("{[a]: x}", "json: unsupported type: map[interface {}]interface {}"),
        ("[.inf]", "json: unsupported value: +Inf"),
        ("-.inf", "json: unsupported value: -Inf"),
        (".nan", "json: unsupported value: NaN"),
    ] {
        let text = format!("flags:\n- variants:\n  - attachment: {source}\n");
        assert_eq!(error(&text), format!("marshalling attachment: {detail}"), "{source}");
    }
    for source in ["!!int x", "!!binary '*'", "!custom x", "!!bool 5"] {
        assert!(
            error(&format!("flags:\n- variants:\n  - attachment: {source}\n")).contains("cannot decode"),
            "{source}"
        );
    }
}

#[test]
fn attachments_of_json_values_are_floats() {
    let text = "{\"flags\": [{\"variants\": [{\"attachment\": {\"b\": 9007199254740993, \"a\": [1.0, null, \"\\ud800\"]}}, \
                {\"attachment\": null}]}]}";
    let variants = json(text).unwrap().remove(0).flags.remove(0).variants;
    assert_eq!(variants[0].attachment, "{\"a\":[1,null,\"\u{fffd}\"],\"b\":9007199254740992}");
    assert_eq!(variants[1].attachment, "");
}

#[test]
fn metadata_is_json_with_64_bit_floats() {
    let flag = flag(
        "flags:\n- metadata: {1: one, b: 1.0, c: 9007199254740993, d: [1, {2: x}], e: ~, f: yes, g: 0.5, h: '2006-01-02', \
         i: -0.0, j: 1e300}\n",
    );
    assert_eq!(
        serde_json::to_value(&flag.metadata).unwrap(),
        json!({"1": "one", "b": 1, "c": 9007199254740992_i64, "d": [1, {"2": "x"}], "e": null, "f": "yes", "g": 0.5,
               "h": "2006-01-02", "i": -0.0, "j": 1e300})
    );
    for (source, detail) in [
        ("{a: 2006-01-02}", "flags.0.metadata.a: 2006-01-02 is a date; metadata needs it in quotes"),
        ("{a: .inf}", "flags.0.metadata.a: .inf is not a metadata value"),
        ("[a]", "flags.0.metadata: expected a map, found a list"),
        ("text", "flags.0.metadata: expected a map, found text \"text\""),
        ("{[a]: b}", "flags.0.metadata: expected text as key, found a list"),
    ] {
        assert!(error(&format!("flags:\n- metadata: {source}\n")).ends_with(detail), "{source}");
    }
}

#[test]
fn variants_defaults_and_distributions() {
    let flag = flag(
        "flags:\n- key: f\n  type: VARIANT_FLAG_TYPE\n  variants: [{key: a, default: true}, {key: b, default: true}, {key: c}]\n  \
         rules: [{segment: s, distributions: [{variant: a, rollout: 33.33}, {variant: c}]}]\n",
    );
    assert_eq!(flag.flag_type, FlagType::Variant);
    assert_eq!(flag.default_variant.as_deref(), Some("b"));
    let distributions: Vec<_> =
        flag.rules[0].distributions.iter().map(|share| (share.variant.as_str(), share.rollout)).collect();
    assert_eq!(distributions, [("a", 33.33), ("c", 0.0)]);
    let text = "flags:\n- key: f\n  rules:\n  - segment: s\n    distributions:\n    - variant: nope\n";
    assert_eq!(error(text), "finding variant: nope; flag: f");
    assert_eq!(place(text), (6, 7));
}

#[test]
fn constraints_are_normalised_and_keep_their_description() {
    let segment = document(
        "segments:\n- key: s\n  match_type: ANY_MATCH_TYPE\n  constraints:\n  \
         - {type: STRING_COMPARISON_TYPE, property: p, operator: EQ, value: 1.50, description: why}\n  \
         - {type: BOOLEAN_COMPARISON_TYPE, property: p, operator: \"TRUE\", value: dropped}\n  - {property: p}\n",
    )
    .segments
    .remove(0);
    assert_eq!(segment.match_type, MatchType::Any);
    let kept: Vec<_> = segment
        .constraints
        .iter()
        .map(|item| (item.operator.as_str(), item.value.as_str(), item.description.as_str()))
        .collect();
    assert_eq!(kept, [("eq", "1.50", "why"), ("true", "", ""), ("", "", "")]);
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    for (text, message) in [
        (
            "flags: [{type: NOPE}]",
            "flags.0.type: \"NOPE\" is not one of VARIANT_FLAG_TYPE, BOOLEAN_FLAG_TYPE",
        ),
        (
            "segments: [{match_type: NOPE}]",
            "segments.0.match_type: \"NOPE\" is not one of ALL_MATCH_TYPE, ANY_MATCH_TYPE",
        ),
        (
            "flags: [{type: BOOLEAN_FLAG_TYPE, rollouts: [{segment: {keys: [a, b], operator: NOPE}}]}]",
            "flags.0.rollouts.0.segment.operator: \"NOPE\" is not one of OR_SEGMENT_OPERATOR, AND_SEGMENT_OPERATOR",
        ),
    ] {
        assert!(error(text).ends_with(message), "{text}: {}", error(text));
    }
    assert!(
        error("segments: [{constraints: [{type: NOPE}]}]")
            .contains("\"NOPE\" is not one of UNKNOWN_COMPARISON_TYPE, ")
    );
}

#[test]
fn rollouts_are_thresholds_or_segments() {
    let flag = flag(
        "flags:\n- key: f\n  type: BOOLEAN_FLAG_TYPE\n  rollouts:\n  - {description: d, threshold: {percentage: 50, value: true}}\n  \
         - segment: {key: a, operator: AND_SEGMENT_OPERATOR}\n  - segment: {keys: [a, b, a], operator: AND_SEGMENT_OPERATOR, value: yes}\n",
    );
    assert_eq!(flag.rollouts.iter().map(|rollout| rollout.rank).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(flag.rollouts[0].description, "d");
    assert_eq!(flag.rollouts[0].rule, RolloutRule::Threshold { percentage: 50.0, value: true });
    let segments = |keys: &[&str], operator, value| RolloutRule::Segment {
        segments: keys.iter().map(|key| (*key).to_owned()).collect(),
        operator,
        value,
    };
    assert_eq!(flag.rollouts[1].rule, segments(&["a"], SegmentOperator::Or, false));
    assert_eq!(flag.rollouts[2].rule, segments(&["a", "b"], SegmentOperator::And, true));
    let bad = |rollout: &str| {
        error(&format!("namespace: n\nflags: [{{key: f, rollouts: [{{threshold: {{}}}}, {{{rollout}}}]}}]"))
    };
    assert_eq!(
        bad("segment: {key: a}, threshold: {}"),
        "rollout \"n/f/1\" cannot have both segment and percentage rule"
    );
    assert_eq!(
        bad("segment: {key: a, keys: [a]}"),
        "rollout n/f/1 cannot have both segment.keys and segment.key"
    );
    assert_eq!(bad("description: d"), "creating rollout: rollout rule is missing");
}

#[test]
fn errors_say_where() {
    for (text, line, column) in [
        ("flags: [\n", 2, 1),
        ("- a", 1, 1),
        ("a: b: c", 1, 5),
        ("version: \"9\"", 1, 10),
        ("namespace: [a]", 1, 12),
        ("version: \"1.0\"\nflags:\n- key: a\n  type: BOOLEAN_FLAG_TYPE\n", 4, 9),
        ("version: \"1.2\"\nflags:\n- variants:\n  - default: true\n", 4, 5),
        ("flags:\n- rules:\n  - rank: 1\n", 3, 5),
        ("flags:\n- rollouts:\n  - description: d\n", 3, 5),
        ("flags:\n- variants:\n  - attachment:\n      a: .inf\n", 4, 10),
    ] {
        assert_eq!(place(text), (line, column), "{text}");
    }
}

#[test]
fn text_encodings() {
    let plain = yaml("flags: [{key: ä}]").unwrap();
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend("flags: [{key: ä}]".as_bytes());
    assert_eq!(read_import(&marked, Encoding::Yaml), Ok(plain.clone()));
    for little in [true, false] {
        let units = std::iter::once(0xfeff).chain("flags: [{key: ä}]".encode_utf16());
        let bytes: Vec<u8> = units
            .flat_map(|unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
            .collect();
        assert_eq!(read_import(&bytes, Encoding::Yaml), Ok(plain.clone()));
    }
    let error = read_import(b"flags:\n- key: \xff\n", Encoding::Yaml).unwrap_err();
    assert_eq!(error.to_string(), "unmarshalling document: yaml: line 2, column 8: invalid UTF-8");
    assert_eq!(
        read_import(b"{\"flags\": [{\"key\": \"\xff\"}]}", Encoding::Json).unwrap()[0].flags[0].key,
        "\u{fffd}"
    );
    assert!(self::error("flags: [{key: \u{1}}]").contains("control characters are not allowed"));
}

#[test]
fn windows_line_ends_read_like_others() {
    let text = "flags:\n- key: f\n  description: |\n    a\n    b\n  name: 'x\n    y'\n";
    assert_eq!(yaml(&text.replace('\n', "\r\n")), yaml(text));
}

#[test]
fn alias_bombs_and_deep_nesting_are_refused() {
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(error(&bomb).contains("document contains excessive aliasing"));
    for deep in ["[".repeat(5_000), "{a: ".repeat(5_000), "- ".repeat(5_000), "? ".repeat(5_000)] {
        assert!(yaml(&deep).is_err());
    }
    let nested = (0..500).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    assert!(error(&nested).contains("more than 128 levels"));
    assert!(
        json(&format!("{{\"a\": {}", "[".repeat(5_000))).unwrap_err().to_string().contains("too many levels")
    );
    let chain: String = (1..100).map(|level| format!("a{level}: &a{level} [[*a{}]]\n", level - 1)).collect();
    assert!(error(&format!("a0: &a0 x\n{chain}")).contains("levels"));
}

#[test]
fn honest_use_of_aliases_is_not_a_bomb() {
    let mut text = "flags:\n- key: f0\n  variants: &v [{key: a, attachment: {x: [1, 2, 3]}}]\n".to_owned();
    for number in 1..2_000 {
        text.push_str(&format!("- {{key: f{number}, variants: *v}}\n"));
    }
    assert_eq!(document(&text).flags.len(), 2_000);
}
