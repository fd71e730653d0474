//! The REST port: which part answers which path.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use flipt_proto::evaluation::EvaluationNamespaceSnapshot;
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
    Api, calls, compression,
    cors::Cors,
    data, deadline,
    form::Form,
    pretty, query,
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
        let Some(cors) = &self.cors else { return self.answer(request).await.map(Either::Left) };
        if let Some(response) = cors.preflight::<_, Full<Bytes>>(&request) {
            return response.map(Either::Left);
        }
        let reader = cors.reader(&request);
        let mut response = self.answer(request).await.map(Either::Left);
        cors.mark(reader, response.headers_mut());
        response
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
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let is_pretty = pretty::is_wanted(&head);
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
            ["api", "v1", ..] => self.call(asked).await.unwrap_or_else(|error| error_reply(&error).into()),
            ["internal", "v1", "evaluation", "snapshot", "namespace", key] => {
                let message = Some(EvaluationNamespaceSnapshot::full_name());
                let response =
                    self.snapshot(&asked.head, key).await.unwrap_or_else(|error| error_reply(&error));
                Answered { response, message }
            }
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
