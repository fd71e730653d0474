//! The REST port: which part answers which path.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use flipt_serving::{
    Code, Error, EvaluationHttp, Gate, HttpService,
    http::{
        BODY_LIMIT, error_reply, json_reply, not_found_reply,
        path::{percent_decode, split},
        read_body, text_reply,
    },
};
use flipt_telemetry::Registry;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};

use crate::{
    Api, calls, data,
    rest::{Bindings, Found},
    transcode::{self, Parameters},
};

/// Longest time a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Answers the requests of the REST port.
pub struct ServerHttp {
    api: Api,
    bindings: Bindings,
    evaluation: EvaluationHttp,
    registry: Registry,
}

impl ServerHttp {
    /// Serves this API; evaluations to whom the gate admits.
    #[must_use]
    pub fn new(api: Api, gate: Arc<dyn Gate>, registry: Registry) -> Self {
        let evaluation = EvaluationHttp::new(api.evaluator().clone(), gate);
        Self { api, bindings: calls::bindings(), evaluation, registry }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match path {
            "/health" => return health(&request),
            "/metrics" => {
                let mut response = Response::new(Full::new(self.registry.render().into()));
                let content_type = HeaderValue::from_static(Registry::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                return response;
            }
            _ => {}
        }
        if EvaluationHttp::owns(path) {
            return self.evaluation.handle(request).await;
        }
        let Some(segments) = split(path) else {
            return text_reply(StatusCode::BAD_REQUEST, "400 Bad Request");
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["api", "v1", rest @ ..] => {
                let (head, body) = request.into_parts();
                self.call(&head, body, rest).await.unwrap_or_else(|error| error_reply(&error))
            }
            ["internal", "v1", "evaluation", "snapshot", "namespace", key] => {
                let (head, _) = request.into_parts();
                self.snapshot(&head, key).await.unwrap_or_else(|error| error_reply(&error))
            }
            ["internal", "v1", ..] => not_found_reply(),
            _ => text_reply(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    async fn call(
        &self,
        head: &Parts,
        body: Incoming,
        segments: &[&str],
    ) -> Result<Response<Full<Bytes>>, Error> {
        let (binding, path) = match self.bindings.find(&head.method, segments) {
            Found::Call(binding, fields) => (binding, fields),
            Found::WrongMethod => return Err(Error::new(Code::Unimplemented, "Method Not Allowed")),
            Found::Nothing => return Err(Error::new(Code::NotFound, "Not Found")),
        };
        let reads_body = matches!(head.method, Method::POST | Method::PUT);
        let body = if reads_body { read_body(body, BODY_LIMIT).await? } else { Bytes::new() };
        let query = if reads_body { Vec::new() } else { query(head.uri.query().unwrap_or_default())? };
        let parameters = Parameters { path, query };
        let answering = (binding.invoke)(&self.api, &body, &parameters);
        match tokio::time::timeout(TIMEOUT, answering).await {
            Ok(answer) => Ok(json_reply(answer?)),
            Err(_) => Err(Error::new(
                Code::Unavailable,
                format!("no answer from the database within {} s", TIMEOUT.as_secs()),
            )),
        }
    }

    async fn snapshot(&self, head: &Parts, key: &str) -> Result<Response<Full<Bytes>>, Error> {
        if head.method != Method::GET {
            return Err(Error::new(Code::Unimplemented, "Method Not Allowed"));
        }
        let condition = head.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let (etag, mut response) = match data::snapshot(&self.api, key, condition, &head.headers).await? {
            data::Answer::Snapshot { etag, snapshot } => (etag, json_reply(transcode::to_json(&*snapshot)?)),
            data::Answer::NotModified { etag } => {
                let mut response = json_reply(Vec::new());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                (Some(etag), response)
            }
        };
        if let Some(value) = etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
            response.headers_mut().insert(header::ETAG, value);
        }
        Ok(response)
    }
}

fn health(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let service = query(request.uri().query().unwrap_or_default())
        .ok()
        .and_then(|pairs| pairs.into_iter().find(|(name, _)| name == "service"))
        .map(|(_, value)| value)
        .unwrap_or_default();
    if service.is_empty() {
        json_reply(br#"{"status":"SERVING"}"#.to_vec())
    } else {
        error_reply(&Error::new(Code::NotFound, "unknown service"))
    }
}

/// The pairs of a query string, decoded.
fn query(text: &str) -> Result<Vec<(String, String)>, Error> {
    if text.contains(';') {
        return Err(Error::new(Code::InvalidArgument, "invalid semicolon separator in query"));
    }
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                percent_decode(&text.replace('+', " "))
                    .ok_or_else(|| Error::new(Code::InvalidArgument, format!("invalid URL escape {text:?}")))
            };
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

impl HttpService for ServerHttp {
    fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>> {
        Box::pin(async move { self.answer(request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded_and_refused_by_name() {
        assert_eq!(
            query("a=1&b=x%20y+z&&c").unwrap(),
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "x y z".to_owned()),
                ("c".to_owned(), String::new()),
            ]
        );
        assert!(query("a=%zz").unwrap_err().message.contains("%zz"));
        assert!(query("a=1;b=2").is_err());
    }
}
