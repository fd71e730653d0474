//! Calls of one server: with whose token, how many at once, how long.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flipt_client::{Address, Call, CallError, Client, Code, Options};
use flipt_crds::{FliptServer, Reason};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{Api, ResourceExt as _, api::PostParams};
use tokio::time::Instant;

use crate::{context::Context, metrics::Metrics, settings::Settings};

/// Longest time until a connection to a server stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of a call: a worker that waits does nothing else.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that a worker waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a token is asked for.
const TOKEN_SECONDS: i64 = 3_600;
/// How long a token from a Secret is kept.
const SECRET_AGE: Duration = Duration::from_secs(60);
/// The audience that servers accept if nothing else is said.
const SERVERS: &str = "flipt-server";
/// How the audiences of API servers begin.
const API_SERVER: &str = "https://kubernetes.default";
/// How many seconds' worth of writes may be made at once.
const BURST_SECONDS: f64 = 25.0;

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Indicates that the server refused, or could not be reached.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Indicates that there is no token to call with.
    #[error("no token for the server: {0}")]
    Token(String),
    /// Indicates that others are being written, and it is not this one's turn.
    #[error("more than {0} writes a second wait for this server")]
    Busy(u32),
}

impl Failure {
    /// The reason that a condition gives.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Busy(_) => Reason::RateLimited,
            Self::Token(_) => Reason::Unauthorized,
            Self::Call(error) => match error.code() {
                Some(Code::INVALID_ARGUMENT) => Reason::InvalidSpec,
                Some(Code::NOT_FOUND | Code::FAILED_PRECONDITION) => Reason::ReferenceNotFound,
                Some(Code::UNAUTHENTICATED | Code::PERMISSION_DENIED) => Reason::Unauthorized,
                Some(Code::RESOURCE_EXHAUSTED) => Reason::RateLimited,
                _ => Reason::ServerUnavailable,
            },
        }
    }

    /// What a condition says: the server's own sentence.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Call(CallError::Refused { code, message }) if *code == Code::UNIMPLEMENTED => format!(
                "{message}: the server has no API for owners; it is older than the operator, or another product"
            ),
            Self::Call(CallError::Refused { message, .. }) => message.clone(),
            other => other.to_string(),
        }
    }
}

/// The audience of no other server. A token for it is worth nothing anywhere else.
pub(crate) fn own_audience(server: &FliptServer) -> String {
    format!("{SERVERS}.{}.{}", server.namespace().unwrap_or_default(), server.name_any())
}

/// The audience of the token of its own account that the operator shows a server; nothing: it shows no such token. A
/// managed server lets nobody in without credentials, and accepts its own audience (`managed`).
fn audience(server: &FliptServer) -> Option<String> {
    let given = server.spec.auth.service_account_token.as_ref().map(|token| token.audience.as_str());
    match given {
        None | Some(SERVERS) if server.spec.managed.is_some() => {
            (given.is_some() || server.spec.auth.token_secret_ref.is_none()).then(|| own_audience(server))
        }
        given => given.map(str::to_owned),
    }
}

/// Why the operator does not show a server its token, for people: whoever may describe a server chooses where the token
/// goes, and could use it wherever its audience is accepted.
pub(crate) fn refuses_token(server: &FliptServer, settings: &Settings) -> Option<String> {
    let (audience, own) = (audience(server)?, own_audience(server));
    if audience.starts_with(API_SERVER) {
        return Some(format!(
            "spec.auth.serviceAccountToken.audience: {audience} is the API server of this cluster, whose tokens are shown to \
             nobody else; choose an audience that the server accepts, such as {own}"
        ));
    }
    let namespace = server.namespace().unwrap_or_default();
    (audience != own && !settings.trusts_servers_of(&namespace)).then(|| {
        format!(
            "spec.auth.serviceAccountToken: tokens for the audience {audience} are shown to servers in the namespace {} and \
             those of --token-namespaces only, as other servers accept them, too; use the audience {own} and let the server \
             accept it, or tokenSecretRef",
            settings.namespace
        )
    })
}

/// Calls of one server.
pub(crate) struct Connection {
    client: Client,
    token: Token,
    bucket: Bucket,
    /// One write at a time per namespace of the server.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    metrics: Metrics,
}

impl Connection {
    /// A connection to a server at this address. Nothing is called yet.
    ///
    /// # Errors
    /// For people: the address or the certificates cannot be used.
    pub(crate) async fn new(context: &Context, server: &FliptServer, url: &str) -> Result<Self, String> {
        let address = Address::parse(url).map_err(|error| error.to_string())?;
        let namespace = server.namespace().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
        let authorities =
            match server.spec.external.as_ref().and_then(|external| external.ca_secret_ref.as_ref()) {
                None => None,
                Some(reference) => Some(secret_value(&secrets, &reference.name, &reference.key).await?),
            };
        let options = Options { authorities, connect_timeout: CONNECT_TIMEOUT, call_timeout: CALL_TIMEOUT };
        let source = match (audience(server), &server.spec.auth.token_secret_ref) {
            (Some(audience), _) => Source::Account {
                accounts: Api::namespaced(context.client.clone(), &context.settings.namespace),
                name: context.settings.service_account.clone(),
                audience,
            },
            (None, Some(secret)) => {
                Source::Secret { secrets, name: secret.name.clone(), key: secret.key.clone() }
            }
            (None, None) => Source::Nothing,
        };
        Ok(Self {
            client: Client::with(&address, options).map_err(|error| error.to_string())?,
            token: Token { source, cached: tokio::sync::Mutex::new(None) },
            bucket: Bucket::new(context.settings.writes_per_second),
            turns: Mutex::default(),
            metrics: context.metrics.clone(),
        })
    }

    /// Calls the server.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Answer, Failure> {
        self.call_within::<C>(CALL_TIMEOUT, request).await
    }

    /// Calls the server with another limit of time.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn call_within<C: Call>(
        &self,
        limit: Duration,
        request: &C::Request,
    ) -> Result<C::Answer, Failure> {
        let token = self.token.get().await?;
        let client = self.client.with_token(&token)?.with_call_timeout(limit);
        let answer = client.call::<C>(request).await;
        let result = match &answer {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.code().map_or_else(|| "unreachable".to_owned(), |code| code.to_string()),
        };
        self.metrics.server_calls.with_label_values(&[C::NAME, &result]).inc();
        if matches!(&answer, Err(error) if error.code() == Some(Code::UNAUTHENTICATED)) {
            self.token.forget().await;
        }
        Ok(answer?)
    }

    /// Calls the server to change something in one of its namespaces, when that is due.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn write<C: Call>(
        &self,
        namespace: &str,
        request: &C::Request,
    ) -> Result<C::Answer, Failure> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(namespace.to_owned()).or_default())
        };
        let busy = || Failure::Busy(self.bucket.rate);
        let _turn = tokio::time::timeout(PATIENCE, turn.lock()).await.map_err(|_| busy())?;
        let wait = self.bucket.take(Instant::now()).ok_or_else(busy)?;
        tokio::time::sleep(wait).await;
        self.call::<C>(request).await
    }

    /// The version that the server reports.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn version(&self) -> Result<Option<String>, Failure> {
        let token = self.token.get().await?;
        Ok(self.client.with_token(&token)?.version().await?)
    }
}

/// Value of a key of a Secret.
///
/// # Errors
/// For people.
pub(crate) async fn secret_value(secrets: &Api<Secret>, name: &str, key: &str) -> Result<Vec<u8>, String> {
    let secret = tokio::time::timeout(CALL_TIMEOUT, secrets.get(name))
        .await
        .map_err(|_| format!("Secret {name}: no answer of the API server"))?
        .map_err(|error| match error {
            kube::Error::Api(status) => format!("Secret {name}: {}", status.message),
            error => format!("Secret {name}: {error}"),
        })?;
    let mut data = secret.data.unwrap_or_default();
    data.remove(key).map(|value| value.0).ok_or_else(|| format!("Secret {name} has no key {key}"))
}

enum Source {
    Nothing,
    Account { accounts: Api<ServiceAccount>, name: String, audience: String },
    Secret { secrets: Api<Secret>, name: String, key: String },
}

struct Token {
    source: Source,
    /// The token, and when it has to be asked for anew.
    cached: tokio::sync::Mutex<Option<(String, Instant)>>,
}

impl Token {
    async fn get(&self) -> Result<String, Failure> {
        let mut cached = self.cached.lock().await;
        if let Some((token, until)) = &*cached
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let (token, age) = match &self.source {
            Source::Nothing => return Ok(String::new()),
            Source::Secret { secrets, name, key } => {
                let value = secret_value(secrets, name, key).await.map_err(Failure::Token)?;
                let text = String::from_utf8(value)
                    .map_err(|_| Failure::Token(format!("key {key} of Secret {name} is no text")))?;
                (text.trim().to_owned(), SECRET_AGE)
            }
            Source::Account { accounts, name, audience } => requested(accounts, name, audience).await?,
        };
        *cached = Some((token.clone(), Instant::now() + age));
        Ok(token)
    }

    async fn forget(&self) {
        *self.cached.lock().await = None;
    }
}

/// A token of the operator's own service account, and how long to use it: 80 % of its life.
async fn requested(
    accounts: &Api<ServiceAccount>,
    name: &str,
    audience: &str,
) -> Result<(String, Duration), Failure> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(TOKEN_SECONDS),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let failed = |detail: String| Failure::Token(format!("service account {name}: {detail}"));
    let parameters = PostParams::default();
    let asking = accounts.create_token_request(name, &parameters, &request);
    let answer = tokio::time::timeout(CALL_TIMEOUT, asking)
        .await
        .map_err(|_| failed("no answer of the API server".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    let status = answer.status.ok_or_else(|| failed("the API server gave no token".to_owned()))?;
    let life = status.expiration_timestamp.0.duration_since(k8s_openapi::jiff::Timestamp::now());
    let seconds = u64::try_from(life.as_secs()).unwrap_or_default();
    Ok((status.token, Duration::from_secs(seconds * 4 / 5)))
}

/// A token bucket of writes.
struct Bucket {
    rate: u32,
    /// Writes that may be made, and when that was so. Less than none: so many are due already.
    level: Mutex<(f64, Option<Instant>)>,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Self { rate, level: Mutex::new((f64::from(rate) * BURST_SECONDS, None)) }
    }

    /// Takes one, and says how long to wait for it; nothing if that were longer than [`PATIENCE`].
    fn take(&self, now: Instant) -> Option<Duration> {
        let rate = f64::from(self.rate);
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = level.1.map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        let filled = (level.0 + passed.as_secs_f64() * rate).min(rate * BURST_SECONDS);
        let wait = Duration::try_from_secs_f64((1.0 - filled) / rate).unwrap_or(Duration::ZERO);
        let taken = wait <= PATIENCE;
        *level = (if taken { filled - 1.0 } else { filled }, Some(now));
        taken.then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::Arguments;

    fn server(namespace: &str, spec: &Value) -> FliptServer {
        serde_json::from_value(json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer",
            "metadata": { "name": "own", "namespace": namespace }, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn a_token_goes_only_where_nobody_can_use_it_elsewhere() {
        let line = ["flipt-operator", "--namespace", "flipt-system", "--token-namespaces", "trusted"];
        let settings = Arguments::try_parse_from(line).unwrap().settings;
        let external = |auth: Value| json!({ "external": { "url": "https://a.example" }, "auth": auth });
        let managed = |auth: Value| json!({ "managed": { "database": { "urlSecretRef": { "name": "d", "key": "u" } } }, "auth": auth });
        let token = |audience: &str| json!({ "serviceAccountToken": { "audience": audience } });
        let own = "flipt-server.shop.own";
        for (namespace, spec, expected, refused) in [
            ("flipt-system", external(json!({ "serviceAccountToken": {} })), Some("flipt-server"), false),
            ("trusted", external(token("other")), Some("other"), false),
            ("shop", external(json!({ "serviceAccountToken": {} })), Some("flipt-server"), true),
            ("shop", external(token("flipt-server.shop.other")), Some("flipt-server.shop.other"), true),
            ("shop", external(token(own)), Some(own), false),
            ("shop", external(json!({ "tokenSecretRef": { "name": "s", "key": "t" } })), None, false),
            ("shop", external(json!({})), None, false),
            ("shop", managed(json!({})), Some(own), false),
            ("shop", managed(json!({ "serviceAccountToken": {} })), Some(own), false),
            ("shop", managed(token("other")), Some("other"), true),
            ("shop", managed(json!({ "tokenSecretRef": { "name": "s", "key": "t" } })), None, false),
            (
                "flipt-system",
                external(token("https://kubernetes.default.svc.cluster.local")),
                Some("https://kubernetes.default.svc.cluster.local"),
                true,
            ),
        ] {
            let server = server(namespace, &spec);
            assert_eq!(audience(&server).as_deref(), expected, "{namespace} {spec}");
            let said = refuses_token(&server, &settings);
            assert_eq!(said.is_some(), refused, "{namespace} {spec}: {said:?}");
        }
    }

    #[test]
    fn many_writes_at_once_are_followed_by_as_many_as_the_rate_allows() {
        let bucket = Bucket::new(20);
        let start = Instant::now();
        for _ in 0..500 {
            assert_eq!(bucket.take(start), Some(Duration::ZERO));
        }
        let waits: Vec<u128> = (0..3).map(|_| bucket.take(start).unwrap().as_millis()).collect();
        assert_eq!(waits, [50, 100, 150]);
        assert!(bucket.take(start + Duration::from_secs(1)).unwrap().is_zero());
    }

    #[test]
    fn nobody_waits_longer_than_the_patience() {
        let bucket = Bucket::new(1);
        let start = Instant::now();
        let made = std::iter::from_fn(|| bucket.take(start)).take(1_000).count();
        assert_eq!(made, 25 + 5);
        assert!(bucket.take(start + Duration::from_secs(1)).is_some(), "those that gave up take no place");
    }
}
