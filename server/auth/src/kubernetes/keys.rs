//! The cluster's token keys: where they come from, and when they are read again.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flipt_identity::{Issuance, KeySet, Verifier};
use flipt_telemetry::prometheus::IntCounterVec;
use reqwest::Method;
use tokio::{sync::watch, time::Instant};

use super::api_server::{HttpsClient, read_file};

/// Shortest time between two readings that requests cause: at most six in a minute.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for new keys.
const WAIT: Duration = Duration::from_secs(2);
/// Time between readings that nobody asked for.
const FILE_POLL: Duration = Duration::from_secs(30);
const NETWORK_POLL: Duration = Duration::from_secs(300);
/// Time after a failure, doubled each time up to the time between readings.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Where a key set is read from.
pub(crate) enum Source {
    File(PathBuf),
    Network {
        client: Arc<HttpsClient>,
        url: String,
    },
    #[cfg(test)]
    Test(Box<dyn Fn() -> Result<Vec<u8>, String> + Send + Sync>),
}

impl Source {
    fn read(&self) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + '_>> {
        Box::pin(async move {
            match self {
                Self::File(path) => read_file(path).map_err(|error| error.to_string()),
                Self::Network { client, url } => {
                    client.ask(Method::GET, url, None).await.map_err(|error| error.to_string())
                }
                #[cfg(test)]
                Self::Test(read) => read(),
            }
        })
    }

    const fn poll(&self) -> Duration {
        match self {
            Self::Network { .. } => NETWORK_POLL,
            _ => FILE_POLL,
        }
    }
}

/// Keeps a verifier's keys current.
///
/// # Guarantees
/// - Requests cause at most one reading at a time, and at most six in a minute.
/// - Keys that cannot be read again go on to be used, but not longer than `max_stale`.
pub(crate) struct Keys {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) source: Source,
    /// The server's own token, which tells the issuer if nobody else does.
    pub(crate) own_token: Option<PathBuf>,
    pub(crate) max_stale: Duration,
    pub(crate) refreshes: Option<IntCounterVec>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// When a request last caused a reading.
    attempted: Option<Instant>,
    /// The reading that is under way; it ends when its sender is gone.
    running: Option<watch::Receiver<()>>,
    loaded: Option<Instant>,
}

impl Keys {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the keys for a request whose token has an unknown one, unless that was done a moment ago; waits for
    /// that, but not long.
    pub(crate) async fn refresh_for_request(self: &Arc<Self>) {
        let mut running = {
            let mut state = self.state();
            match &state.running {
                Some(running) if running.has_changed().is_ok() => running.clone(),
                _ if state.attempted.is_some_and(|at| at.elapsed() < REFRESH_PAUSE) => return,
                _ => {
                    let (ending, running) = watch::channel(());
                    state.attempted = Some(Instant::now());
                    state.running = Some(running.clone());
                    let keys = Arc::clone(self);
                    // On its own, because a request may end before it does.
                    tokio::spawn(async move {
                        keys.refresh().await;
                        drop(ending);
                    });
                    running
                }
            }
        };
        let _ = tokio::time::timeout(WAIT, running.changed()).await;
    }

    /// Reads the keys, whatever requests did; whether they could be.
    pub(crate) async fn refresh(&self) -> bool {
        let read = self.try_refresh().await;
        if let Some(refreshes) = &self.refreshes {
            refreshes.with_label_values(&[if read.is_ok() { "ok" } else { "failed" }]).inc();
        }
        match read {
            Ok(()) => true,
            Err(problem) => {
                let age = self.state().loaded.map(|at| at.elapsed());
                if age.is_some_and(|age| age > self.max_stale) {
                    tracing::error!(error = problem, "token keys too old; no service account is admitted");
                    self.verifier.replace_keys(KeySet::default());
                } else {
                    tracing::warn!(error = problem, "token keys not loaded; the ones before stay in use");
                }
                false
            }
        }
    }

    async fn try_refresh(&self) -> Result<(), String> {
        if let Some(path) = &self.own_token {
            let token = read_file(path).map_err(|error| {
                format!(
                    "{error}; the issuer of tokens is read from there, unless authentication.methods.kubernetes.issuer names it"
                )
            })?;
            let Issuance { issuer, audiences } = Issuance::of(String::from_utf8_lossy(&token).trim())
                .map_err(|error| format!("{}: {error}", path.display()))?;
            self.verifier.replace_issuers(&[issuer], &audiences);
        }
        let read = self.source.read().await?;
        let keys = KeySet::from_jwks_json(&read).map_err(|error| error.to_string())?;
        if keys.is_empty() {
            return Err("there is no usable key".to_owned());
        }
        for skipped in keys.skipped() {
            tracing::debug!(key.id = ?skipped.kid, reason = %skipped.reason, "key not used");
        }
        self.verifier.replace_keys(keys);
        self.state().loaded = Some(Instant::now());
        Ok(())
    }

    /// Reads the keys now and then until the server ends.
    pub(crate) async fn keep(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let poll = self.source.poll().min(self.max_stale);
        let mut retry = FIRST_RETRY;
        loop {
            let pause = if self.refresh().await {
                retry = FIRST_RETRY;
                poll
            } else {
                let pause = retry.min(poll);
                retry = (retry * 2).min(poll);
                pause
            };
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use flipt_identity::{Mode, VerifierConfig};

    use super::*;

    /// A key of RFC 8037, appendix A.2.
    const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    struct Issuer {
        readings: AtomicUsize,
        is_away: AtomicBool,
    }

    fn keys(max_stale: Duration) -> (Arc<Keys>, Arc<Issuer>) {
        let issuer = Arc::new(Issuer { readings: AtomicUsize::new(0), is_away: AtomicBool::new(false) });
        let asked = Arc::clone(&issuer);
        let read = move || {
            asked.readings.fetch_add(1, Ordering::Relaxed);
            if asked.is_away.load(Ordering::Relaxed) { Err("away".to_owned()) } else { Ok(JWKS.into()) }
        };
        let config = VerifierConfig::new("https://issuer", Mode::Cluster);
        let keys = Keys {
            verifier: Arc::new(Verifier::new(config, KeySet::default())),
            source: Source::Test(Box::new(read)),
            own_token: None,
            max_stale,
            refreshes: None,
            state: Mutex::default(),
        };
        (Arc::new(keys), issuer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_keys_causes_at_most_six_readings_a_minute() {
        let (keys, issuer) = keys(Duration::from_secs(86_400));
        for _ in 0..6_000 {
            keys.refresh_for_request().await;
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let readings = issuer.readings.load(Ordering::Relaxed);
        assert!((5..=6).contains(&readings), "{readings}");
        assert!(keys.verifier.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_the_same_time_share_one_reading() {
        let (keys, issuer) = keys(Duration::from_secs(86_400));
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let keys = Arc::clone(&keys);
            requests.spawn(async move { keys.refresh_for_request().await });
        }
        requests.join_all().await;
        assert_eq!(issuer.readings.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_go_on_without_their_issuer_but_not_for_ever() {
        let (keys, issuer) = keys(Duration::from_secs(3_600));
        assert!(keys.refresh().await);
        issuer.is_away.store(true, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(3_500)).await;
        assert!(!keys.refresh().await && keys.verifier.is_ready());
        tokio::time::advance(Duration::from_secs(200)).await;
        assert!(!keys.refresh().await && !keys.verifier.is_ready());
        issuer.is_away.store(false, Ordering::Relaxed);
        assert!(keys.refresh().await && keys.verifier.is_ready());
    }
}
