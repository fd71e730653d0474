//! Method `kubernetes`: callers with service account tokens (design, section 3; auth spec, section 9).

mod api_server;
mod keys;
mod review;

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use flipt_config::{AccountMode, KeySource, Kubernetes as Config};
use flipt_identity::{AuthError, Caller, KeySet, Mode, Verifier, VerifierConfig};
use flipt_serving::{Error, token_refusal};
use flipt_telemetry::{
    Registry,
    prometheus::{IntCounterVec, Opts},
};

use api_server::{HttpsClient, Trust};
use keys::{Keys, Source, State};
use review::Review;

/// Number of verified tokens to remember.
const CACHE_ENTRIES: usize = 64 * 1024;

/// Verifies service account tokens: offline, and if it is told to, by asking the API server as well.
///
/// # Guarantees
/// - An API server that is away stops neither the start nor callers whose keys are known.
/// - While there are no keys, callers are told "unavailable", not "unauthenticated": their token may be fine.
/// - Tokens appear neither in logs nor in answers, other than in the answer to who brought one.
pub struct ServiceAccounts {
    verifier: Arc<Verifier>,
    keys: Arc<Keys>,
    review: Option<Review>,
    results: Option<IntCounterVec>,
}

fn counter(registry: &Registry, name: &str, help: &str) -> Option<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), &["result"])
        .map(|counter| registry.add(counter))
        .map_err(|error| tracing::error!(error = %error, "metric not created"))
        .ok()
}

impl ServiceAccounts {
    /// Verifies under these rules, counting into the registry. `environment` tells the variables by which
    /// Kubernetes says where its API server is.
    #[must_use]
    pub fn new(config: &Config, environment: impl Fn(&str) -> Option<String>, registry: &Registry) -> Self {
        let api_server = match &config.api_server {
            Some(address) => address.trim_end_matches('/').to_owned(),
            None => api_server::address(
                environment("KUBERNETES_SERVICE_HOST"),
                environment("KUBERNETES_SERVICE_PORT"),
            ),
        };
        let trust = Trust::ApiServer { ca: config.ca_path.clone(), token: config.token_path.clone() };
        let client = Arc::new(HttpsClient::new(trust));
        let source = match &config.keys {
            KeySource::File(path) => Source::File(path.clone()),
            KeySource::Url(url) => {
                let trust = Trust::Public { ca: config.ca_path.clone() };
                Source::Network { client: Arc::new(HttpsClient::new(trust)), url: url.clone() }
            }
            KeySource::ApiServer => {
                Source::Network { client: Arc::clone(&client), url: format!("{api_server}/openid/v1/jwks") }
            }
        };
        let mode = match config.mode {
            AccountMode::Allowlist => Mode::Allowlist,
            AccountMode::Cluster => Mode::Cluster,
        };
        let verifier = VerifierConfig {
            issuers: config.issuer.iter().cloned().collect(),
            audiences: config.audiences.clone(),
            accept_api_audience: config.accept_api_audience,
            allow: config.allow.clone(),
            cache_entries: CACHE_ENTRIES,
            ..VerifierConfig::new("", mode)
        };
        let verifier = Arc::new(Verifier::new(verifier, KeySet::default()));
        let keys = Arc::new(Keys {
            verifier: Arc::clone(&verifier),
            source,
            own_token: config.issuer.is_none().then(|| config.token_path.clone()),
            max_stale: config.max_stale,
            refreshes: counter(
                registry,
                "flipt_auth_key_refreshes_total",
                "Readings of the keys that service account tokens are checked with, by result.",
            ),
            state: Mutex::new(State::default()),
        });
        let review = config.token_review.map(|cache| Review::new(client, &api_server, cache));
        let results = counter(registry, "flipt_auth_total", "Authentication of service accounts, by result.");
        Self { verifier, keys, review, results }
    }

    /// Tells whose token this is, and what its owner may do.
    ///
    /// # Errors
    /// Those of [`token_refusal`].
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>, Error> {
        let result = self.checked(token).await;
        if let Some(results) = &self.results {
            let class = result.as_ref().map_or_else(AuthError::class, |_| "ok");
            results.with_label_values(&[class]).inc();
        }
        result.map_err(|error| token_refusal(&error))
    }

    async fn checked(&self, token: &str) -> Result<Arc<Caller>, AuthError> {
        let header = format!("Bearer {token}");
        let verify = || self.verifier.verify(Some(&header), SystemTime::now());
        let caller = match verify() {
            Err(AuthError::UnknownKey | AuthError::KeysUnavailable) => {
                self.keys.refresh_for_request().await;
                verify()
            }
            other => other,
        }?;
        if let Some(review) = &self.review {
            review.ask(token, &caller, &self.verifier.audiences()).await?;
        }
        Ok(caller)
    }

    /// Keeps the keys current until the server ends.
    pub async fn keep_keys(&self, shutdown: impl Future<Output = ()>) {
        self.keys.keep(shutdown).await;
    }
}
