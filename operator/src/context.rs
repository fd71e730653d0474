//! What every part of the operator is given.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, client::ClientBuilder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::timeout::TimeoutLayer;

use crate::{error::Error, events::Events, metrics::Metrics, settings::Settings};

/// Field manager of everything that the operator writes.
pub(crate) const FIELD_MANAGER: &str = "flipt-operator";

/// Longest time until a connection to the API server stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time until the API server begins to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence within an answer. Watches end before that, on their own.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// Pause between tries to reach the API server at the start.
const START_PAUSE: Duration = Duration::from_secs(2);

/// What every part of the operator is given.
pub(crate) struct Context {
    /// Client of the API server. Every call has its limits.
    pub(crate) client: Client,
    /// What the operator was told.
    pub(crate) settings: Settings,
    /// Uid of the namespace `kube-system`: which cluster this is.
    pub(crate) cluster: String,
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// Events about objects.
    pub(crate) events: Events,
    /// What has to be open before this replica is ready.
    pub(crate) readiness: Readiness,
    /// The process ends.
    pub(crate) stop: CancellationToken,
    /// This replica holds the Lease.
    #[allow(dead_code, reason = "asked by the certificates of the webhook")]
    pub(crate) leading: watch::Receiver<bool>,
}

impl Context {
    /// Reaches the API server, however long that takes.
    ///
    /// # Errors
    /// [`Error::Setup`]: there is no configuration of a client, or it cannot be used.
    pub(crate) async fn new(
        settings: Settings,
        stop: CancellationToken,
        leading: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, Error> {
        let client = client().await?;
        let metrics = Metrics::new();
        let cluster = cluster(&client, &stop).await?;
        Ok(Arc::new(Self {
            events: Events::new(client.clone(), settings.pod_name.clone(), metrics.clone()),
            client,
            settings,
            cluster,
            metrics,
            readiness: Readiness::default(),
            stop,
            leading,
        }))
    }
}

/// A client of the API server with limits of time.
///
/// # Errors
/// [`Error::Setup`].
pub(crate) async fn client() -> Result<Client, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::setup("client of Kubernetes", error);
    let mut config = Config::infer().await.map_err(|error| failed(&error))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    let builder = ClientBuilder::try_from(config).map_err(|error| failed(&error))?;
    Ok(builder.with_layer(&TimeoutLayer::new(ANSWER_TIMEOUT)).build())
}

async fn cluster(client: &Client, stop: &CancellationToken) -> Result<String, Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut told = false;
    loop {
        match namespaces.get("kube-system").await {
            Ok(Namespace { metadata, .. }) => {
                return metadata.uid.ok_or_else(|| Error::setup("namespace kube-system", "it has no uid"));
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(error = %error, "API server not reached yet; trying again until it is");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(START_PAUSE) => {}
            () = stop.cancelled() => return Err(Error::setup("start", "ended before the API server was reached")),
        }
    }
}

/// Named gates; this replica is ready when all are open.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<BTreeMap<&'static str, bool>>);

impl Readiness {
    /// A gate that has to be opened. One that is open stays so.
    pub(crate) fn register(&self, gate: &'static str) {
        self.gates().entry(gate).or_insert(false);
    }

    /// Opens a gate.
    pub(crate) fn open(&self, gate: &'static str) {
        self.gates().insert(gate, true);
    }

    /// Gates that are closed.
    pub(crate) fn closed(&self) -> Vec<&'static str> {
        self.gates().iter().filter(|(_, open)| !**open).map(|(gate, _)| *gate).collect()
    }

    fn gates(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_ready_when_every_gate_is_open() {
        let readiness = Readiness::default();
        assert!(readiness.closed().is_empty());
        readiness.register("certificates");
        readiness.register("profiles");
        readiness.open("profiles");
        assert_eq!(readiness.closed(), ["certificates"]);
        readiness.open("certificates");
        readiness.register("certificates");
        assert!(readiness.closed().is_empty());
    }
}
