//! A running server as a store: it offers the layout of a bucket, to read from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use super::folder::read_limited;
use super::{
    BoxFuture, Etag, Got, Headers, Listed, Precondition, Put, Source, Store, StoreError, StoreErrorKind,
    key_is_safe,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Until the head of the answer. The server may have to read its whole state from its database first.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// As for S3.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// An idle connection is let go before most load balancers do it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How much of the server's own words a message repeats, in characters.
const LONGEST_DETAIL: usize = 300;
/// How much of a refusal is read, in bytes.
const MAX_REFUSAL_BYTES: u64 = 16 * 1024;
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
const MAX_CA_BYTES: u64 = 4 * 1024 * 1024;
/// No server is waited for longer than this, whatever it asks for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("flipt-snapshots/", env!("CARGO_PKG_VERSION")));

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The server, `http://` or `https://`, without a slash at its end.
    pub url: String,
    /// File with the bearer token; read at every request, as tokens are rotated. `None` sends none.
    pub token_file: Option<PathBuf>,
    /// File with the certificates (PEM) to trust; read again when it changes. `None` trusts what the machine trusts.
    pub ca_file: Option<PathBuf>,
}

impl ServerConfig {
    /// A server that asks for no token.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), token_file: None, ca_file: None }
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A server whose snapshots are read below `/snapshots`.
#[derive(Debug)]
pub struct ServerStore {
    config: ServerConfig,
    client: Mutex<Option<Trusting>>,
}

/// A client, with the file's certificates that it trusts.
#[derive(Debug)]
struct Trusting {
    ca: Option<Vec<u8>>,
    client: HttpClient,
}

impl ServerStore {
    /// Prepares a client; the server is not contacted yet.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Other`] if the file of certificates cannot be used.
    pub fn new(config: ServerConfig) -> Result<Self, StoreError> {
        let store = Self { config, client: Mutex::new(None) };
        store.client()?;
        Ok(store)
    }

    fn error(&self, key: &str, kind: StoreErrorKind, detail: impl Into<String>) -> StoreError {
        StoreError::new(kind, "read", self.describe(key), detail)
    }

    /// The client, made anew when the certificates to trust have changed. One that worked goes on while the file
    /// cannot be used.
    fn client(&self) -> Result<HttpClient, StoreError> {
        let failed = |detail: String| self.error("", StoreErrorKind::Other, detail);
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let ca = match &self.config.ca_file {
            None => Ok(None),
            Some(path) => read_file(path, MAX_CA_BYTES).map(Some),
        };
        let made = match (ca, &*current) {
            (Ok(ca), Some(known)) if known.ca == ca => return Ok(known.client.clone()),
            (Ok(ca), _) => make_client(&self.config.url, ca.as_deref()).map(|client| Trusting { ca, client }),
            (Err(reason), _) => Err(reason),
        };
        match (made, &*current) {
            (Ok(made), _) => Ok(current.insert(made).client.clone()),
            (Err(reason), Some(known)) => {
                tracing::warn!(error = reason, "going on with the certificates read before");
                Ok(known.client.clone())
            }
            (Err(reason), None) => Err(failed(format!("certificates to trust: {reason}"))),
        }
    }

    fn request(&self, key: &str, if_none_match: Option<&Etag>) -> Result<Request<Empty<Bytes>>, StoreError> {
        let failed = |detail: String| self.error(key, StoreErrorKind::Other, detail);
        let uri: Uri = self.describe(key).parse().map_err(|_| failed("not a valid URL".to_owned()))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        if let Some(etag) = if_none_match.and_then(|etag| HeaderValue::from_str(&etag.0).ok()) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        if let Some(path) = &self.config.token_file {
            let token = read_file(path, MAX_TOKEN_BYTES)
                .map_err(|reason| self.error(key, StoreErrorKind::Unauthenticated, reason))?;
            // The token itself must never be part of a message.
            let unusable = || {
                let detail = format!("the file {} holds no token", path.display());
                self.error(key, StoreErrorKind::Unauthenticated, detail)
            };
            let token = std::str::from_utf8(&token).map_err(|_| unusable())?.trim();
            if token.is_empty() {
                return Err(unusable());
            }
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| unusable())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn get_key(&self, key: &str, if_none_match: Option<&Etag>, limit: u64) -> Result<Got, StoreError> {
        if !key_is_safe(key) {
            return Err(StoreError::new(StoreErrorKind::InvalidKey, "read", &self.config.url, ""));
        }
        let asking = self.client()?.request(self.request(key, if_none_match)?);
        let response = match tokio::time::timeout(HEAD_TIMEOUT, asking).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(self.error(key, StoreErrorKind::Unreachable, causes(&error)));
            }
            Err(_) => return Err(self.error(key, StoreErrorKind::Timeout, "")),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(Got::NotModified),
            StatusCode::NOT_FOUND => return Ok(Got::Missing),
            _ => return Err(self.refused(key, response).await),
        }
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let etag = Etag(etag.to_owned());
        match tokio::time::timeout(BODY_TIMEOUT, read_body(response.into_body(), limit)).await {
            Ok(Ok(bytes)) => Ok(Got::Found { bytes, etag }),
            Ok(Err(BodyError::TooLarge)) => {
                Err(self.error(key, StoreErrorKind::TooLarge, format!("the limit is {limit} bytes")))
            }
            Ok(Err(BodyError::Broken(reason))) => Err(self.error(key, StoreErrorKind::Unreachable, reason)),
            Err(_) => Err(self.error(key, StoreErrorKind::Timeout, "")),
        }
    }

    async fn refused(&self, key: &str, response: Response<Incoming>) -> StoreError {
        let status = response.status();
        let kind = match status {
            StatusCode::UNAUTHORIZED => StoreErrorKind::Unauthenticated,
            StatusCode::FORBIDDEN => StoreErrorKind::NotPermitted,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => StoreErrorKind::Timeout,
            StatusCode::TOO_MANY_REQUESTS => StoreErrorKind::Unavailable,
            status if status.is_server_error() => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        };
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
        let said = tokio::time::timeout(CONNECT_TIMEOUT, read_body(response.into_body(), MAX_REFUSAL_BYTES));
        let detail = match said.await {
            Ok(Ok(body)) => message_of(&body),
            _ => String::new(),
        };
        let detail = if detail.is_empty() {
            format!("HTTP status {}", status.as_u16())
        } else {
            format!("HTTP status {}: {detail}", status.as_u16())
        };
        StoreError { retry_after, ..self.error(key, kind, detail) }
    }

    fn read_only(&self, operation: &'static str, key: &str) -> StoreError {
        let detail = "snapshots of a server can only be read";
        StoreError::new(StoreErrorKind::Unsupported, operation, self.describe(key), detail)
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    match read_limited(path, limit) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(format!("the file {} has more than {limit} bytes", path.display())),
        Err(error) => Err(format!("the file {} cannot be read: {error}", path.display())),
    }
}

fn make_client(url: &str, ca: Option<&[u8]>) -> Result<HttpClient, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
            if roots.is_empty() {
                return Err("the file holds no certificate".to_owned());
            }
        }
        // Looking for them takes longer than a request without TLS.
        None if url.starts_with("https://") => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err("this machine trusts none; give a file of certificates".to_owned());
            }
        }
        None => {}
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(1)
        .build(connector))
}

enum BodyError {
    TooLarge,
    Broken(String),
}

async fn read_body(mut body: Incoming, limit: u64) -> Result<Vec<u8>, BodyError> {
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length.unwrap_or_default()).unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(causes(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if (bytes.len() + data.len()) as u64 > limit {
            return Err(BodyError::TooLarge);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// What the server said, in the form of its errors or as it came.
fn message_of(body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let text = match json.get("message").and_then(serde_json::Value::as_str) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_DETAIL).collect()
}

/// An error with its causes, each once.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text.chars().take(LONGEST_DETAIL).collect()
}

impl Store for ServerStore {
    fn get<'a>(
        &'a self,
        key: &'a str,
        if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>> {
        Box::pin(self.get_key(key, if_none_match, limit))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        _bytes: Vec<u8>,
        _precondition: Precondition,
        _headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async move { Err(self.read_only("write", key)) })
    }

    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        Box::pin(async move { Err(self.read_only("measure", key)) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { Err(self.read_only("delete", key)) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        Box::pin(async move { Err(self.read_only("list", prefix)) })
    }

    fn source(&self) -> Source {
        Source::Server
    }

    fn vouches(&self) -> bool {
        true
    }

    fn describe(&self, key: &str) -> String {
        let base = self.config.url.strip_suffix("/snapshots").unwrap_or(&self.config.url);
        format!("{base}/snapshots/{key}")
    }
}
