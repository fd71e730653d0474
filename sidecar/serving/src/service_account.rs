//! Admits callers by their Kubernetes service account tokens, with keys from a file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use flipt_identity::{AuthError, Caller, KeySet, KeySetError, Verifier, VerifierConfig};
use flipt_telemetry::{
    Registry,
    prometheus::{IntCounterVec, Opts},
};
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{Code, Error, Gate, Scope};

/// Shortest time between two readings of the key file that requests cause.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);
/// The same while there are no keys at all: they may appear at any moment after the pod started.
const FIRST_KEYS_PAUSE: Duration = Duration::from_millis(500);
/// Shortest time between two lines in the log about clocks.
const SKEW_PAUSE: Duration = Duration::from_secs(60);
/// Largest key file that is read.
const KEY_FILE_LIMIT: u64 = 1024 * 1024;

/// A JWKS file that may be missing, and may change at any time.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// File with the issuer of tokens, if nobody said who that is.
    issuer: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When a request last caused a reading.
    attempted: Option<Instant>,
    /// What was read last; a file that reads the same is not loaded again.
    content: Vec<u8>,
    keys: usize,
    loaded_at: Option<Instant>,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
enum KeyFileError {
    #[error("key file {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("key file {path} is larger than {KEY_FILE_LIMIT} bytes")]
    TooLarge { path: PathBuf },
    #[error("key file {path}: {source}")]
    Keys { path: PathBuf, source: KeySetError },
    #[error("issuer file {path} is empty; it holds what tokens say in their claim \"iss\"")]
    NoIssuer { path: PathBuf },
}

impl KeyFile {
    /// The file at this path; it is read when keys are needed.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), issuer: None, state: Mutex::default() }
    }

    /// Reads the issuer of tokens from the file `issuer` beside the keys, whenever these are read.
    #[must_use]
    pub fn with_issuer_beside(self) -> Self {
        Self { issuer: Some(self.path.with_file_name("issuer")), ..self }
    }

    /// The issuer; `None` if it does not come from a file.
    fn read_issuer(&self) -> Result<Option<String>, KeyFileError> {
        let Some(path) = &self.issuer else { return Ok(None) };
        let text = read_limited(path)?;
        let issuer = String::from_utf8_lossy(&text).trim().to_owned();
        if issuer.is_empty() {
            return Err(KeyFileError::NoIssuer { path: path.clone() });
        }
        Ok(Some(issuer))
    }

    /// Reads the file if it changed since the last reading.
    fn read(&self, state: &mut State) -> Result<Option<KeySet>, KeyFileError> {
        let content = read_limited(&self.path)?;
        if content == state.content && state.loaded_at.is_some() {
            state.loaded_at = Some(Instant::now());
            return Ok(None);
        }
        let keys = KeySet::from_jwks_json(&content)
            .map_err(|source| KeyFileError::Keys { path: self.path.clone(), source })?;
        state.content = content;
        state.keys = keys.len();
        state.loaded_at = Some(Instant::now());
        Ok(Some(keys))
    }
}

fn read_limited(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let error = |source| KeyFileError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(error)?.len() > KEY_FILE_LIMIT {
        return Err(KeyFileError::TooLarge { path: path.to_owned() });
    }
    std::fs::read(path).map_err(error)
}

/// Admits callers whose service account token verifies offline (design, section 3.5).
///
/// # Guarantees
/// - No network and no API server; the key file is read at most every ten seconds on behalf of requests
///   with an unknown key.
/// - While there are no keys, callers are told "unavailable", not "unauthenticated": their token may be fine.
/// - A key file that breaks keeps the keys from before.
pub struct ServiceAccounts {
    verifier: Verifier,
    keys: KeyFile,
    results: Option<IntCounterVec>,
    /// When the log was last told that a clock is wrong.
    skew_told: Mutex<Option<Instant>>,
}

impl ServiceAccounts {
    /// Verifies with this configuration and the keys of this file, counting into the registry.
    #[must_use]
    pub fn new(config: VerifierConfig, keys: KeyFile, registry: &Registry) -> Self {
        let results = IntCounterVec::new(
            Opts::new("flipt_auth_total", "Authentication of callers, by result."),
            &["result"],
        )
        .map(|counter| registry.add(counter))
        .map_err(|error| tracing::error!(error = %error, "metric not created"))
        .ok();
        let verifier = Verifier::new(config, KeySet::default());
        let accounts = Self { verifier, keys, results, skew_told: Mutex::default() };
        accounts.refresh();
        accounts
    }

    /// Number of keys, with the age of the last successful reading of their file.
    #[must_use]
    pub fn keys(&self) -> (usize, Option<Duration>) {
        let state = self.keys.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.keys, state.loaded_at.map(|at| at.elapsed()))
    }

    /// Reads the key file again, whatever requests did; to be called now and then.
    pub fn refresh(&self) {
        let mut state = self.keys.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload(&mut state);
    }

    fn reload(&self, state: &mut State) {
        match self.keys.read_issuer() {
            Ok(Some(issuer)) => self.verifier.replace_issuers(&[issuer], &[]),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %error, "issuer of tokens not known; the one before stays in use")
            }
        }
        match self.keys.read(state) {
            Ok(Some(keys)) => {
                for skipped in keys.skipped() {
                    tracing::warn!(key.id = ?skipped.kid, reason = %skipped.reason, "key not used");
                }
                tracing::info!(keys = keys.len(), "token keys loaded");
                self.verifier.replace_keys(keys);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %error, "token keys not loaded; the ones before stay in use")
            }
        }
    }

    /// Reads the key file for a request with an unknown key, unless that was done a moment ago.
    fn refresh_for_request(&self) {
        let mut state = self.keys.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = if self.verifier.is_ready() { REFRESH_PAUSE } else { FIRST_KEYS_PAUSE };
        if state.attempted.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        state.attempted = Some(Instant::now());
        self.reload(&mut state);
    }

    /// Says in the log that a genuine token comes from the future: now and then, as there may be many.
    fn tell_skew(&self, seconds: u64) {
        let mut told = self.skew_told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= SKEW_PAUSE) {
            *told = Some(Instant::now());
            tracing::warn!(
                ahead_s = seconds,
                "a token is valid only in the future: the clock of this node or of the API server is wrong"
            );
        }
    }

    fn count(&self, result: &str) {
        if let Some(results) = &self.results {
            results.with_label_values(&[result]).inc();
        }
    }

    /// Tells who sent a request with this `Authorization` header.
    ///
    /// # Errors
    /// Those of [`token_refusal`].
    pub fn verify(&self, header: Option<&str>) -> Result<Arc<Caller>, Error> {
        let verify = || self.verifier.verify(header, SystemTime::now());
        let result = match verify() {
            Err(AuthError::UnknownKey | AuthError::KeysUnavailable) => {
                self.refresh_for_request();
                verify()
            }
            other => other,
        };
        match result {
            Ok(caller) => {
                self.count("ok");
                Ok(caller)
            }
            Err(error) => {
                self.count(error.class());
                if let AuthError::NotYetValid { seconds } = error {
                    self.tell_skew(seconds);
                }
                Err(token_refusal(&error))
            }
        }
    }
}

/// What a caller is told whose token was not accepted: [`Code::Unauthenticated`] with a challenge,
/// [`Code::PermissionDenied`] if the caller is known but not allowed, [`Code::Unavailable`] if the token may be good.
#[must_use]
pub fn token_refusal(error: &AuthError) -> Error {
    let description = error.to_string();
    if error.is_unavailable() {
        return Error::new(Code::Unavailable, description);
    }
    if error.is_forbidden() {
        return Error::new(Code::PermissionDenied, description);
    }
    // RFC 6750, section 3: the challenge names the error class; the text never holds token parts.
    let challenge = match error {
        AuthError::MissingToken => "Bearer".to_owned(),
        _ => format!(
            "Bearer error=\"invalid_token\", error_description=\"{}\"",
            description.replace(['"', '\\'], "'")
        ),
    };
    Error { challenge: Some(challenge), ..Error::new(Code::Unauthenticated, description) }
}

impl Gate for ServiceAccounts {
    fn admit(&self, headers: &HeaderMap) -> Result<Scope, Error> {
        // A header that is not text is a malformed token, not a missing one.
        let header = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
        self.verify(header).map(Scope::Caller)
    }
}
