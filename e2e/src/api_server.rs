//! Stands for a cluster's API server: publishes token keys and reviews tokens, over HTTPS.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::{Claims, Failure, Result, Signer, free_port, jwks};

/// A running API server. It ends with its value.
#[derive(Debug)]
pub struct ApiServer {
    port: u16,
    folder: TempDir,
    tls: Arc<rustls::ServerConfig>,
    state: Arc<Mutex<State>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    jwks: Value,
    /// The token that may ask.
    own_token: String,
    deleted: BTreeSet<String>,
    readings: usize,
    reviews: usize,
}

impl ApiServer {
    /// Starts one that publishes these keys; the first signs the token that its clients show.
    ///
    /// # Errors
    /// If its port or its files cannot be used.
    pub async fn start(signers: &[&Signer]) -> Result<Self> {
        let failed = |what: &str| Failure::new(format!("API server: {what}"));
        let mut authority = CertificateParams::default();
        // Whoever has the same name as the authority counts as signed by itself.
        authority.distinguished_name.push(DnType::CommonName, "authority of the cluster");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut certificate = CertificateParams::new(names).unwrap();
        certificate.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let folder = TempDir::new().map_err(|_| failed("no folder"))?;
        let own = Claims::of("flipt-system", "flipt", "own-pod").audience(Claims::ISSUER);
        let own_token = signers.first().ok_or_else(|| failed("no signer"))?.token(&own);
        std::fs::write(folder.path().join("ca.crt"), authority.pem()).map_err(|_| failed("no file"))?;
        std::fs::write(folder.path().join("token"), &own_token).map_err(|_| failed("no file"))?;
        let state = State { jwks: jwks(signers), own_token, ..State::default() };
        let mut server = Self {
            port: free_port(),
            folder,
            tls: Arc::new(tls),
            state: Arc::new(Mutex::new(state)),
            task: None,
        };
        server.begin().await?;
        Ok(server)
    }

    /// Answers from now on, again if it had stopped.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn begin(&mut self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port))
            .await
            .map_err(|error| Failure::new(format!("API server: {error}")))?;
        let (acceptor, state) = (TlsAcceptor::from(Arc::clone(&self.tls)), Arc::clone(&self.state));
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
        Ok(())
    }

    /// Answers nobody any more; open connections break.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, signers: &[&Signer]) {
        self.state.lock().unwrap().jwks = jwks(signers);
    }

    /// The service account's pod is gone: its token is good for nothing.
    pub fn delete(&self, token: &str) {
        self.state.lock().unwrap().deleted.insert(token.to_owned());
    }

    /// How often the keys were read.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.state.lock().unwrap().readings
    }

    /// How often tokens were reviewed.
    #[must_use]
    pub fn reviews(&self) -> usize {
        self.state.lock().unwrap().reviews
    }

    /// Address with this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// File with the certificate of its authority.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// File with the token that its clients show.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Variables of a server that runs as a pod of this cluster and accepts its service accounts.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let method = "FLIPT_AUTHENTICATION_METHODS_KUBERNETES";
        let path = |path: &Path| path.display().to_string();
        vec![
            ("KUBERNETES_SERVICE_HOST".to_owned(), "127.0.0.1".to_owned()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), self.port.to_string()),
            (format!("{method}_ENABLED"), "true".to_owned()),
            (format!("{method}_CA_PATH"), path(&self.ca())),
            (format!("{method}_SERVICE_ACCOUNT_TOKEN_PATH"), path(&self.token())),
        ]
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, hyper::Error> {
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let mut state = state.lock().unwrap();
    let (status, answer) = match path.as_str() {
        // An address for everybody, which nobody should show a token to.
        "/public/jwks" if shown.is_some() => (400, json!({ "message": "no token was asked for" })),
        "/public/jwks" => {
            state.readings += 1;
            (200, state.jwks.clone())
        }
        _ if shown.as_deref() != Some(state.own_token.as_str()) => (401, json!({ "kind": "Status" })),
        "/openid/v1/jwks" => {
            state.readings += 1;
            (200, state.jwks.clone())
        }
        "/apis/authentication.k8s.io/v1/tokenreviews" => {
            state.reviews += 1;
            (201, review(&state, &serde_json::from_slice(&body).unwrap_or_default()))
        }
        _ => (404, json!({ "kind": "Status" })),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

/// A review that believes every token but those that were deleted, as signatures were checked before.
fn review(state: &State, asked: &Value) -> Value {
    let token = asked["spec"]["token"].as_str().unwrap_or_default();
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value = serde_json::from_slice(&claims.unwrap_or_default()).unwrap_or_default();
    let status = if state.deleted.contains(token) {
        json!({ "authenticated": false, "error": "pod is gone" })
    } else {
        let audiences: Vec<&Value> = asked["spec"]["audiences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|audience| claims["aud"].as_array().is_some_and(|all| all.contains(audience)))
            .collect();
        json!({
            "authenticated": true, "audiences": audiences, "user": { "username": claims["sub"].clone() },
        })
    };
    json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status })
}
