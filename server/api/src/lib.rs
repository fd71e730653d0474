//! The server's API. A handler is written once, in the file of its resource; [`calls`] lists them all with
//! their REST paths, and both transports are made from that list.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admission;
mod any;
mod authentications;
mod calls;
mod client;
mod compression;
mod constraints;
mod cors;
mod data;
mod deadline;
mod distributions;
mod endpoint;
mod error;
mod evaluate;
mod flags;
mod form;
mod http;
mod meta;
mod namespaces;
mod openapi;
mod ownership;
mod pretty;
mod published;
mod query;
mod rest;
mod rollouts;
mod rules;
mod segments;
mod snapshots;
mod source;
mod transcode;
mod v2;
mod variants;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use flipt_auth::Authentications;
use flipt_serving::{Code, Error, EvaluationMetrics, Evaluator};
use flipt_snapshots::SigningKey;
use flipt_store::{Environment, Environments, Store};
use tokio::sync::watch;

pub use cors::Cors;
pub(crate) use error::Fails;
pub use http::ServerHttp;
pub use meta::About;
use published::{Published, Turnstile};
use snapshots::Snapshots;

/// What every handler works with.
#[derive(Clone)]
pub struct Api {
    environments: Environments,
    /// The default environment, which the v1 API is about.
    store: Arc<dyn Store>,
    authentications: Authentications,
    about: About,
    evaluator: Evaluator,
    read_only: bool,
    /// Snapshots of each environment, by its key.
    snapshots: Arc<BTreeMap<String, Snapshots>>,
    /// Whole environments as they stand in a bucket, by their keys.
    published: Arc<BTreeMap<String, Published>>,
    /// Signs their pointers.
    signing_key: Option<Arc<SigningKey>>,
    turnstile: Turnstile,
    /// Turns true when the server ends; streams end then.
    stopping: watch::Receiver<bool>,
}

impl Api {
    /// The API on these environments and these credentials. Streams end when `stopping` turns true.
    #[must_use]
    pub fn new(
        environments: Environments,
        authentications: Authentications,
        about: About,
        read_only: bool,
        metrics: EvaluationMetrics,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let snapshots = environments.iter().map(|(key, _)| (key.to_owned(), Snapshots::default())).collect();
        let published = environments.iter().map(|(key, _)| (key.to_owned(), Published::default())).collect();
        let store = Arc::clone(environments.default_store());
        let source = Arc::new(source::LiveEnvironment::default_of(&environments));
        Self {
            environments,
            store,
            authentications,
            about,
            evaluator: Evaluator::new(source, metrics),
            read_only,
            snapshots: Arc::new(snapshots),
            published: Arc::new(published),
            signing_key: None,
            turnstile: Turnstile::default(),
            stopping,
        }
    }

    /// The environment that a request names if it wants to, with its snapshots.
    fn resolve(&self, requested: &str) -> Result<(Arc<dyn Environment>, Snapshots), Error> {
        let environments = &self.environments;
        let found = environments
            .resolve(requested)
            .and_then(|(key, environment)| Some((environment, self.snapshots.get(key)?.clone())));
        found.ok_or_else(|| Error::unknown_environment(requested))
    }

    /// The same, telling OFREP clients to poll this often at most.
    #[must_use]
    pub fn with_polling(self, interval: Duration) -> Self {
        Self { evaluator: self.evaluator.with_polling(interval), ..self }
    }

    /// The same, signing the pointers of snapshots.
    #[must_use]
    pub fn with_signing(self, key: Arc<SigningKey>) -> Self {
        Self { signing_key: Some(key), ..self }
    }

    /// Evaluates on the store's current state.
    #[must_use]
    pub const fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Fails in read-only mode. The code is that of Flipt, which v1 clients know (storage spec, section 11).
    fn require_writable(&self) -> Result<(), Error> {
        if self.read_only {
            return Err(Error::new(Code::Internal, "modification is not allowed in read-only mode"));
        }
        Ok(())
    }
}

/// Writes the access record of a call (observability spec, section 3).
fn log_call<T>(method: &'static str, start: Instant, result: &Result<T, Error>) {
    let duration_ms = start.elapsed().as_secs_f64() * 1_000.0;
    match result {
        Ok(_) => tracing::debug!(grpc.method = method, grpc.code = "OK", duration_ms, "call finished"),
        Err(error) if matches!(error.code, Code::Internal | Code::Unimplemented) => {
            tracing::error!(grpc.method = method, grpc.code = ?error.code, duration_ms, error = %error, "call finished");
        }
        Err(error) => {
            tracing::info!(grpc.method = method, grpc.code = ?error.code, duration_ms, error = %error, "call finished");
        }
    }
}
