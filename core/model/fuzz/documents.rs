//! Files for import: nothing makes the readers panic, and whatever they read is written and read back equal.

#![no_main]

use flipt_model::Namespace;
use flipt_model::document::{Encoding, ImportDocument, read_import, write};
use libfuzzer_sys::fuzz_target;

const ENCODINGS: [Encoding; 2] = [Encoding::Yaml, Encoding::Json];

fuzz_target!(|bytes: &[u8]| {
    for encoding in ENCODINGS {
        if let Ok(documents) = read_import(bytes, encoding) {
            let namespaces: Vec<Namespace> = documents.into_iter().map(namespace).collect();
            for encoding in ENCODINGS {
                check(&namespaces, encoding);
            }
        }
    }
});

/// Ranks of files before version 1.1 are kept as they are written, and checked when they are stored; a document
/// that is written today has none, because its order says the same.
fn namespace(mut document: ImportDocument) -> Namespace {
    for flag in &mut document.flags {
        (1..).zip(&mut flag.rules).for_each(|(rank, rule)| rule.rank = rank);
        (1..).zip(&mut flag.rollouts).for_each(|(rank, rollout)| rollout.rank = rank);
    }
    let named = document.namespace.unwrap_or_default();
    Namespace {
        key: named.key,
        name: named.name,
        description: named.description,
        flags: document.flags,
        segments: document.segments,
    }
}

/// What is written reads back equal, unless the writer says what it left out.
fn check(namespaces: &[Namespace], encoding: Encoding) {
    let written = write(namespaces, encoding);
    let read = read_import(written.text.as_bytes(), encoding)
        .unwrap_or_else(|error| panic!("{error} at {:?}\n{}", error.place(), written.text));
    if written.warnings.is_empty() {
        let read: Vec<Namespace> = read.into_iter().map(namespace).collect();
        assert_eq!(read, namespaces, "{}", written.text);
    }
}
