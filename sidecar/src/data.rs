//! The data listener: evaluation, with a status page for people.

use std::{future::Future, pin::Pin, sync::Arc};

use chrono::{SecondsFormat, Utc};
use flipt_proto::auth::{
    VerifyServiceAccountRequest, VerifyServiceAccountResponse,
    authentication_method_kubernetes_service_server::AuthenticationMethodKubernetesService,
};
use flipt_serving::{
    Body, Code, EXCHANGE_PATH, Error, EvaluationHttp, HttpService, ServiceAccounts, exchanged,
    exchanged_json,
    http::{error_reply, json_reply, read_body, text_reply},
    token_of_exchange,
};
use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};

use crate::{health::Health, holder::Holder};

/// Largest request to exchange a token; a token has at most 8 KiB.
const EXCHANGE_LIMIT: usize = 16 * 1024;

/// Answers on the data listener.
pub(crate) struct Data {
    evaluation: EvaluationHttp,
    holder: Arc<Holder>,
    health: Arc<Health>,
    accounts: Option<Arc<ServiceAccounts>>,
    /// Whether requests must name this machine as their host. Set when every address is a loopback one: a
    /// page in a browser cannot then reach us under a name of its own (DNS rebinding).
    loopback_only: bool,
}

impl Data {
    pub(crate) fn new(
        evaluation: EvaluationHttp,
        holder: Arc<Holder>,
        health: Arc<Health>,
        accounts: Option<Arc<ServiceAccounts>>,
        loopback_only: bool,
    ) -> Self {
        Self { evaluation, holder, health, accounts, loopback_only }
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
            EXCHANGE_PATH if request.method() == Method::POST => self.exchange(request).await,
            path if EvaluationHttp::owns(path) => self.evaluation.handle(request).await,
            _ => text_reply(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    /// Flipt's exchange of a service account token, for SDKs that begin with it. The client token is the same
    /// token: nothing is stored here.
    async fn exchange(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(accounts) = &self.accounts else {
            return text_reply(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        let exchanging = async {
            let body = read_body(request.into_body(), EXCHANGE_LIMIT).await?;
            let token = token_of_exchange(&body).ok_or_else(|| {
                Error::new(Code::InvalidArgument, "expected a JSON object with serviceAccountToken")
            })?;
            let caller = accounts.verify(Some(&format!("Bearer {}", token.trim())))?;
            Ok(json_reply(exchanged_json(&caller, token.trim())))
        };
        exchanging.await.unwrap_or_else(|error: Error| error_reply(&error))
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
            "stale": self.health.is_stale(),
            "upstream": state.upstream.map(|upstream| upstream.name()),
            "lastError": state.last_error,
            "keys": keys,
        })
        .to_string()
        .into_bytes()
    }
}

/// The exchange over gRPC.
pub(crate) struct ExchangeGrpc(Arc<ServiceAccounts>);

impl ExchangeGrpc {
    pub(crate) const fn new(accounts: Arc<ServiceAccounts>) -> Self {
        Self(accounts)
    }
}

#[tonic::async_trait]
impl AuthenticationMethodKubernetesService for ExchangeGrpc {
    async fn verify_service_account(
        &self,
        request: tonic::Request<VerifyServiceAccountRequest>,
    ) -> Result<tonic::Response<VerifyServiceAccountResponse>, tonic::Status> {
        let token = request.get_ref().service_account_token.trim();
        let caller = self.0.verify(Some(&format!("Bearer {token}")))?;
        Ok(tonic::Response::new(exchanged(&caller, token)))
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
