//! The 6,000 recorded evaluations, asked of the evaluation engine itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_conformance::{Endpoint, Evaluation, document, evaluations};
use flipt_evaluation::{EvaluationError, Reason, Request, Snapshot};
use flipt_model::{
    Namespace,
    document::{Encoding, read_import},
    namespace_or_default,
};
use serde_json::{Value, json};

fn snapshot() -> Snapshot {
    let documents = read_import(document().unwrap().as_bytes(), Encoding::Yaml).unwrap();
    let namespaces = documents
        .into_iter()
        .map(|document| Namespace {
            key: document.namespace_key().to_owned(),
            flags: document.flags,
            segments: document.segments,
            ..Namespace::default()
        })
        .collect();
    Snapshot::compile(&flipt_model::Snapshot { namespaces })
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Unknown => "UNKNOWN_EVALUATION_REASON",
        Reason::FlagDisabled => "FLAG_DISABLED_EVALUATION_REASON",
        Reason::Match => "MATCH_EVALUATION_REASON",
        Reason::Default => "DEFAULT_EVALUATION_REASON",
    }
}

fn sorted<'a>(segments: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = segments.collect();
    keys.sort_unstable();
    keys
}

fn answer(snapshot: &Snapshot, case: &Evaluation) -> Value {
    let request = Request {
        namespace: namespace_or_default(&case.namespace_key),
        flag: &case.flag_key,
        entity: &case.entity_id,
        context: &case.context,
    };
    let answer = match case.endpoint {
        Endpoint::Variant => snapshot.variant(&request).map(|result| {
            json!({
                "match": result.matched,
                "reason": reason(result.reason),
                "variantKey": result.variant,
                "variantAttachment": result.attachment,
                "segmentKeys": sorted(result.segments.iter()),
            })
        }),
        Endpoint::Boolean => snapshot.boolean(&request).map(|result| {
            json!({
                "enabled": result.enabled,
                "reason": reason(result.reason),
                "segmentKeys": sorted(result.segments.iter()),
            })
        }),
    };
    answer.unwrap_or_else(|error| {
        // A server with a database says of an unknown namespace that the flag does not exist.
        let error = match error {
            EvaluationError::NamespaceNotFound { namespace } => {
                EvaluationError::FlagNotFound { namespace, flag: case.flag_key.clone() }
            }
            other => other,
        };
        let code = match error {
            EvaluationError::FlagNotFound { .. } => 5,
            EvaluationError::WrongFlagType(_) => 3,
            ref other => panic!("{other}: {case:?}"),
        };
        json!({ "code": code, "message": error.to_string() })
    })
}

#[test]
fn the_engine_gives_every_recorded_result() {
    let snapshot = snapshot();
    let cases = evaluations().unwrap();
    assert_eq!(cases.len(), 6_000);
    for case in &cases {
        assert_eq!(answer(&snapshot, case), case.result, "{case:?}");
    }
}
