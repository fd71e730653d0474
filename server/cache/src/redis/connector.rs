//! How connections to Redis are made, as configured.

use std::{fmt, fs, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flipt_config::{CaCertificates, RedisMode, RedisTls};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, TlsCertificates, cluster::ClusterClient,
};
use rustls::{RootCertStore, pki_types::CertificateDer};

use super::link::Link;

/// Times where none are configured (storage spec, section 8.5).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a command of a cluster is tried elsewhere when slots have moved.
const CLUSTER_RETRIES: u32 = 3;
/// Longest pause between these, in milliseconds.
const CLUSTER_RETRY_PAUSE_MS: u64 = 50;

/// Redis cannot be used. The text names no secret.
#[derive(Debug, thiserror::Error)]
#[error("connecting to redis: {0}")]
pub struct ConnectError(String);

impl ConnectError {
    pub(crate) fn new(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// Makes connections to one Redis.
pub(super) struct Connector {
    client: AnyClient,
    address: String,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

enum AnyClient {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

impl Connector {
    /// Reads certificates; connects to nothing yet.
    ///
    /// # Errors
    /// [`ConnectError`] if they cannot be read.
    pub(super) fn new(config: &flipt_config::Redis) -> Result<Self, ConnectError> {
        let (connect_timeout, answer_timeout) = match config.net_timeout {
            Duration::ZERO => (CONNECT_TIMEOUT, ANSWER_TIMEOUT),
            timeout => (timeout, timeout * 2),
        };
        let roots = match &config.tls {
            Some(RedisTls::Verified(Some(certificates))) => Some(roots_with(certificates)?),
            _ => None,
        };
        let client = match config.mode {
            RedisMode::Single => {
                let server = server(config, config.database)?;
                match roots {
                    Some(roots) => Client::build_with_tls(server, roots),
                    None => Client::open(server),
                }
                .map(|client| AnyClient::Single(Box::new(client)))
            }
            RedisMode::Cluster => {
                // A cluster has one database.
                let mut builder = ClusterClient::builder([server(config, 0)?])
                    .connection_timeout(connect_timeout)
                    .response_timeout(answer_timeout)
                    .retries(CLUSTER_RETRIES)
                    .max_retry_wait(CLUSTER_RETRY_PAUSE_MS)
                    .min_retry_wait(1);
                if let Some(roots) = roots {
                    builder = builder.certs(roots);
                }
                builder.build().map(|client| AnyClient::Cluster(Box::new(client)))
            }
        };
        Ok(Self {
            client: client.map_err(ConnectError::new)?,
            address: format!("{}:{}", config.host, config.port),
            connect_timeout,
            answer_timeout,
        })
    }

    /// Longest time for an answer.
    pub(super) const fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// Connects anew.
    ///
    /// # Errors
    /// [`ConnectError`] that names the address.
    pub(super) async fn connect(&self) -> Result<Link, ConnectError> {
        let failed = |problem: &dyn fmt::Display| ConnectError(format!("{}: {problem}", self.address));
        // Connecting, and the answers to what a client says first.
        let patience = self.connect_timeout + self.answer_timeout;
        let connecting = async {
            match &self.client {
                AnyClient::Single(client) => {
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(self.connect_timeout))
                        .set_response_timeout(Some(self.answer_timeout));
                    client.get_multiplexed_async_connection_with_config(&config).await.map(Link::Single)
                }
                AnyClient::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
            }
        };
        match tokio::time::timeout(patience, connecting).await {
            Ok(connected) => connected.map_err(|error| failed(&error)),
            Err(_) => Err(failed(&format_args!("no answer within {} ms", patience.as_millis()))),
        }
    }
}

/// Where a server is, and who we are there.
fn server(config: &flipt_config::Redis, database: i64) -> Result<ConnectionInfo, ConnectError> {
    let (host, port) = (config.host.clone(), config.port);
    let address = match &config.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(tls) => {
            ConnectionAddr::TcpTls { host, port, insecure: *tls == RedisTls::Unverified, tls_params: None }
        }
    };
    let mut settings = RedisConnectionInfo::default().set_db(database);
    if let Some(password) = &config.password {
        settings = settings.set_password(password.expose());
        if !config.username.is_empty() {
            settings = settings.set_username(&config.username);
        }
    }
    Ok(address.into_connection_info().map_err(ConnectError::new)?.set_redis_settings(settings))
}

/// The system's roots, and these certificates beside them: the client takes what it is given for all.
fn roots_with(certificates: &CaCertificates) -> Result<TlsCertificates, ConnectError> {
    let mut pem = match certificates {
        CaCertificates::Text(text) => text.clone().into_bytes(),
        CaCertificates::File(path) => fs::read(path).map_err(|error| {
            ConnectError(format!("cache.redis.ca_cert_path: reading {}: {error}", path.display()))
        })?,
    };
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes()) {
        return Err(ConnectError(
            "cache.redis.ca_cert_bytes, cache.redis.ca_cert_path: no certificate found; one in PEM format begins \
             with -----BEGIN CERTIFICATE-----"
                .to_owned(),
        ));
    }
    // What cannot be read of the system's own is left out, as everywhere else.
    for root in rustls_native_certs::load_native_certs().certs {
        if RootCertStore::empty().add(root.clone()).is_ok() {
            pem.extend_from_slice(to_pem(&root).as_bytes());
        }
    }
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let mut pem = format!("\n{BEGIN}\n");
    let text = BASE64_STANDARD.encode(certificate);
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
