//! The health listener: probes and metrics.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use flipt_telemetry::Registry;
use tokio::net::TcpListener;

use crate::{context::Context, error::Error};

/// Answers probes and scrapers until the process ends.
///
/// # Errors
/// [`Error::Listen`].
pub(crate) async fn run(context: Arc<Context>) -> Result<(), Error> {
    let address = context.settings.health_listen;
    let listen = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let stop = context.stop.clone();
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await.map_err(listen)
}

async fn ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let closed = context.readiness.closed();
    if closed.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", closed.join(", ")))
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, Registry::CONTENT_TYPE)], context.metrics.render())
}
