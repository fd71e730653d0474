//! `cache`: caching of reads (config spec, section 3.5).

use std::{path::PathBuf, time::Duration};

use crate::{Secret, Wording, reader::Reader, storage::shown_if};

/// `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Whether it is on.
    pub enabled: bool,
    /// Where entries are kept.
    pub backend: CacheBackend,
    /// How long an entry lives.
    pub ttl: Ttl,
    /// Time between sweeps of the memory backend; zero means none.
    pub eviction_interval: Duration,
    /// The redis backend.
    pub redis: Redis,
}

/// How long an entry lives, from the time at which it was written. What zero and less mean depends on the
/// backend (storage spec, sections 8.4 and 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Describes a time longer than none.
    Limited(Duration),
    /// Indicates zero.
    Zero,
    /// Indicates less than zero.
    Negative,
}

impl Ttl {
    const fn of(ttl: Option<Duration>) -> Self {
        match ttl {
            None => Self::Negative,
            Some(Duration::ZERO) => Self::Zero,
            Some(ttl) => Self::Limited(ttl),
        }
    }

    /// The time if it is longer than none, else zero.
    #[must_use]
    pub const fn duration(self) -> Duration {
        match self {
            Self::Limited(ttl) => ttl,
            Self::Zero | Self::Negative => Duration::ZERO,
        }
    }
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
    /// How the connection is protected; not at all if absent.
    pub tls: Option<RedisTls>,
    /// User of the access control list; may be empty.
    pub username: String,
    /// Password.
    pub password: Option<Secret>,
    /// Number of the database; a cluster has only one.
    pub database: i64,
    /// What every key begins with; empty means a prefix of our own.
    pub prefix: String,
    /// Longest time for connecting; an answer may take twice as long. Zero means the usual times (storage spec,
    /// section 8.5).
    pub net_timeout: Duration,
}

/// TLS of a connection to redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisTls {
    /// Indicates that any certificate is accepted.
    Unverified,
    /// Describes a certificate that must lead to one of the system's roots, or to one of these.
    Verified(Option<CaCertificates>),
}

/// Certificates in PEM format that are trusted beside those of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaCertificates {
    /// Describes their text.
    Text(String),
    /// Describes the file that they are in.
    File(PathBuf),
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
        cache
    }

    fn read_settings(reader: &mut Reader<'_>, enabled: bool) -> Self {
        let (backend, _) = reader.choice(
            "cache.backend",
            CacheBackend::Memory,
            &[("memory", CacheBackend::Memory), ("redis", CacheBackend::Redis)],
        );
        let ttl = Ttl::of(reader.signed_span("cache.ttl", Duration::from_secs(60)));
        let eviction_interval = reader.span("cache.memory.eviction_interval", Duration::from_secs(300));
        let redis = Redis::read(reader, enabled && backend == CacheBackend::Redis);
        Self { enabled, backend, ttl, eviction_interval, redis }
    }
}

impl Redis {
    fn read(reader: &mut Reader<'_>, in_use: bool) -> Self {
        let host = reader.text("cache.redis.host", "localhost");
        let port = reader.port("cache.redis.port", 6379);
        let mode = read_mode(reader, in_use);
        let require_tls = reader.bool("cache.redis.require_tls", false);
        let username = reader.text("cache.redis.username", "");
        let password = reader.secret("cache.redis.password");
        let database = reader.integer("cache.redis.db", 0);
        if in_use && database < 0 {
            let problem = "cache.redis.db must be 0 or more";
            reader.refuse(Wording::Ours, "cache.redis.db", problem, "the number of a database");
        }
        let prefix = reader.text("cache.redis.prefix", "");
        reader.integer("cache.redis.pool_size", 0);
        reader.integer("cache.redis.min_idle_conn", 0);
        reader.span("cache.redis.conn_max_idle_time", Duration::ZERO);
        let pool = ["cache.redis.pool_size", "cache.redis.min_idle_conn", "cache.redis.conn_max_idle_time"];
        for key in pool.into_iter().filter(|_| in_use) {
            if reader.is_set(key).is_some() {
                reader.without_effect(key, "one connection to each server of redis carries all requests");
            }
        }
        let net_timeout = reader.span("cache.redis.net_timeout", Duration::ZERO);
        let certificates = read_certificates(reader, in_use);
        let skip_verification = reader.bool("cache.redis.insecure_skip_tls", false);
        let tls = match (require_tls, skip_verification) {
            (false, _) => None,
            (true, true) => Some(RedisTls::Unverified),
            (true, false) => Some(RedisTls::Verified(certificates)),
        };
        Self { host, port, mode, tls, username, password, database, prefix, net_timeout }
    }
}

fn read_mode(reader: &mut Reader<'_>, in_use: bool) -> RedisMode {
    let name = reader.text("cache.redis.mode", "single");
    match name.as_str() {
        "cluster" => RedisMode::Cluster,
        "single" => RedisMode::Single,
        _ => {
            if in_use {
                let problem = format!("invalid redis mode: {name}");
                reader.refuse(Wording::Bare, "cache.redis.mode", problem, "single or cluster");
            }
            RedisMode::Single
        }
    }
}

fn read_certificates(reader: &mut Reader<'_>, in_use: bool) -> Option<CaCertificates> {
    let text = reader.text("cache.redis.ca_cert_bytes", "");
    let path = reader.text("cache.redis.ca_cert_path", "");
    match (text.is_empty(), path.is_empty()) {
        (true, true) => None,
        (false, true) => Some(CaCertificates::Text(text)),
        (true, false) => Some(CaCertificates::File(PathBuf::from(path))),
        (false, false) => {
            if in_use {
                reader.refuse(
                    Wording::Fixed,
                    "cache.redis.ca_cert_bytes",
                    "please provide exclusively one of ca_cert_bytes or ca_cert_path",
                    "one of the two keys",
                );
            }
            None
        }
    }
}
