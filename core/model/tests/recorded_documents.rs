//! Documents and answers recorded from Flipt 1.61.1, replayed against the readers and writers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_model::document::{Encoding, ImportDocument, read_import, sort_by_key, write};
use flipt_model::{Namespace, namespace_or_default};
use serde_json::Value;

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("data/documents/", $name))
    };
}

/// What a store holds after importing documents into an empty one: namespaces in order of creation, the
/// default one first.
fn state(documents: Vec<ImportDocument>) -> Vec<Namespace> {
    let mut namespaces = vec![Namespace {
        key: "default".into(),
        name: "Default".into(),
        description: "Default namespace".into(),
        ..Namespace::default()
    }];
    for document in documents {
        let named = document.namespace.unwrap_or_default();
        let key = namespace_or_default(&named.key);
        let position = namespaces.iter().position(|namespace| namespace.key == key).unwrap_or_else(|| {
            namespaces.push(Namespace {
                key: named.key.clone(),
                name: named.name,
                description: named.description,
                ..Namespace::default()
            });
            namespaces.len() - 1
        });
        namespaces[position].flags.extend(document.flags);
        namespaces[position].segments.extend(document.segments);
    }
    namespaces
}

fn yaml(text: &str) -> Vec<ImportDocument> {
    read_import(text.as_bytes(), Encoding::Yaml).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn json(text: &str) -> Vec<ImportDocument> {
    read_import(text.as_bytes(), Encoding::Json).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn text(namespaces: &[Namespace], encoding: Encoding) -> String {
    let written = write(namespaces, encoding);
    assert_eq!(written.warnings, Vec::<String>::new());
    written.text
}

#[test]
fn the_worked_example_is_written_byte_for_byte() {
    let namespaces = state(yaml(data!("worked-example.yaml")));
    assert_eq!(text(&namespaces, Encoding::Yaml), data!("worked-example.yaml"));
    assert_eq!(text(&namespaces, Encoding::Json), data!("worked-example.json"));
    assert_eq!(state(json(data!("worked-example.json"))), namespaces);
}

#[test]
fn strings_numbers_and_keys_are_spelled_as_recorded() {
    let namespace: Namespace = serde_json::from_str(data!("style-state.json")).unwrap();
    let namespaces = [namespace];
    similar(&text(&namespaces, Encoding::Yaml), data!("style.yaml"));
    similar(&text(&namespaces, Encoding::Json), data!("style.json"));
}

#[test]
fn recorded_spellings_read_back_as_what_they_spell() {
    let namespace: Namespace = serde_json::from_str(data!("style-state.json")).unwrap();
    for documents in [yaml(data!("style.yaml")), json(data!("style.json"))] {
        for (read, written) in documents[0].flags.iter().zip(&namespace.flags) {
            assert_eq!(read.description, written.description);
            assert_eq!(
                text(&state_of(read.clone()), Encoding::Yaml),
                text(&state_of(written.clone()), Encoding::Yaml)
            );
        }
    }
}

fn state_of(flag: flipt_model::Flag) -> Vec<Namespace> {
    vec![Namespace { key: "k".into(), flags: vec![flag], ..Namespace::default() }]
}

#[test]
fn documents_of_every_version_are_exported_as_recorded() {
    for (document, exported, as_json, sorted) in [
        (
            data!("version-1.0.yaml"),
            data!("version-1.0.exported.yaml"),
            data!("version-1.0.exported.json"),
            data!("version-1.0.sorted.yaml"),
        ),
        (
            data!("version-1.1.yaml"),
            data!("version-1.1.exported.yaml"),
            data!("version-1.1.exported.json"),
            data!("version-1.1.sorted.yaml"),
        ),
        (
            data!("version-1.2.yaml"),
            data!("version-1.2.exported.yaml"),
            data!("version-1.2.exported.json"),
            data!("version-1.2.sorted.yaml"),
        ),
        (
            data!("version-1.3.yaml"),
            data!("version-1.3.exported.yaml"),
            data!("version-1.3.exported.json"),
            data!("version-1.3.sorted.yaml"),
        ),
        (
            data!("version-1.4.yaml"),
            data!("version-1.4.exported.yaml"),
            data!("version-1.4.exported.json"),
            data!("version-1.4.sorted.yaml"),
        ),
    ] {
        let mut namespaces = state(yaml(document));
        similar(&text(&namespaces, Encoding::Yaml), exported);
        similar(&text(&namespaces, Encoding::Json), as_json);
        assert_eq!(state(yaml(exported)), namespaces);
        assert_eq!(state(json(as_json)), namespaces);
        namespaces.sort_by(|a, b| a.key.cmp(&b.key));
        namespaces.iter_mut().for_each(sort_by_key);
        similar(&text(&namespaces, Encoding::Yaml), sorted);
    }
}

#[test]
fn an_export_of_a_whole_database_is_written_again_byte_for_byte() {
    let namespaces = state(yaml(data!("all-namespaces.yaml")));
    similar(&text(&namespaces, Encoding::Yaml), data!("all-namespaces.yaml"));
    let as_json = text(&namespaces, Encoding::Json);
    assert_eq!(state(json(&as_json)), namespaces);
}

/// Cases whose error comes from the store, and those in which we are better on purpose.
#[test]
fn imports_fail_with_the_recorded_words() {
    let mut seen = 0;
    for case in serde_json::from_str::<Vec<Value>>(data!("import-errors.json")).unwrap() {
        let field = |name: &str| case[name].as_str().unwrap_or_default();
        let encoding = Encoding::from_extension(field("file")).unwrap();
        let read = read_import(field("text").as_bytes(), encoding).map_err(|error| error.to_string());
        let from_store = ["not unique", "not found"].iter().any(|part| field("error").contains(part));
        match (field("name"), read) {
            ("empty JSON file", read) => assert_eq!(read.unwrap(), []),
            ("unknown enum names", read) => {
                let error = read.unwrap_err();
                assert!(
                    error.contains("\"NOPE\" is not one of VARIANT_FLAG_TYPE, BOOLEAN_FLAG_TYPE"),
                    "{error}"
                );
            }
            (_, Ok(_)) if from_store => {}
            (name, Ok(_)) => assert_eq!(field("error"), "", "{name}"),
            (name, Err(error)) => match field("error").strip_suffix("<<ANY>>") {
                Some(start) => assert!(error.starts_with(start) && !start.is_empty(), "{name}: {error}"),
                None => assert_eq!(error, field("error"), "{name}"),
            },
        }
        seen += 1;
    }
    assert!(seen > 45, "{seen}");
}

/// Compares long texts and shows the first line that differs.
fn similar(ours: &str, theirs: &str) {
    for (number, (our, their)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(our, their, "line {}", number + 1);
    }
    assert_eq!(ours, theirs);
}
