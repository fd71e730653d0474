//! The server's API. A handler is written once, in the file of its resource; [`calls`] lists them all with
//! their REST paths, and both transports are made from that list.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod calls;
mod compression;
mod constraints;
mod cors;
mod data;
mod deadline;
mod distributions;
mod error;
mod evaluate;
mod flags;
mod form;
mod http;
mod namespaces;
mod pretty;
mod query;
mod rest;
mod rollouts;
mod rules;
mod segments;
mod source;
mod transcode;
mod variants;

use std::{sync::Arc, time::Instant};

use flipt_serving::{Code, Error, EvaluationMetrics, Evaluator};
use flipt_store::Store;

pub use cors::Cors;
pub(crate) use error::Fails;
pub use http::ServerHttp;

/// What every handler works with.
#[derive(Clone)]
pub struct Api {
    store: Arc<dyn Store>,
    evaluator: Evaluator,
    read_only: bool,
}

impl Api {
    /// The API on this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, read_only: bool, metrics: EvaluationMetrics) -> Self {
        let source = Arc::new(source::LiveStore(Arc::clone(&store)));
        Self { store, evaluator: Evaluator::new(source, metrics), read_only }
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
