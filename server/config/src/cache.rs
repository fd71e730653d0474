//! `cache`: caching of reads (config spec, section 3.5).

use std::time::Duration;

use crate::{Secret, Wording, reader::Reader, storage::shown_if};

/// `cache`. Flag state is served from memory whatever stands here; clients are told what they may cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Whether it is on.
    pub enabled: bool,
    /// Where entries are kept.
    pub backend: CacheBackend,
    /// How long an entry lives; zero means for ever.
    pub ttl: Duration,
    /// Time between sweeps of the memory backend; zero means none.
    pub eviction_interval: Duration,
    /// The redis backend.
    pub redis: Redis,
}

/// Where entries are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheBackend {
    /// In the process.
    Memory,
    /// In redis.
    Redis,
}

/// `cache.redis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// One server or a cluster.
    pub mode: RedisMode,
    /// User of the access control list; may be empty.
    pub username: String,
    /// Password.
    pub password: Option<Secret>,
}

/// How redis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Single,
    /// A cluster, of which one node is named.
    Cluster,
}

impl Cache {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.bool("cache.enabled", false);
        let cache = shown_if(reader, enabled, |reader| Self::read_settings(reader, enabled));
        for key in ["cache.memory.enabled", "cache.memory.expiration", "cache.memory.items"] {
            reader.accept_all(key);
        }
        if enabled {
            reader.without_effect(
                "cache.enabled",
                "every read is answered from memory, without a cache; OFREP clients are told to poll every cache.ttl",
            );
        }
        cache
    }

    fn read_settings(reader: &mut Reader<'_>, enabled: bool) -> Self {
        let (backend, _) = reader.choice(
            "cache.backend",
            CacheBackend::Memory,
            &[("memory", CacheBackend::Memory), ("redis", CacheBackend::Redis)],
        );
        let ttl = reader.span("cache.ttl", Duration::from_secs(60));
        let eviction_interval = reader.span("cache.memory.eviction_interval", Duration::from_secs(300));
        let redis = Redis::read(reader, enabled && backend == CacheBackend::Redis);
        Self { enabled, backend, ttl, eviction_interval, redis }
    }
}

impl Redis {
    fn read(reader: &mut Reader<'_>, in_use: bool) -> Self {
        let host = reader.text("cache.redis.host", "localhost");
        let port = reader.port("cache.redis.port", 6379);
        let mode_name = reader.text("cache.redis.mode", "single");
        let mode = match mode_name.as_str() {
            "cluster" => RedisMode::Cluster,
            "single" => RedisMode::Single,
            _ => {
                if in_use {
                    let problem = format!("invalid redis mode: {mode_name}");
                    reader.refuse(Wording::Bare, "cache.redis.mode", problem, "single or cluster");
                }
                RedisMode::Single
            }
        };
        reader.bool("cache.redis.require_tls", false);
        let username = reader.text("cache.redis.username", "");
        let password = reader.secret("cache.redis.password");
        reader.integer("cache.redis.db", 0);
        reader.text("cache.redis.prefix", "");
        reader.integer("cache.redis.pool_size", 0);
        reader.integer("cache.redis.min_idle_conn", 0);
        reader.span("cache.redis.conn_max_idle_time", Duration::ZERO);
        reader.span("cache.redis.net_timeout", Duration::ZERO);
        let bytes = reader.text("cache.redis.ca_cert_bytes", "");
        let path = reader.text("cache.redis.ca_cert_path", "");
        if in_use && !bytes.is_empty() && !path.is_empty() {
            reader.refuse(
                Wording::Fixed,
                "cache.redis.ca_cert_bytes",
                "please provide exclusively one of ca_cert_bytes or ca_cert_path",
                "one of the two keys",
            );
        }
        reader.bool("cache.redis.insecure_skip_tls", false);
        Self { host, port, mode, username, password }
    }
}
