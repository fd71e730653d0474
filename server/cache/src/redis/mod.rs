//! The cache in Redis.

mod connector;
mod link;
mod outage;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flipt_config::Ttl;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use self::{connector::Connector, link::Link, outage::Outage};

pub use self::connector::ConnectError;

/// Longest time that a request waits for Redis, however long `cache.redis.net_timeout` is: the database, which
/// the cache is there to save, answers in less.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Lifetime of entries where the configured one is zero or shorter than Redis's clients count with (storage
/// spec, section 8.5).
const DEFAULT_EXPIRY: Duration = Duration::from_secs(60 * 60);
const SHORTEST_EXPIRY: Duration = Duration::from_secs(1);

/// Indicates that Redis did not answer, or was not asked because it did not answer before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// Entries in Redis. A clone uses the same connection.
///
/// # Guarantees
/// - A request waits for Redis once at most, and no longer than [`LONGEST_WAIT`]. When Redis does not answer, all
///   who wait stop waiting, and nobody asks it until a try in the background has been answered.
/// - An outage is logged at its beginning and at its end.
#[derive(Clone)]
pub(crate) struct Redis(Arc<Shared>);

struct Shared {
    connector: Connector,
    link: Mutex<Link>,
    outage: Outage,
    /// Longest time for an answer.
    patience: Duration,
    /// `None`: nothing is stored.
    expiry: Option<Duration>,
    /// Whether it has been said that Redis refuses something.
    refused: AtomicBool,
}

impl Redis {
    /// Connects, and waits for the answer to a PING.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect(config: &flipt_config::Redis, ttl: Ttl) -> Result<Self, ConnectError> {
        let connector = Connector::new(config)?;
        let link = connector.connect().await?;
        link.ping().await.map_err(ConnectError::new)?;
        Ok(Self(Arc::new(Shared {
            patience: connector.answer_timeout().min(LONGEST_WAIT),
            connector,
            link: Mutex::new(link),
            outage: Outage::default(),
            expiry: expiry(ttl),
            refused: AtomicBool::new(false),
        })))
    }

    /// The value under a key.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, Unanswered> {
        let link = self.link();
        self.ask(key, link.get(key)).await
    }

    /// Stores a value under a key, for as long as is configured.
    pub(crate) async fn set(&self, key: &str, value: Bytes) -> Result<(), Unanswered> {
        let Some(expiry) = self.0.expiry else { return Ok(()) };
        let link = self.link();
        self.ask(key, link.set(key, &value, expiry)).await
    }

    fn link(&self) -> Link {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask<T>(
        &self,
        key: &str,
        asking: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Unanswered> {
        let answer = tokio::select! {
            biased;
            () = self.0.outage.begun() => return Err(Unanswered),
            answer = tokio::time::timeout(self.0.patience, asking) => answer,
        };
        match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !is_outage(&error) => self.report_refusal(&error),
            Ok(Err(error)) => self.begin_outage(key, &error.to_string()),
            Err(_) => {
                self.begin_outage(key, &format!("no answer within {} ms", self.0.patience.as_millis()));
            }
        }
        Err(Unanswered)
    }

    /// Redis works, but not for us: the rights of the user, or its memory. Every request may meet that, so it is
    /// said once.
    fn report_refusal(&self, error: &RedisError) {
        if !self.0.refused.swap(true, Ordering::Relaxed) {
            tracing::error!(
                error = %error,
                remedy = "the user of cache.redis needs GET and SET on keys below cache.redis.prefix, on a server \
                          that may be written to and evicts old keys when its memory is full",
                "redis refuses; the database answers instead"
            );
        }
    }

    fn begin_outage(&self, key: &str, problem: &str) {
        if !self.0.outage.begin() {
            return;
        }
        tracing::error!(error = problem, "redis does not answer; the database answers until it does");
        let (shared, key) = (Arc::downgrade(&self.0), key.to_owned());
        tokio::spawn(async move {
            // Nothing to do any more when the cache is gone.
            while let Some(pause) = shared.upgrade().map(|shared| shared.outage.pause()) {
                tokio::time::sleep(pause).await;
                let Some(shared) = shared.upgrade() else { return };
                // The key that was not answered lies on the server that did not answer, also in a cluster.
                if shared.answers(&key).await {
                    tracing::info!("redis answers again");
                    shared.outage.end();
                    return;
                }
            }
        });
    }
}

impl Shared {
    /// Whether Redis answers a question about a key, over the old connection or a new one.
    async fn answers(&self, key: &str) -> bool {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.answers_over(&link, key).await {
            return true;
        }
        // Made anew, and not by the client's own means: those of a single server go on failing for ever when a
        // server that is still loading refuses the connection's first commands.
        let Ok(link) = self.connector.connect().await else { return false };
        let answers = self.answers_over(&link, key).await;
        if answers {
            *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
        }
        answers
    }

    async fn answers_over(&self, link: &Link, key: &str) -> bool {
        match tokio::time::timeout(self.patience, link.get(key)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !is_outage(&error),
            Err(_) => false,
        }
    }
}

/// Whether asking again at once is in vain. Otherwise the server works, and refuses this command or this value.
fn is_outage(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        ),
        // Connections that are open lose their rights when the password changes.
        ErrorKind::Extension => error.code() == Some("NOAUTH"),
        ErrorKind::UnexpectedReturnType => false,
        _ => true,
    }
}

/// How long entries live (storage spec, section 8.5).
fn expiry(ttl: Ttl) -> Option<Duration> {
    match ttl {
        Ttl::Limited(ttl) if ttl >= SHORTEST_EXPIRY => Some(ttl),
        Ttl::Limited(ttl) => {
            tracing::warn!(
                ttl_ms = ttl.as_millis(),
                "cache.ttl is shorter than a second, which is taken for an hour with redis"
            );
            Some(DEFAULT_EXPIRY)
        }
        Ttl::Zero => Some(DEFAULT_EXPIRY),
        Ttl::Negative => None,
    }
}
