//! No input, however broken, makes a reader panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_model::document::{Encoding, Index, load_features, read_import, validate_features, write};
use flipt_model::validation::{self, compact_json, go_quote};
use flipt_model::{ConstraintType, Flag, Namespace, Variant, time};
use proptest::collection::vec;
use proptest::prelude::*;

/// Puts an input through everything that reads.
fn read_everywhere(bytes: &[u8]) {
    for encoding in [Encoding::Yaml, Encoding::Json] {
        _ = read_import(bytes, encoding);
        _ = validate_features(bytes, encoding, "x");
    }
    _ = load_features(&[("a.yml", bytes), ("b.json", bytes)]);
    _ = Index::read(bytes);
    let text = String::from_utf8_lossy(bytes).into_owned();
    _ = compact_json(&text);
    _ = go_quote(&text);
    _ = time::parse_instant(&text);
    _ = time::parse_date(&text);
    _ = validation::attachment(&text);
    for constraint_type in ConstraintType::ALL {
        for operator in ["eq", "isoneof", text.as_str()] {
            _ = validation::constraint(*constraint_type, "entityId", operator, &text);
        }
    }
    let variant = Variant { key: "v".into(), attachment: text, ..Variant::default() };
    let flag = Flag { key: "f".into(), variants: vec![variant], ..Flag::default() };
    let namespace = Namespace { key: "n".into(), flags: vec![flag], ..Namespace::default() };
    for encoding in [Encoding::Yaml, Encoding::Json] {
        let written = write(std::slice::from_ref(&namespace), encoding);
        assert!(read_import(written.text.as_bytes(), encoding).is_ok(), "{}", written.text);
    }
}

const DOCUMENT: &str = include_str!("data/documents/worked-example.yaml");
const OBJECT: &str = include_str!("data/documents/worked-example.json");

/// A document with some of its bytes cut out or replaced.
fn damaged(document: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0_usize..12, ".{0,6}");
    vec(edit, 1..5).prop_map(move |edits| {
        let mut bytes = document.as_bytes().to_vec();
        for (at, length, replacement) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, replacement.bytes());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read_everywhere(&bytes);
    }

    #[test]
    fn arbitrary_text(text in ".{0,120}") {
        read_everywhere(text.as_bytes());
    }

    #[test]
    fn soups_of_yaml(pieces in vec(prop::sample::select(vec![
        "a", ":", ": ", " ", "\n", "  ", "\n  ", "\n- ", "- ", "? ", "&a ", "*a", "<<: ", "!!", "!!binary ", "!x ", "|", "|2-\n", ">+\n",
        "'", "\"", "\\", "{", "}", "[", "]", ",", "#", " #", "---", "\n---\n", "\n...\n", "%YAML 1.2\n", "%TAG ! x\n", "\t",
        "\r", "\u{85}", "\u{2028}", "\u{feff}", "flags", "key", "rules", "segment", "null", "1", "é", "😀", "~", "@", "`",
    ]), 0..40)) {
        read_everywhere(pieces.concat().as_bytes());
    }

    #[test]
    fn damaged_documents(bytes in prop_oneof![damaged(DOCUMENT), damaged(OBJECT)]) {
        read_everywhere(&bytes);
    }
}
