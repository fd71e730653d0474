//! The REST port: which part answers which path.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use flipt_proto::{client as v2, evaluation::EvaluationNamespaceSnapshot};
use flipt_serving::{
    Body, Code, Error, EvaluationHttp, Gate, HttpService,
    http::{
        BODY_LIMIT, error_reply, json_reply, not_found_reply, ofrep_error_reply, path::split, read_body,
        text_reply,
    },
};
use flipt_telemetry::Registry;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use prost::Name as _;

use crate::{
    Api, calls, client, compression,
    cors::Cors,
    data, deadline,
    form::Form,
    pretty, query,
    rest::{Bindings, Found},
    transcode::Parameters,
};

/// Longest time a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Answers the requests of the REST port.
pub struct ServerHttp {
    api: Api,
    bindings: Bindings,
    evaluation: EvaluationHttp,
    registry: Registry,
    cors: Option<Cors>,
}

/// A request on its way to its handler.
struct Asked<'a> {
    head: Parts,
    body: Incoming,
    /// Whether parameters come from the body, as in a form.
    form: bool,
    /// The path's elements.
    segments: &'a [&'a str],
}

/// An answer, with the full name of the message in its body if it is one.
struct Answered {
    response: Response<Full<Bytes>>,
    message: Option<String>,
}

impl From<Response<Full<Bytes>>> for Answered {
    fn from(response: Response<Full<Bytes>>) -> Self {
        Self { response, message: None }
    }
}

impl ServerHttp {
    /// Serves this API; evaluations to whom the gate admits.
    #[must_use]
    pub fn new(api: Api, gate: Arc<dyn Gate>, registry: Registry) -> Self {
        let evaluation = EvaluationHttp::new(api.evaluator().clone(), gate);
        Self { api, bindings: calls::bindings(), evaluation, registry, cors: None }
    }

    /// Lets pages of other origins call.
    #[must_use]
    pub fn with_cors(self, cors: Cors) -> Self {
        Self { cors: Some(cors), ..self }
    }

    /// Answers with what browsers need beside the answer proper.
    async fn answer_browsers(&self, request: Request<Incoming>) -> Response<Body> {
        let Some(cors) = &self.cors else { return self.answer_or_stream(request).await };
        if let Some(response) = cors.preflight::<_, Full<Bytes>>(&request) {
            return response.map(Either::Left);
        }
        let reader = cors.reader(&request);
        let mut response = self.answer_or_stream(request).await;
        cors.mark(reader, response.headers_mut());
        response
    }

    async fn answer_or_stream(&self, request: Request<Incoming>) -> Response<Body> {
        match self.stream(&request) {
            Some(stream) => stream,
            None => self.answer(request).await.map(Either::Left),
        }
    }

    /// Answers a request for a stream; `None` if it is for something else.
    fn stream(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let segments = split(request.uri().path())?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["client", "v2", "environments", environment, "namespaces", key, "stream"] = segments.as_slice()
        else {
            return None;
        };
        if request.method() != Method::GET {
            let error = Error::new(Code::Unimplemented, "Method Not Allowed");
            return Some(error_reply(&error).map(Either::Left));
        }
        let query = request.uri().query().unwrap_or_default();
        let stream = client::stream(&self.api, environment, key, request.headers(), query);
        Some(stream.unwrap_or_else(|error| error_reply(&error).map(Either::Left)))
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/health" => return health(&request),
            "/metrics" => {
                let mut response = Response::new(Full::new(self.registry.render().into()));
                let content_type = HeaderValue::from_static(Registry::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                return response;
            }
            _ => {}
        }
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let is_pretty = pretty::is_wanted(&head);
        if is_pretty {
            // What comes compressed cannot be indented.
            head.headers.remove(header::ACCEPT_ENCODING);
        }
        let answering = async {
            match deadline::allowed(&head.headers)? {
                None => Ok(self.route(&path, head, body).await),
                Some(time) => tokio::time::timeout(time, self.route(&path, head, body))
                    .await
                    .map_err(|_| deadline::exceeded()),
            }
        };
        let answered = answering.await.unwrap_or_else(|error: Error| {
            if path.starts_with("/ofrep/") { ofrep_error_reply(&error) } else { error_reply(&error) }.into()
        });
        if is_pretty {
            pretty::indent(answered.response, answered.message.as_deref()).await
        } else {
            answered.response
        }
    }

    async fn route(&self, path: &str, mut head: Parts, body: Incoming) -> Answered {
        let Some(segments) = split(path) else {
            return text_reply(StatusCode::BAD_REQUEST, "400 Bad Request").into();
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let form = Form::of(&head.method, &head.headers);
        match &form {
            Form::Override(method) => head.method = method.clone(),
            Form::Plain if !self.offers(&Method::POST, path, &segments) => head.method = Method::GET,
            Form::Plain | Form::No => {}
        }
        if EvaluationHttp::owns(path) {
            let message = EvaluationHttp::offer(path).map(|offer| offer.answer);
            let response = self.evaluation.handle(Request::from_parts(head, body)).await;
            return Answered { response, message };
        }
        let asked = Asked { head, body, form: form != Form::No, segments: &segments };
        match segments.as_slice() {
            ["api", "v1", ..] | ["api", "v2", "environments", ..] => {
                self.call(asked).await.unwrap_or_else(|error| error_reply(&error).into())
            }
            ["internal", "v1", "evaluation", "snapshot", "namespace", key] => {
                let snapshot = async {
                    require_get(&asked.head)?;
                    data::rest(&self.api, key, &asked.head.headers).await
                };
                let response = snapshot.await.unwrap_or_else(|error| error_reply(&error));
                Answered { response, message: Some(EvaluationNamespaceSnapshot::full_name()) }
            }
            ["client", "v2", "environments", environment, "namespaces", key, "snapshot"] => {
                let snapshot = async {
                    require_get(&asked.head)?;
                    client::snapshot(&self.api, environment, key, &asked.head.headers).await
                };
                let response = snapshot.await.unwrap_or_else(|error| error_reply(&error));
                Answered { response, message: Some(v2::EvaluationNamespaceSnapshot::full_name()) }
            }
            ["client", "v2", ..] => not_found_reply().into(),
            ["internal", "v1", ..] => not_found_reply().into(),
            _ => text_reply(StatusCode::NOT_FOUND, "404 page not found\n").into(),
        }
    }

    /// Whether a path can be called with this verb.
    fn offers(&self, method: &Method, path: &str, segments: &[&str]) -> bool {
        match segments {
            _ if EvaluationHttp::owns(path) => {
                EvaluationHttp::offer(path).is_some_and(|offer| offer.method == *method)
            }
            ["api", ..] => self.bindings.offers(method, segments),
            _ => *method == Method::GET,
        }
    }

    async fn call(&self, asked: Asked<'_>) -> Result<Answered, Error> {
        let Asked { head, body, form, segments } = asked;
        let (binding, path) = match self.bindings.find(&head.method, segments) {
            Found::Call(binding, fields) => (binding, fields),
            Found::WrongMethod => return Err(Error::new(Code::Unimplemented, "Method Not Allowed")),
            Found::Nothing => return Err(Error::new(Code::NotFound, "Not Found")),
        };
        let reads_body = matches!(head.method, Method::POST | Method::PUT);
        let mut body = if reads_body || form { read_body(body, BODY_LIMIT).await? } else { Bytes::new() };
        let mut query =
            if reads_body { Vec::new() } else { query::parse(head.uri.query().unwrap_or_default())? };
        if form && head.method != Method::POST {
            // The body was a form, and is read as one; there is no other.
            let parameters = std::mem::take(&mut body);
            query.extend(query::parse(&String::from_utf8_lossy(&parameters))?);
        }
        let parameters = Parameters { path, query };
        let answering = (binding.invoke)(&self.api, &body, &parameters);
        match tokio::time::timeout(TIMEOUT, answering).await {
            Ok(answer) => Ok(Answered { response: json_reply(answer?), message: Some((binding.answer)()) }),
            Err(_) => Err(Error::new(
                Code::Unavailable,
                format!("no answer from the database within {} s", TIMEOUT.as_secs()),
            )),
        }
    }
}

fn require_get(head: &Parts) -> Result<(), Error> {
    if head.method == Method::GET {
        return Ok(());
    }
    Err(Error::new(Code::Unimplemented, "Method Not Allowed"))
}

fn health(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let service = query::parse(request.uri().query().unwrap_or_default())
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

impl HttpService for ServerHttp {
    fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            let coding = compression::accepted(request.headers());
            compression::compress(self.answer_browsers(request).await, coding).await
        })
    }
}
