//! The REST port: which part answers which path.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use flipt_auth::{Asked as Message, CrossOrigin, Guard, cookies, credentials};
use flipt_proto::{
    client as v2,
    evaluation::{EvaluationNamespaceSnapshot, EvaluationNamespaceSnapshotRequest},
    flipt::ListNamespaceRequest,
};
use flipt_serving::{
    Body, Code, Error, EvaluationHttp, HttpService, Open,
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
use tokio::sync::watch;

use crate::{
    Api,
    admission::admit,
    calls, client, compression,
    cors::Cors,
    data, deadline,
    endpoint::Endpoint,
    form::Form,
    meta, openapi, pretty,
    published::later,
    query,
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
    guard: Guard,
    cross_origin: Option<CrossOrigin>,
    registry: Registry,
    cors: Option<Cors>,
    /// Turns true when the server wants no further requests.
    draining: watch::Receiver<bool>,
    /// The OpenAPI document of what is offered here, made when it is first asked for.
    description: OnceLock<Bytes>,
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
    /// Serves this API to whom the guard admits.
    #[must_use]
    pub fn new(api: Api, guard: Guard, registry: Registry) -> Self {
        // Whoever gets as far as an evaluation was admitted by the guard.
        let evaluation = EvaluationHttp::new(api.evaluator().clone(), Arc::new(Open));
        let bindings = calls::bindings(|service| guard.offers(service));
        let cross_origin = CrossOrigin::new(&api.authentications.config().session);
        let description = OnceLock::new();
        let draining = watch::Sender::new(false).subscribe();
        Self { api, bindings, evaluation, guard, cross_origin, registry, cors: None, draining, description }
    }

    /// Says that it is not ready, and closes connections after their next answer, once this turns true.
    #[must_use]
    pub fn with_draining(self, draining: watch::Receiver<bool>) -> Self {
        Self { draining, ..self }
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
        match self.stream(&request).await {
            Some(stream) => stream,
            None => self.answer(request).await.map(Either::Left),
        }
    }

    /// Answers a request for a stream; `None` if it is for something else.
    async fn stream(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let segments = split(request.uri().path())?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (Endpoint::ClientStream, values) = Endpoint::of(&segments)? else { return None };
        let [environment, key] = values.as_slice() else { return None };
        if request.method() != Method::GET {
            let error = Error::new(Code::Unimplemented, "Method Not Allowed");
            return Some(error_reply(&error).map(Either::Left));
        }
        let query = request.uri().query().unwrap_or_default();
        let streaming = async {
            let message = || {
                encoded(&v2::EvaluationNamespaceSnapshotStreamRequest {
                    environment_key: (*environment).to_owned(),
                    key: (*key).to_owned(),
                    ..Default::default()
                })
            };
            admit(&self.guard, client::SERVICE, request.headers(), message).await?;
            client::stream(&self.api, environment, key, request.headers(), query)
        };
        Some(streaming.await.unwrap_or_else(|error| error_reply(&error).map(Either::Left)))
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match Endpoint::plain(request.uri().path()) {
            Some(Endpoint::Livez) => return health(&request, true),
            Some(Endpoint::Health | Endpoint::Readyz) => return health(&request, !*self.draining.borrow()),
            Some(Endpoint::Metrics) => {
                let mut response = Response::new(Full::new(self.registry.render().into()));
                let content_type = HeaderValue::from_static(Registry::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                return response;
            }
            Some(Endpoint::Description) if request.method() == Method::GET => {
                return json_reply(Vec::new()).map(|_| Full::new(self.description()));
            }
            Some(Endpoint::Description) => {
                return error_reply(&Error::new(Code::Unimplemented, "Method Not Allowed"));
            }
            _ if request.uri().path().starts_with("/health/") => return not_found_reply(),
            _ => {}
        }
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if let Some(Err(reason)) =
            self.cross_origin.as_ref().map(|rule| rule.check(&head.method, &head.headers))
        {
            return text_reply(StatusCode::FORBIDDEN, format!("{reason}\n"));
        }
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
            return self.evaluate(path, head, body).await;
        }
        let asked = Asked { head, body, form: form != Form::No, segments: &segments };
        if let Some((endpoint, values)) = Endpoint::of(&segments) {
            return self.serve(endpoint, &values, &asked.head).await;
        }
        match segments.as_slice() {
            ["api", "v1", ..]
            | ["api", "v2", "environments", ..]
            | ["ownership", "v1", "environments", ..] => {
                self.call(asked).await.unwrap_or_else(|error| error_reply(&error).into())
            }
            ["auth", "v1", ..] => self.call_auth(asked).await,
            ["meta", ..] => not_found_reply().into(),
            ["internal", "v1", "analytics", "namespaces", _, "flags", _] => {
                error_reply(&analytics(&asked.head.method)).into()
            }
            ["client", "v2", ..] => not_found_reply().into(),
            ["internal", "v1", ..] => not_found_reply().into(),
            _ => text_reply(StatusCode::NOT_FOUND, "404 page not found\n").into(),
        }
    }

    fn description(&self) -> Bytes {
        let describe = || openapi::document(&self.bindings, |service| self.guard.needs_credentials(service));
        self.description.get_or_init(|| describe().to_string().into()).clone()
    }

    /// What is at a path that is no call.
    async fn serve(&self, endpoint: Endpoint, values: &[&str], head: &Parts) -> Answered {
        let (answering, message) = match (endpoint, values) {
            (Endpoint::Snapshot, [key]) => {
                (self.snapshot(head, key).await, Some(EvaluationNamespaceSnapshot::full_name()))
            }
            (Endpoint::ClientSnapshot, [environment, key]) => (
                self.client_snapshot(head, environment, key).await,
                Some(v2::EvaluationNamespaceSnapshot::full_name()),
            ),
            (Endpoint::PublishedPointer | Endpoint::PublishedObject, _) => {
                return self.published(endpoint, head, values).await.into();
            }
            (Endpoint::Information, _) => (self.about(head, &self.api.about.info).await, None),
            (Endpoint::Configuration, _) => (self.about(head, &self.api.about.configuration).await, None),
            // The others were answered before.
            _ => return not_found_reply().into(),
        };
        let response = answering.unwrap_or_else(|error| error_reply(&error));
        Answered { response, message }
    }

    async fn snapshot(&self, head: &Parts, key: &str) -> Result<Response<Full<Bytes>>, Error> {
        require_get(head)?;
        let message =
            || encoded(&EvaluationNamespaceSnapshotRequest { key: key.to_owned(), ..Default::default() });
        admit(&self.guard, data::SERVICE, &head.headers, message).await?;
        data::rest(&self.api, key, &head.headers).await
    }

    /// What a bucket would hold, if this server published to it. It is about every namespace, so a token of one
    /// does not open it.
    async fn published(&self, endpoint: Endpoint, head: &Parts, values: &[&str]) -> Response<Full<Bytes>> {
        let answering = async {
            require_get(head)?;
            let message = || encoded(&ListNamespaceRequest::default());
            admit(&self.guard, data::SERVICE, &head.headers, message).await?;
            let permit = match self.api.turnstile.enter() {
                Ok(permit) => permit,
                Err(busy) => return Ok(*busy),
            };
            let answering = async {
                match (endpoint, values) {
                    (Endpoint::PublishedPointer, [key]) => {
                        self.api.published_pointer(key, &head.headers, permit).await
                    }
                    (Endpoint::PublishedObject, [key, folder, name]) => {
                        self.api.published_object(key, folder, name, permit).await
                    }
                    _ => Ok(not_found_reply()),
                }
            };
            tokio::time::timeout(TIMEOUT, answering).await.unwrap_or_else(|_| Err(no_answer()))
        };
        answering.await.unwrap_or_else(|error: Error| match error.code {
            Code::Unavailable => later(error_reply(&error)),
            _ => error_reply(&error),
        })
    }

    async fn client_snapshot(
        &self,
        head: &Parts,
        environment: &str,
        key: &str,
    ) -> Result<Response<Full<Bytes>>, Error> {
        require_get(head)?;
        let message = || {
            encoded(&v2::EvaluationNamespaceSnapshotRequest {
                environment_key: environment.to_owned(),
                key: key.to_owned(),
                ..Default::default()
            })
        };
        admit(&self.guard, client::SERVICE, &head.headers, message).await?;
        client::snapshot(&self.api, environment, key, &head.headers).await
    }

    /// Whether a path can be called with this verb.
    fn offers(&self, method: &Method, path: &str, segments: &[&str]) -> bool {
        match segments {
            _ if EvaluationHttp::owns(path) => {
                EvaluationHttp::offer(path).is_some_and(|offer| offer.method == *method)
            }
            ["api" | "auth" | "ownership", ..] => self.bindings.offers(method, segments),
            _ => *method == Method::GET,
        }
    }

    /// Evaluates for a caller whom the guard admits.
    async fn evaluate(&self, path: &str, head: Parts, body: Incoming) -> Answered {
        let Some(offer) = EvaluationHttp::offer(path).filter(|offer| offer.method == head.method) else {
            // Says that there is nothing, or another verb.
            return self.evaluation.answer_admitted(&head, &[]).into();
        };
        let admitting = async {
            let body = read_body(body, BODY_LIMIT).await?;
            let message =
                || EvaluationHttp::message(path, &body).map(|(message, bytes)| Message { message, bytes });
            admit(&self.guard, offer.service, &head.headers, message).await?;
            Ok(body)
        };
        match admitting.await {
            Ok(body) => {
                let response = self.evaluation.answer_admitted(&head, &body);
                Answered { response, message: Some(offer.answer) }
            }
            Err(error) if path.starts_with("/ofrep/") => {
                // OFREP has no challenges (api spec, section 2.7).
                ofrep_error_reply(&Error { challenge: None, ..error }).into()
            }
            Err(error) => error_reply(&error).into(),
        }
    }

    /// A call about credentials. Who logs out, or shows a session that is over, is told to forget it (auth
    /// spec, sections 3 and 7.5).
    async fn call_auth(&self, asked: Asked<'_>) -> Answered {
        let logs_out = asked.head.method == Method::PUT && asked.segments == ["auth", "v1", "self", "expire"];
        let has_cookie = credentials::has_cookie(&asked.head.headers);
        let mut answered = self.call(asked).await.unwrap_or_else(|error| error_reply(&error).into());
        if logs_out || (has_cookie && answered.response.status() == StatusCode::UNAUTHORIZED) {
            let domain = &self.api.authentications.config().session.domain;
            cookies::clear(domain, answered.response.headers_mut());
        }
        answered
    }

    /// What the server says about itself.
    async fn about(&self, head: &Parts, document: &Bytes) -> Result<Response<Full<Bytes>>, Error> {
        require_get(head)?;
        admit(&self.guard, meta::SERVICE, &head.headers, || encoded(&())).await?;
        Ok(json_reply(document.to_vec()))
    }

    async fn call(&self, asked: Asked<'_>) -> Result<Answered, Error> {
        let Asked { head, body, form, segments } = asked;
        let (binding, path) = match self.bindings.find(&head.method, segments) {
            Found::Call(binding, fields) => (binding, fields),
            Found::WrongMethod => return Err(Error::new(Code::Unimplemented, "Method Not Allowed")),
            Found::Nothing => return Err(Error::new(Code::NotFound, "Not Found")),
        };
        let reads_body = binding.reads_body;
        let mut body = if reads_body || form { read_body(body, BODY_LIMIT).await? } else { Bytes::new() };
        let mut query =
            if reads_body { Vec::new() } else { query::parse(head.uri.query().unwrap_or_default())? };
        if form && head.method != Method::POST {
            // The body was a form, and is read as one; there is no other.
            let parameters = std::mem::take(&mut body);
            query.extend(query::parse(&String::from_utf8_lossy(&parameters))?);
        }
        let parameters = Parameters { path, query };
        let message = || (binding.encode)(&body, &parameters);
        let caller = admit(&self.guard, binding.service, &head.headers, message).await?;
        let answering = (binding.invoke)(&self.api, &caller, &body, &parameters);
        match tokio::time::timeout(TIMEOUT, answering).await {
            Ok(answer) => Ok(Answered { response: json_reply(answer?), message: Some((binding.answer)()) }),
            Err(_) => Err(no_answer()),
        }
    }
}

fn no_answer() -> Error {
    Error::new(Code::Unavailable, format!("no answer from the database within {} s", TIMEOUT.as_secs()))
}

fn require_get(head: &Parts) -> Result<(), Error> {
    if head.method == Method::GET {
        return Ok(());
    }
    Err(Error::new(Code::Unimplemented, "Method Not Allowed"))
}

/// A message for whoever decides about it.
fn encoded<M: prost::Message + prost::Name>(message: &M) -> Result<Message, Error> {
    Ok(Message { message: M::full_name(), bytes: message.encode_to_vec() })
}

/// There are no counts of evaluations yet.
fn analytics(method: &Method) -> Error {
    let message = if *method == Method::GET {
        "service flipt.analytics.AnalyticsService not implemented"
    } else {
        "Method Not Allowed"
    };
    Error::new(Code::Unimplemented, message)
}

fn health(request: &Request<Incoming>, is_serving: bool) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return error_reply(&Error::new(Code::Unimplemented, "Method Not Allowed"));
    }
    let service = query::parse(request.uri().query().unwrap_or_default())
        .ok()
        .and_then(|pairs| pairs.into_iter().find(|(name, _)| name == "service"))
        .map(|(_, value)| value)
        .unwrap_or_default();
    if !service.is_empty() {
        return error_reply(&Error::new(Code::NotFound, "unknown service"));
    }
    if is_serving {
        return json_reply(br#"{"status":"SERVING"}"#.to_vec());
    }
    let mut reply = json_reply(br#"{"status":"NOT_SERVING"}"#.to_vec());
    *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    reply
}

impl HttpService for ServerHttp {
    fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            let coding = compression::accepted(request.headers());
            let mut response = compression::compress(self.answer_browsers(request).await, coding).await;
            if *self.draining.borrow() {
                // The client's next request goes to another server.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        })
    }
}
