//! A cache of whatever kind: typed values under keys of the one key space.

use std::{
    future::Future,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use flipt_config::CacheBackend;
use flipt_telemetry::Registry;

use crate::{
    ConnectError,
    key::KeySpace,
    memory::Memory,
    metrics::Metrics,
    redis::{Redis, Unanswered},
    value::Value,
};

/// Bytes of the checksum in front of a value.
const CHECKSUM: usize = 4;

/// Largest value that is kept, in bytes: a larger one would hold up all others on its way to Redis.
const LARGEST: usize = 16 * 1024 * 1024;

/// Where reads are answered from. A clone is the same cache.
///
/// # Guarantees
/// - It never fails: what cannot be found out counts as not found, and what cannot be kept is not.
/// - What it finds is what was kept under this very key: values carry a checksum over both.
#[derive(Clone)]
pub struct Cache {
    backend: Backend,
    keys: KeySpace,
    metrics: Metrics,
    /// Time between sweeps; zero means none.
    eviction_interval: Duration,
    /// Whether an unreadable value has been reported.
    reported: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Backend {
    Memory(Memory),
    Redis(Redis),
}

impl Cache {
    /// The configured cache; Redis has answered when this returns.
    ///
    /// # Errors
    /// [`ConnectError`] if it does not.
    pub async fn open(config: &flipt_config::Cache, registry: &Registry) -> Result<Self, ConnectError> {
        let metrics = |name| Metrics::new(registry, name).map_err(ConnectError::new);
        let (backend, metrics, eviction_interval) = match config.backend {
            CacheBackend::Memory => {
                let memory = Memory::new(config.ttl);
                (Backend::Memory(memory), metrics("memory")?, config.eviction_interval)
            }
            CacheBackend::Redis => {
                let redis = Redis::connect(&config.redis, config.ttl).await?;
                (Backend::Redis(redis), metrics("redis")?, Duration::ZERO)
            }
        };
        let keys = KeySpace::new(&config.redis.prefix);
        Ok(Self { backend, keys, metrics, eviction_interval, reported: Arc::default() })
    }

    pub(crate) const fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// What is kept under a key.
    pub(crate) async fn get<V: Value>(&self, key: &str) -> Option<V> {
        let found = match &self.backend {
            Backend::Memory(memory) => Ok(memory.get(key)),
            Backend::Redis(redis) => redis.get(key).await,
        };
        match found {
            Ok(Some(sealed)) => {
                let value = unseal(key, &sealed).and_then(V::decode);
                match &value {
                    Some(_) => self.metrics.hits.inc(),
                    None => self.report_unreadable(key),
                }
                value
            }
            Ok(None) => {
                self.metrics.misses.inc();
                None
            }
            Err(Unanswered) => {
                self.metrics.errors.inc();
                None
            }
        }
    }

    /// Keeps a value under a key.
    pub(crate) async fn set<V: Value>(&self, key: String, value: &V) {
        let Some(payload) = value.encode() else {
            self.metrics.errors.inc();
            tracing::error!(cache.key = key, "value not cached: it cannot be encoded");
            return;
        };
        if payload.len() > LARGEST {
            return;
        }
        let sealed = seal(&key, &payload);
        match &self.backend {
            Backend::Memory(memory) => memory.set(key, sealed),
            Backend::Redis(redis) => {
                if redis.set(&key, sealed).await.is_err() {
                    self.metrics.errors.inc();
                }
            }
        }
    }

    /// Sweeps entries that have ended now and then, until told to stop.
    pub async fn sweep(&self, shutdown: impl Future<Output = ()>) {
        let memory = match &self.backend {
            Backend::Memory(memory) if !self.eviction_interval.is_zero() => memory,
            _ => return shutdown.await,
        };
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(self.eviction_interval) => memory.sweep(),
            }
        }
    }

    /// Somebody else writes below our prefix, or something damages values: both go on, so it is said once.
    fn report_unreadable(&self, key: &str) {
        self.metrics.errors.inc();
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::error!(
                cache.key = key,
                remedy = "give every program that shares the Redis a cache.redis.prefix of its own",
                "cached value not readable; it is passed over"
            );
        }
    }
}

fn checksum(key: &str, payload: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&[0]);
    hasher.update(payload);
    hasher.finalize().to_be_bytes()
}

fn seal(key: &str, payload: &[u8]) -> Bytes {
    [&checksum(key, payload), payload].concat().into()
}

fn unseal<'a>(key: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, payload) = sealed.split_first_chunk::<CHECKSUM>()?;
    (*sum == checksum(key, payload)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use flipt_dev_databases as dev;
    use flipt_proto::flipt::Flag;

    use super::*;

    async fn open(settings: &[(&str, &str)]) -> Cache {
        let variables =
            settings.iter().map(|(key, value)| (format!("FLIPT_CACHE_{key}"), (*value).to_owned()));
        let config = flipt_config::load(None, &variables.collect()).unwrap().config.cache;
        Cache::open(&config, &Registry::default()).await.unwrap()
    }

    /// A flag with a text of this length.
    fn flag(length: usize) -> Flag {
        Flag { key: "f".to_owned(), description: "x".repeat(length), ..Default::default() }
    }

    fn counts(cache: &Cache) -> [u64; 3] {
        [&cache.metrics.hits, &cache.metrics.misses, &cache.metrics.errors].map(|counter| counter.get())
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_kept() {
        let cache = open(&[]).await;
        for (key, length, kept) in [("small", 1_000_000, true), ("large", LARGEST, false)] {
            cache.set(key.to_owned(), &flag(length)).await;
            assert_eq!(cache.get::<Flag>(key).await.is_some(), kept, "{key}");
        }
        assert_eq!(counts(&cache), [1, 1, 0]);
    }

    #[tokio::test]
    async fn what_others_wrote_under_our_keys_is_passed_over() {
        let server = dev::Redis::start();
        let port = server.port().to_string();
        let cache = open(&[("BACKEND", "redis"), ("REDIS_PORT", &port), ("REDIS_HOST", "127.0.0.1")]).await;
        server.cli(&["set", "text", "something else"]);
        server.cli(&["set", "empty", ""]);
        server.cli(&["rpush", "list", "something else"]);
        for key in ["text", "empty", "list"] {
            assert_eq!(cache.get::<Flag>(key).await, None, "{key}");
        }
        assert_eq!(counts(&cache), [0, 0, 3]);
        cache.set("text".to_owned(), &flag(3)).await;
        assert_eq!(cache.get::<Flag>("text").await, Some(flag(3)));
        assert_eq!(counts(&cache), [1, 0, 3]);
    }

    #[test]
    fn a_value_is_read_only_under_its_key_and_only_whole() {
        let sealed = seal("key", b"value");
        assert_eq!(unseal("key", &sealed), Some(&b"value"[..]));
        assert_eq!(unseal("other", &sealed), None);
        for end in 0..sealed.len() {
            assert_eq!(unseal("key", &sealed[..end]), None, "{end}");
        }
        for place in 0..sealed.len() {
            let mut damaged = sealed.to_vec();
            damaged[place] ^= 1;
            assert_eq!(unseal("key", &damaged), None, "{place}");
        }
    }
}
