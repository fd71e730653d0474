//! Evaluation over HTTP, on Flipt's paths.

mod body;
mod bulk;
pub mod path;
mod reply;
mod surrogates;
pub mod tag;

use std::sync::Arc;

use flipt_proto::{evaluation, flipt as legacy, ofrep};
use http::{HeaderMap, Method, Request, Response, request::Parts};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use prost::Name as _;

use crate::{
    Code, Error, Evaluator, Gate, Scope,
    request::{Message, decode},
    response::ToJson,
};

pub use body::{BODY_LIMIT, read as read_body};
pub use reply::{
    error as error_reply, json as json_reply, not_found as not_found_reply, ofrep_error as ofrep_error_reply,
    text as text_reply,
};
pub use surrogates::mend as mend_surrogates;

/// Header that names the environment (v2 spec, section 3.3).
const ENVIRONMENT: &str = "x-flipt-environment";
/// Header that names the namespace of OFREP calls.
const OFREP_NAMESPACE: &str = "x-flipt-namespace";

/// What a path under the evaluation API asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    Boolean,
    Variant,
    Batch,
    Legacy { namespace: Option<String> },
    LegacyBatch { namespace: Option<String> },
    OfrepConfiguration,
    OfrepFlag { key: String },
    OfrepBulk,
}

impl Operation {
    /// The operation of a path, whatever the verb.
    fn of(segments: &[&str]) -> Option<Self> {
        let namespace = |key: &str| Some(key.to_owned());
        Some(match segments {
            ["evaluate", "v1", "boolean"] => Self::Boolean,
            ["evaluate", "v1", "variant"] => Self::Variant,
            ["evaluate", "v1", "batch"] => Self::Batch,
            ["api", "v1", "evaluate"] => Self::Legacy { namespace: None },
            ["api", "v1", "batch-evaluate"] => Self::LegacyBatch { namespace: None },
            ["api", "v1", "namespaces", key, "evaluate"] => Self::Legacy { namespace: namespace(key) },
            ["api", "v1", "namespaces", key, "batch-evaluate"] => {
                Self::LegacyBatch { namespace: namespace(key) }
            }
            ["ofrep", "v1", "configuration"] => Self::OfrepConfiguration,
            ["ofrep", "v1", "evaluate", "flags"] => Self::OfrepBulk,
            ["ofrep", "v1", "evaluate", "flags", key] => Self::OfrepFlag { key: (*key).to_owned() },
            _ => return None,
        })
    }

    const fn method(&self) -> Method {
        match self {
            Self::OfrepConfiguration => Method::GET,
            _ => Method::POST,
        }
    }

    /// The request message in a body, by its full name and as protobuf. The path beats the body.
    fn message(&self, body: &[u8]) -> Result<(String, Vec<u8>), Error> {
        match self {
            Self::Boolean | Self::Variant => encoded(&decode::<evaluation::EvaluationRequest>(body)?),
            Self::Batch => encoded(&decode::<evaluation::BatchEvaluationRequest>(body)?),
            Self::Legacy { namespace } => {
                let mut request = decode::<legacy::EvaluationRequest>(body)?;
                if let Some(namespace) = namespace {
                    request.namespace_key.clone_from(namespace);
                }
                encoded(&request)
            }
            Self::LegacyBatch { namespace } => {
                let mut request = decode::<legacy::BatchEvaluationRequest>(body)?;
                if let Some(namespace) = namespace {
                    request.namespace_key.clone_from(namespace);
                }
                encoded(&request)
            }
            Self::OfrepConfiguration => encoded(&ofrep::GetProviderConfigurationRequest::default()),
            Self::OfrepFlag { key } => {
                let mut request = decode::<ofrep::EvaluateFlagRequest>(body)?;
                request.key.clone_from(key);
                encoded(&request)
            }
            Self::OfrepBulk => encoded(&decode::<ofrep::EvaluateBulkRequest>(body)?),
        }
    }

    /// Full name of the service that the operation belongs to.
    const fn service(&self) -> &'static str {
        match self {
            Self::Boolean | Self::Variant | Self::Batch => "flipt.evaluation.EvaluationService",
            Self::Legacy { .. } | Self::LegacyBatch { .. } => "flipt.Flipt",
            Self::OfrepConfiguration | Self::OfrepFlag { .. } | Self::OfrepBulk => "flipt.ofrep.OFREPService",
        }
    }

    /// Name of the operation in its service.
    const fn call(&self) -> &'static str {
        match self {
            Self::Boolean => "Boolean",
            Self::Variant => "Variant",
            Self::Batch => "Batch",
            Self::Legacy { .. } => "Evaluate",
            Self::LegacyBatch { .. } => "BatchEvaluate",
            Self::OfrepConfiguration => "GetProviderConfiguration",
            Self::OfrepFlag { .. } => "EvaluateFlag",
            Self::OfrepBulk => "EvaluateBulk",
        }
    }

    fn request(&self) -> String {
        match self {
            Self::Boolean | Self::Variant => evaluation::EvaluationRequest::full_name(),
            Self::Batch => evaluation::BatchEvaluationRequest::full_name(),
            Self::Legacy { .. } => legacy::EvaluationRequest::full_name(),
            Self::LegacyBatch { .. } => legacy::BatchEvaluationRequest::full_name(),
            Self::OfrepConfiguration => ofrep::GetProviderConfigurationRequest::full_name(),
            Self::OfrepFlag { .. } => ofrep::EvaluateFlagRequest::full_name(),
            Self::OfrepBulk => ofrep::EvaluateBulkRequest::full_name(),
        }
    }

    fn answer(&self) -> String {
        match self {
            Self::Boolean => evaluation::BooleanEvaluationResponse::full_name(),
            Self::Variant => evaluation::VariantEvaluationResponse::full_name(),
            Self::Batch => evaluation::BatchEvaluationResponse::full_name(),
            Self::Legacy { .. } => legacy::EvaluationResponse::full_name(),
            Self::LegacyBatch { .. } => legacy::BatchEvaluationResponse::full_name(),
            Self::OfrepConfiguration => ofrep::GetProviderConfigurationResponse::full_name(),
            Self::OfrepFlag { .. } => ofrep::EvaluatedFlag::full_name(),
            Self::OfrepBulk => ofrep::BulkEvaluationResponse::full_name(),
        }
    }
}

/// What a path of the evaluation API is called with and answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The only verb.
    pub method: Method,
    /// Full name of the service that the operation belongs to.
    pub service: &'static str,
    /// Name of the operation in its service.
    pub call: &'static str,
    /// Full name of the request's message.
    pub request: String,
    /// Full name of the answer's message.
    pub answer: String,
}

/// Serves the evaluation paths.
#[derive(Clone)]
pub struct EvaluationHttp {
    evaluator: Evaluator,
    gate: Arc<dyn Gate>,
}

impl EvaluationHttp {
    /// The path of every operation; `{name}` stands for a field of the request.
    pub const PATHS: [&'static str; 10] = [
        "/evaluate/v1/boolean",
        "/evaluate/v1/variant",
        "/evaluate/v1/batch",
        "/api/v1/namespaces/{namespace_key}/evaluate",
        "/api/v1/evaluate",
        "/api/v1/namespaces/{namespace_key}/batch-evaluate",
        "/api/v1/batch-evaluate",
        "/ofrep/v1/configuration",
        "/ofrep/v1/evaluate/flags/{key}",
        "/ofrep/v1/evaluate/flags",
    ];

    /// Serves with this evaluator whom this gate admits.
    #[must_use]
    pub fn new(evaluator: Evaluator, gate: Arc<dyn Gate>) -> Self {
        Self { evaluator, gate }
    }

    /// What a path offers, if there is an operation at it.
    #[must_use]
    pub fn offer(path: &str) -> Option<Offer> {
        let segments = path::split(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Operation::of(&segments).map(|operation| Offer {
            method: operation.method(),
            service: operation.service(),
            call: operation.call(),
            request: operation.request(),
            answer: operation.answer(),
        })
    }

    /// Whether this service answers for a path: every operation, and all below `/evaluate/v1` and `/ofrep`.
    #[must_use]
    pub fn owns(path: &str) -> bool {
        let Some(segments) = path::split(path) else { return false };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        matches!(segments.as_slice(), ["evaluate", "v1", ..] | ["ofrep", ..])
            || Operation::of(&segments).is_some()
    }

    /// The message that a request to an operation's path stands for, for whoever decides about it before it
    /// is answered: its full name, and the message as protobuf.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if the body is no such message; [`Code::NotFound`] for other paths.
    pub fn message(path: &str, body: &[u8]) -> Result<(String, Vec<u8>), Error> {
        let segments = path::split(path).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let operation = Operation::of(&segments).ok_or_else(|| Error::new(Code::NotFound, "Not Found"))?;
        operation.message(body)
    }

    /// Answers a request whose caller was admitted by somebody else: the gate is not asked.
    pub fn answer_admitted(&self, head: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
        let segments = path::split(head.uri.path()).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let result = Operation::of(&segments)
            .ok_or_else(|| Error::new(Code::NotFound, "Not Found"))
            .and_then(|operation| {
                if head.method != operation.method() {
                    return Err(Error::new(Code::Unimplemented, "Method Not Allowed"));
                }
                self.perform(&operation, &Scope::All, &head.headers, body)
            });
        self.reply(&segments, result)
    }

    fn reply(
        &self,
        segments: &[&str],
        result: Result<Response<Full<Bytes>>, Error>,
    ) -> Response<Full<Bytes>> {
        let mut response = match result {
            Ok(response) => response,
            Err(error) if segments.first() == Some(&"ofrep") => reply::ofrep_error(&error),
            Err(error) => error_reply(&error),
        };
        self.evaluator.source().annotate(response.headers_mut());
        response
    }

    /// Answers a request to a path that [`EvaluationHttp::owns`].
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let segments = path::split(head.uri.path()).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let result = async {
            let operation =
                Operation::of(&segments).ok_or_else(|| Error::new(Code::NotFound, "Not Found"))?;
            if head.method != operation.method() {
                return Err(Error::new(Code::Unimplemented, "Method Not Allowed"));
            }
            let scope = self.gate.admit(&head.headers)?;
            let body = read_body(body, BODY_LIMIT).await?;
            self.perform(&operation, &scope, &head.headers, &body)
        }
        .await;
        self.reply(&segments, result)
    }

    fn perform(
        &self,
        operation: &Operation,
        scope: &Scope,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Error> {
        let evaluator = self.evaluator.of_environment(environment(headers))?;
        let answer = match operation {
            Operation::Boolean => answer(body, |request: &mut evaluation::EvaluationRequest| {
                evaluator.of_environment(&request.environment_key)?.boolean(scope, request)
            }),
            Operation::Variant => answer(body, |request: &mut evaluation::EvaluationRequest| {
                evaluator.of_environment(&request.environment_key)?.variant(scope, request)
            }),
            Operation::Batch => answer(body, |request: &mut evaluation::BatchEvaluationRequest| {
                evaluator.batch(scope, request)
            }),
            Operation::Legacy { namespace } => answer(body, |request: &mut legacy::EvaluationRequest| {
                // The path beats the body (api spec, section 2.3).
                if let Some(namespace) = namespace {
                    request.namespace_key.clone_from(namespace);
                }
                evaluator.legacy(scope, request)
            }),
            Operation::LegacyBatch { namespace } => {
                answer(body, |request: &mut legacy::BatchEvaluationRequest| {
                    if let Some(namespace) = namespace {
                        request.namespace_key.clone_from(namespace);
                    }
                    evaluator.legacy_batch(scope, request)
                })
            }
            Operation::OfrepConfiguration => Ok(evaluator.ofrep_configuration().to_json()),
            Operation::OfrepFlag { key } => answer(body, |request: &mut ofrep::EvaluateFlagRequest| {
                request.key.clone_from(key);
                evaluator.ofrep_flag(scope, ofrep_namespace(headers), request)
            }),
            Operation::OfrepBulk => return bulk::answer(&evaluator, scope, headers, body),
        };
        answer.map(json_reply)
    }
}

fn encoded<M: prost::Message + prost::Name>(message: &M) -> Result<(String, Vec<u8>), Error> {
    Ok((M::full_name(), message.encode_to_vec()))
}

fn answer<T: Message, R: ToJson>(
    body: &[u8],
    operation: impl FnOnce(&mut T) -> Result<R, Error>,
) -> Result<Vec<u8>, Error> {
    let mut request = decode::<T>(body)?;
    Ok(operation(&mut request)?.to_json())
}

/// The environment that a call names by header; none is the empty text.
#[must_use]
pub fn environment(headers: &HeaderMap) -> &str {
    headers.get(ENVIRONMENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The namespace of an OFREP call: the first header value, else the default one.
#[must_use]
pub fn ofrep_namespace(headers: &HeaderMap) -> &str {
    let named = headers.get(OFREP_NAMESPACE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    flipt_model::namespace_or_default(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says how many paths an operation has; a new one does not compile before it is counted.
    const fn paths(operation: &Operation) -> usize {
        match operation {
            Operation::Legacy { .. } | Operation::LegacyBatch { .. } => 2,
            Operation::Boolean
            | Operation::Variant
            | Operation::Batch
            | Operation::OfrepConfiguration
            | Operation::OfrepFlag { .. }
            | Operation::OfrepBulk => 1,
        }
    }

    #[test]
    fn every_listed_path_is_an_operation_and_every_operation_is_listed() {
        let operations: Vec<Operation> = EvaluationHttp::PATHS
            .iter()
            .map(|path| {
                let segments = path::split(path).unwrap();
                let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
                Operation::of(&segments).unwrap_or_else(|| panic!("{path} is no operation"))
            })
            .collect();
        for operation in &operations {
            let same = |other: &&Operation| other.call() == operation.call();
            assert_eq!(operations.iter().filter(same).count(), paths(operation), "{operation:?}");
        }
        let calls: std::collections::BTreeSet<&str> = operations.iter().map(Operation::call).collect();
        assert_eq!(calls.len(), 8, "{calls:?}");
    }

    #[test]
    fn evaluation_paths_are_owned_with_and_without_a_trailing_slash() {
        for path in [
            "/evaluate/v1/boolean",
            "/evaluate/v1/nonsense",
            "/api/v1/evaluate",
            "/api/v1/evaluate/",
            "/api/v1/namespaces//evaluate",
            "/ofrep/v1/evaluate/flags/a",
        ] {
            assert!(EvaluationHttp::owns(path), "{path}");
        }
        for path in ["/", "/api/v1/flags", "/health", "/api/v1/namespaces/evaluate", "/evaluate/v2/boolean"] {
            assert!(!EvaluationHttp::owns(path), "{path}");
        }
    }
}
