//! How documents are written: styles, folding, numbers and orders, row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use flipt_model::document::{Encoding, read_import, sort_by_key, write};
use flipt_model::{
    Constraint, Distribution, Flag, FlagType, Namespace, Rollout, RolloutRule, Rule, Segment,
    SegmentOperator, Variant,
};
use serde_json::{Value, json};

fn namespace(flags: Vec<Flag>) -> Namespace {
    Namespace { key: "n".into(), flags, ..Namespace::default() }
}

fn variant(key: &str, attachment: &str) -> Variant {
    Variant { key: key.into(), attachment: attachment.into(), ..Variant::default() }
}

fn yaml(namespace: Namespace) -> String {
    write(&[namespace], Encoding::Yaml).text
}

fn json_text(namespace: Namespace) -> String {
    write(&[namespace], Encoding::Json).text
}

/// The description of a flag as it stands in YAML, from after the colon to the line of the next key.
fn described(text: &str) -> String {
    let flag = Flag { key: "f".into(), description: text.into(), ..Flag::default() };
    let written = yaml(namespace(vec![flag]));
    let (_, rest) = written.split_once("\n  description:").unwrap();
    rest.rsplit_once("\n  enabled: false\n").unwrap().0.to_owned()
}

fn metadata(value: Value) -> String {
    let members: BTreeMap<String, Value> = value.as_object().unwrap().clone().into_iter().collect();
    let flag = Flag { key: "f".into(), metadata: members, ..Flag::default() };
    let written = yaml(namespace(vec![flag]));
    written.split_once("  metadata:\n").unwrap().1.to_owned()
}

#[test]
fn quotes_are_double_where_a_text_would_read_as_something_else() {
    for text in [
        "~",
        "null",
        "Null",
        "NULL",
        "true",
        "True",
        "TRUE",
        "false",
        "y",
        "Y",
        "n",
        "N",
        "yes",
        "Yes",
        "YES",
        "no",
        "No",
        "NO",
        "on",
        "On",
        "ON",
        "off",
        "Off",
        "OFF",
        "1",
        "-1",
        "+1",
        "08",
        "017",
        "0x1F",
        "0o17",
        "0b1",
        "1_000",
        "1.0",
        ".5",
        "1e3",
        ".inf",
        ".nan",
        "1:30",
        "2006-01-02",
        "2006-1-2",
        "2006-01-02T15:04:05Z",
    ] {
        assert_eq!(described(text), format!(" \"{text}\""));
    }
}

#[test]
fn quotes_are_single_where_a_text_would_read_as_structure() {
    for text in [
        "- a", "-", "? a", "?", ":", ": a", "#a", "%a", "@a", "`a", "!a", "&a", "*a", "|a", ">a", "{a", "}a",
        "[a", "]a", ",a", "\"a", "a: b", "a #b", "a:", " a", "a ", "---", "...", "--- a", "---a", "... a",
    ] {
        assert_eq!(described(text), format!(" '{text}'"));
    }
    assert_eq!(described("'a'"), " '''a'''");
    assert_eq!(described("a\u{2028}b"), " 'a\u{2028}    b'");
}

#[test]
fn everything_else_is_plain() {
    for text in [
        "a:b",
        "a#b",
        "a,b",
        "a]",
        "--",
        "-a",
        "?a",
        ":a",
        "<<",
        "=",
        "tRUE",
        "1.2.3",
        "123abc",
        "ünïcode",
        "\u{a0}x",
        "~x",
        "a\\b",
        "it's",
        "--a",
        "..",
        "漢字",
        "\u{e000}",
    ] {
        assert_eq!(described(text), format!(" {text}"));
    }
}

#[test]
fn characters_that_do_not_print_are_escaped() {
    for (text, written) in [
        ("a\tb", "a\\tb"),
        ("a\rb", "a\\rb"),
        ("\u{7}", "\\a"),
        ("\0", "\\0"),
        ("\u{8}\u{b}\u{c}\u{1b}", "\\b\\v\\f\\e"),
        ("\u{1}\u{7f}", "\\x01\\x7F"),
        ("\u{85}x", "\\Nx"),
        ("\u{feff}", "\\uFEFF"),
        ("\u{ffff}", "\\uFFFF"),
        ("😀", "\\U0001F600"),
        ("😀\u{a0}\u{2028}\u{2029}\"\\", "\\U0001F600\u{a0}\\L\\P\\\"\\\\"),
        ("a \n", "a \\n"),
        ("a\nb ", "a\\nb "),
        ("a \nb", "a \\nb"),
        ("a\n\u{2028}b", "a\\n\\Lb"),
    ] {
        assert_eq!(described(text), format!(" \"{written}\""), "{text:?}");
    }
}

#[test]
fn several_lines_are_a_block() {
    for (text, written) in [
        ("a\nb", " |-\n    a\n    b"),
        ("a\nb\n", " |\n    a\n    b"),
        ("a\nb\n\n", " |+\n    a\n    b\n"),
        ("a\n\nb", " |-\n    a\n\n    b"),
        (" a\nb", " |2-\n     a\n    b"),
        ("\na", " |2-\n\n    a"),
        ("\n", " |2+\n"),
        ("a\n b", " |-\n    a\n     b"),
    ] {
        assert_eq!(described(text), written, "{text:?}");
    }
    let long = format!("{}\nb", "word ".repeat(40).trim_end());
    assert_eq!(described(&long), format!(" |-\n    {}\n    b", "word ".repeat(40).trim_end()));
}

#[test]
fn lines_are_folded_at_the_first_space_beyond_column_80() {
    // `  description: ` takes 15 columns.
    let (head, tail) = ("x".repeat(65), "tail of it");
    assert_eq!(described(&format!("{head} {tail}")), format!(" {head} tail\n    of it"));
    assert_eq!(described(&format!("{head}y {tail}")), format!(" {head}y\n    tail of it"));
    assert_eq!(described(&format!("{head}y  {tail}")), format!(" {head}y  tail\n    of it"));
    assert_eq!(described(&"x".repeat(300)), format!(" {}", "x".repeat(300)));
    assert_eq!(described(&format!("{head}: {tail}")), format!(" '{head}:\n    tail of it'"));
    assert_eq!(described(&format!("{head}\t {tail}")), format!(" \"{head}\\t\n    tail of it\""));
    assert_eq!(described(&format!("{head}\t  {tail}")), format!(" \"{head}\\t\n    \\ tail of it\""));
}

#[test]
fn numbers_have_the_fewest_digits() {
    for (number, yaml, json) in [
        (json!(50), "50", "50"),
        (json!(999_999), "999999", "999999"),
        (json!(123_456.789), "123456.789", "123456.789"),
        (json!(0.0001), "0.0001", "0.0001"),
        (json!(1_000_000), "1e+06", "1000000"),
        (json!(1_234_567), "1.234567e+06", "1234567"),
        (json!(12_345_678.9), "1.23456789e+07", "12345678.9"),
        (json!(21_000_000), "2.1e+07", "21000000"),
        (json!(0.00001), "1e-05", "0.00001"),
        (json!(9_007_199_254_740_993_i64), "9.007199254740992e+15", "9007199254740992"),
        (json!(-1.5), "-1.5", "-1.5"),
        (json!(0), "0", "0"),
        (json!(-0.0), "-0", "-0"),
        (json!(1e300), "1e+300", "1e+300"),
        (json!(1e-10), "1e-10", "1e-10"),
    ] {
        assert_eq!(metadata(json!({"a": number})), format!("    a: {yaml}\n"));
        let flag =
            Flag { key: "f".into(), variants: vec![variant("v", &number.to_string())], ..Flag::default() };
        let written = json_text(namespace(vec![flag]));
        assert!(written.contains(&format!("\"attachment\":{json}}}")), "{written}");
    }
}

#[test]
fn percentages_have_the_digits_of_32_bits() {
    for (number, yaml, json) in [
        (33.33_f32, "33.33", "33.33"),
        (66.67, "66.67", "66.67"),
        (0.1, "0.1", "0.1"),
        (100.0, "100", "100"),
        (1e-7, "1e-07", "1e-7"),
        (0.0, "0", "0"),
    ] {
        let rule = RolloutRule::Threshold { percentage: number, value: false };
        let flag = Flag {
            key: "f".into(),
            flag_type: FlagType::Boolean,
            rollouts: vec![Rollout { rank: 1, description: String::new(), rule }],
            ..Flag::default()
        };
        let state = namespace(vec![flag]);
        assert!(yaml_ends(&state, &format!("  rollouts:\n  - threshold:\n      percentage: {yaml}\n")));
        assert!(
            json_text(state).contains(&format!("\"rollouts\":[{{\"threshold\":{{\"percentage\":{json}}}}}]"))
        );
    }
}

fn yaml_ends(namespace: &Namespace, end: &str) -> bool {
    self::yaml(namespace.clone()).ends_with(end)
}

#[test]
fn free_form_keys_are_sorted_for_people() {
    let order = [
        "", "-1", "_x", "1", "2", "10", "A", "a", "a 1", "a-b", "a.b", "a9", "a10", "aB", "ab", "b", "z", "Ä",
    ];
    // The specification's example has an `a1b` after `a10`, too. By its own rules that key comes after `a10` and
    // before `a9`, so that the three have no order.
    let members: serde_json::Map<String, Value> =
        order.iter().map(|key| ((*key).to_owned(), json!(true))).collect();
    let written = metadata(Value::Object(members));
    let keys: Vec<_> =
        written.lines().map(|line| line.trim().trim_end_matches(": true").trim_matches('"')).collect();
    assert_eq!(keys, order);
}

#[test]
fn more_keys_than_any_order_can_rank_do_no_harm() {
    let keys = (0..3_000).map(|number: u32| (format!("k{:x}0{}", number % 17, number), json!(1)));
    let members: serde_json::Map<String, Value> = keys.collect();
    assert_eq!(metadata(Value::Object(members)).lines().count(), 3_000);
}

#[test]
fn collections_inside_attachments() {
    assert_eq!(
        metadata(
            json!({"a": [], "b": {}, "c": null, "d": "", "e": [[], [1, [2]], {"x": 1, "y": [true]}], "f": {"g": {"h": "i"}}, "<<": 1})
        ),
        "    \"<<\": 1\n    a: []\n    b: {}\n    c: null\n    d: \"\"\n    e:\n    - []\n    - - 1\n      - - 2\n    \
         - x: 1\n      \"y\":\n      - true\n    f:\n      g:\n        h: i\n"
    );
}

#[test]
fn long_keys_and_keys_of_several_lines_are_explicit() {
    let (short, long) = ("x".repeat(128), "x".repeat(129));
    assert_eq!(metadata(json!({ short.clone(): 1 })), format!("    {short}: 1\n"));
    assert_eq!(metadata(json!({ long.clone(): {"a": [1]} })), format!("    ? {long}\n    : a:\n      - 1\n"));
    assert_eq!(metadata(json!({ "a\nb": 1 })), "    ? |-\n      a\n      b\n    : 1\n");
}

#[test]
fn only_the_first_document_has_a_version() {
    let namespaces =
        [namespace(vec![]), Namespace { key: "m".into(), name: "M".into(), ..Namespace::default() }];
    let expected = "version: \"1.4\"\nnamespace:\n  key: \"n\"\n---\nnamespace:\n  key: m\n  name: M\n";
    assert_eq!(write(&namespaces, Encoding::Yaml).text, expected);
    assert_eq!(
        write(&namespaces, Encoding::Json).text,
        "{\"version\":\"1.4\",\"namespace\":{\"key\":\"n\"}}\n{\"namespace\":{\"key\":\"m\",\"name\":\"M\"}}\n"
    );
    assert_eq!(write(&[], Encoding::Yaml).text, "");
}

#[test]
fn a_document_after_a_block_at_the_end_starts_on_its_own_line() {
    for attachment in ["\"a\\nb\"", "\"a\\nb\\n\"", "\"a\\nb\\n\\n\""] {
        let flag = Flag { key: "f".into(), variants: vec![variant("v", attachment)], ..Flag::default() };
        let namespaces = [namespace(vec![flag]), namespace(vec![])];
        let text = write(&namespaces, Encoding::Yaml).text;
        let read = read_import(text.as_bytes(), Encoding::Yaml).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].flags, namespaces[0].flags, "{text}");
    }
}

#[test]
fn what_cannot_be_written_is_left_out_with_a_warning() {
    let flag = Flag {
        key: "f\"".into(),
        variants: vec![variant("v", "{"), variant("w", "null")],
        rules: vec![
            Rule::default(),
            Rule { segments: vec!["s".into()], operator: SegmentOperator::And, ..Rule::default() },
        ],
        rollouts: vec![
            Rollout::default(),
            Rollout {
                rule: RolloutRule::Segment { segments: vec![], operator: SegmentOperator::Or, value: true },
                ..Rollout::default()
            },
        ],
        ..Flag::default()
    };
    let written = write(&[namespace(vec![flag])], Encoding::Json);
    assert!(
        written.text.contains(r#""variants":[{"key":"v"},{"key":"w"}],"rules":[{"segment":"s"}]}"#),
        "{}",
        written.text
    );
    assert_eq!(
        written.warnings,
        [
            r#"flag "n/f\"" variant "v": the attachment is not JSON and was left out"#,
            r#"flag "n/f\"" rule 0 has no segments and was left out"#,
            r#"flag "n/f\"" rollout 0 has neither segments nor threshold and was left out"#,
            r#"flag "n/f\"" rollout 1 has neither segments nor threshold and was left out"#,
        ]
    );
}

#[test]
fn fields_stand_in_the_order_of_the_format() {
    let flag = Flag {
        key: "f".into(),
        name: "F".into(),
        description: "d".into(),
        flag_type: FlagType::Variant,
        enabled: true,
        metadata: BTreeMap::from([("m".into(), json!(1))]),
        variants: vec![Variant {
            key: "v".into(),
            name: "V".into(),
            description: "d".into(),
            attachment: "[1]".into(),
        }],
        default_variant: Some("v".into()),
        rules: vec![Rule {
            rank: 5,
            segments: vec!["s".into(), "t".into()],
            operator: SegmentOperator::Or,
            distributions: vec![Distribution { variant: "v".into(), rollout: 0.0 }],
        }],
        rollouts: vec![Rollout {
            rank: 1,
            description: "d".into(),
            rule: RolloutRule::Segment {
                segments: vec!["s".into(), "t".into()],
                operator: SegmentOperator::And,
                value: true,
            },
        }],
    };
    let segment = Segment {
        key: "s".into(),
        name: "S".into(),
        description: "d".into(),
        constraints: vec![Constraint {
            property: "p".into(),
            operator: "eq".into(),
            value: "v".into(),
            description: "d".into(),
            ..Constraint::default()
        }],
        ..Segment::default()
    };
    let namespace = Namespace { segments: vec![segment], ..namespace(vec![flag]) };
    assert_eq!(
        json_text(namespace),
        "{\"version\":\"1.4\",\"namespace\":{\"key\":\"n\"},\"flags\":[{\"key\":\"f\",\"name\":\"F\",\
         \"type\":\"VARIANT_FLAG_TYPE\",\"description\":\"d\",\"enabled\":true,\"metadata\":{\"m\":1},\
         \"variants\":[{\"default\":true,\"key\":\"v\",\"name\":\"V\",\"description\":\"d\",\"attachment\":[1]}],\
         \"rules\":[{\"segment\":{\"keys\":[\"s\",\"t\"],\"operator\":\"OR_SEGMENT_OPERATOR\"},\
         \"distributions\":[{\"variant\":\"v\",\"rollout\":0}]}],\
         \"rollouts\":[{\"description\":\"d\",\"segment\":{\"keys\":[\"s\",\"t\"],\
         \"operator\":\"AND_SEGMENT_OPERATOR\",\"value\":true}}]}],\
         \"segments\":[{\"key\":\"s\",\"name\":\"S\",\"description\":\"d\",\"constraints\":[\
         {\"type\":\"UNKNOWN_COMPARISON_TYPE\",\"property\":\"p\",\"operator\":\"eq\",\"value\":\"v\",\
         \"description\":\"d\"}],\"match_type\":\"ALL_MATCH_TYPE\"}]}\n"
    );
}

#[test]
fn sorting_by_key_is_bytewise_and_leaves_what_has_a_meaning() {
    let flag = |key: &str| Flag {
        key: key.into(),
        variants: vec![variant("b", ""), variant("a", ""), variant("B", "")],
        rules: vec![
            Rule { rank: 1, segments: vec!["z".into()], ..Rule::default() },
            Rule { rank: 2, segments: vec!["a".into()], ..Rule::default() },
        ],
        ..Flag::default()
    };
    let mut namespace = namespace(vec![flag("flag1"), flag("FLag2")]);
    sort_by_key(&mut namespace);
    assert_eq!(namespace.flags.iter().map(|flag| flag.key.as_str()).collect::<Vec<_>>(), ["FLag2", "flag1"]);
    let variants: Vec<_> = namespace.flags[0].variants.iter().map(|variant| variant.key.as_str()).collect();
    assert_eq!(variants, ["B", "a", "b"]);
    assert_eq!(namespace.flags[0].rules[0].segments, ["z"]);
}
