//! The data listener: evaluation, with a status page for people.

use std::{future::Future, pin::Pin, sync::Arc};

use chrono::{SecondsFormat, Utc};
use flipt_serving::{
    Body, Code, Error, EvaluationHttp, HttpService, ServiceAccounts,
    http::{error_reply, json_reply, text_reply},
};
use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};

use crate::holder::Holder;

/// Answers on the data listener.
pub(crate) struct Data {
    evaluation: EvaluationHttp,
    holder: Arc<Holder>,
    accounts: Option<Arc<ServiceAccounts>>,
    /// Whether requests must name this machine as their host. Set when every address is a loopback one: a
    /// page in a browser cannot then reach us under a name of its own (DNS rebinding).
    loopback_only: bool,
}

impl Data {
    pub(crate) fn new(
        evaluation: EvaluationHttp,
        holder: Arc<Holder>,
        accounts: Option<Arc<ServiceAccounts>>,
        loopback_only: bool,
    ) -> Self {
        Self { evaluation, holder, accounts, loopback_only }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.loopback_only && !names_this_machine(&request) {
            return error_reply(&Error::new(
                Code::PermissionDenied,
                "this address serves localhost only: the Host header must name localhost, 127.0.0.1 or [::1]",
            ));
        }
        match request.uri().path() {
            "/status" if request.method() == Method::GET => json_reply(self.status()),
            path if EvaluationHttp::owns(path) => self.evaluation.handle(request).await,
            _ => text_reply(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    fn status(&self) -> Vec<u8> {
        let state = self.holder.status().state();
        let keys = self.accounts.as_ref().map(|accounts| {
            let (count, age) = accounts.keys();
            serde_json::json!({ "count": count, "ageSeconds": age.map(|age| age.as_secs()) })
        });
        serde_json::json!({
            "loaded": state.loaded,
            "revision": state.revision,
            "epoch": state.epoch,
            "digest": state.digest.as_ref().map(ToString::to_string),
            "source": state.source.map(|source| source.name()),
            "verifiedAt": state.verified_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            "ageSeconds": state.age(Utc::now()).map(|age| age.as_secs()),
            "upstream": state.upstream.map(|upstream| upstream.name()),
            "lastError": state.last_error,
            "keys": keys,
        })
        .to_string()
        .into_bytes()
    }
}

fn names_this_machine(request: &Request<Incoming>) -> bool {
    // An absolute request target takes the place of the header.
    let host = request
        .uri()
        .host()
        .or_else(|| request.headers().get(HOST).and_then(|value| value.to_str().ok()))
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
}

impl HttpService for Data {
    fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move { self.answer(request).await.map(Either::Left) })
    }
}
