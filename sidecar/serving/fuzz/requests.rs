//! Evaluation requests: whatever is asked for, the answer is JSON with a status that is no failure of ours.
//!
//! The first line of the input is the path, the rest the body.

#![no_main]

use std::sync::{Arc, LazyLock};

use flipt_evaluation::Snapshot;
use flipt_model::document::{Encoding, read_import};
use flipt_serving::{Code, EvaluationHttp, EvaluationMetrics, Evaluator, Open, Source, UnknownNamespace};
use futures::FutureExt as _;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;

const DOCUMENT: &str = include_str!("../../../e2e/data/rich.yaml");

struct Fixed(Snapshot);

impl Source for Fixed {
    fn snapshot(&self) -> Option<Snapshot> {
        Some(self.0.clone())
    }

    fn version(&self) -> Option<String> {
        Some("1".to_owned())
    }

    fn unknown_namespace(&self) -> UnknownNamespace {
        UnknownNamespace::NamesFlag
    }
}

static SERVICE: LazyLock<EvaluationHttp> = LazyLock::new(|| {
    let documents = read_import(DOCUMENT.as_bytes(), Encoding::Yaml).expect("a document");
    let namespaces = documents
        .into_iter()
        .map(|document| flipt_model::Namespace {
            key: document.namespace_key().to_owned(),
            flags: document.flags,
            segments: document.segments,
            ..flipt_model::Namespace::default()
        })
        .collect();
    let snapshot = Snapshot::compile(&flipt_model::Snapshot { namespaces });
    assert!(snapshot.namespaces().any(|namespace| namespace.flags().next().is_some()));
    let evaluator = Evaluator::new(Arc::new(Fixed(snapshot)), EvaluationMetrics::off());
    EvaluationHttp::new(evaluator, Arc::new(Open))
});

fuzz_target!(|bytes: &[u8]| {
    let (path, body) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (b"/evaluate/v1/variant".as_slice(), bytes),
    };
    let Ok(mut request) = Request::builder().uri(path).body(()) else { return };
    // Without a query.
    let path = request.uri().path().to_owned();
    let path = path.as_str();
    *request.method_mut() = EvaluationHttp::offer(path).map_or(Method::POST, |offer| offer.method);
    let response = SERVICE.answer_admitted(&request.into_parts().0, body);
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 304 | 400 | 404), "{status}");
    if let Err(error) = EvaluationHttp::message(path, body) {
        assert_eq!(status, error.code.http().as_u16(), "the guard and the handler read alike");
        assert!(matches!(error.code, Code::InvalidArgument | Code::NotFound));
    }
    // The body is in memory: it is there at once.
    let answer =
        response.into_body().collect().now_or_never().expect("a body in memory").expect("infallible");
    if status != 304 {
        serde_json::from_slice::<serde_json::Value>(&answer.to_bytes()).expect("every answer is JSON");
    }
});
