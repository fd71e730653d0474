//! The parts of the operator: what every replica runs, and what only the leader runs.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    bootstrap, certificates, context::Context, error::Error, export, health, leader, missed, profile,
    settings::Settings, trust, webhook,
};

/// Longest time until everything has stopped after a signal.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// A part that every replica runs: its name, and what ends with the process.
type Part = (&'static str, fn(Arc<Context>) -> BoxFuture<'static, Result<(), Error>>);

/// What every replica runs until the process ends.
const EVERYWHERE: &[Part] = &[
    ("health", |context| Box::pin(health::run(context))),
    // Injection:
    ("webhook", |context| Box::pin(webhook::run(context))),
];

/// What only the leader runs, anew with each term.
const LEADING: &[leader::Part] = &[
    // Servers and resources:
    ("resources", |context, term| Box::pin(crate::term::lead(context, term))),
    // Exports, trust, bootstrap:
    ("exports", |context, term| Box::pin(export::lead(context, term))),
    ("trust", |context, term| Box::pin(trust::lead(context, term))),
    ("bootstrap", |context, term| Box::pin(bootstrap::lead(context, term))),
    // Certificates, missed pods:
    ("certificates", |context, term| Box::pin(certificates::lead(context, term))),
    ("profiles", |context, term| Box::pin(profile::lead(context, term))),
    ("missed", |context, term| Box::pin(missed::lead(context, term))),
];

/// Runs the operator until SIGINT or SIGTERM.
///
/// # Errors
/// A part cannot go on. The kubelet starts the process again.
pub(crate) async fn run(settings: Settings) -> Result<(), Error> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = settings.namespace,
        watched = ?settings.watched(),
        "flipt-operator starting"
    );
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let (announce, leading) = watch::channel(false);
    let context = Context::new(settings, stop.clone(), leading).await?;

    let mut parts = JoinSet::new();
    for (name, part) in EVERYWHERE {
        let running = part(Arc::clone(&context));
        parts.spawn(async move { (*name, running.await) });
    }
    let term = leader::run(Arc::clone(&context), announce, LEADING);
    parts.spawn(async move { ("leader", term.await) });

    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        let failure = match ended {
            Ok((_, Ok(()))) if stop.is_cancelled() => continue,
            Ok((part, Ok(()))) => Error::Ended { part, detail: "it has nothing more to do".to_owned() },
            Ok((_, Err(error))) => error,
            Err(error) => Error::Ended { part: "unknown", detail: error.to_string() },
        };
        if outcome.is_ok() {
            tracing::error!(error = %failure, "flipt-operator ends");
            outcome = Err(failure);
        }
        stop.cancel();
    }
    tracing::info!("flipt-operator stopped");
    outcome
}

async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be received");
        return stop.cancel();
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    tokio::time::sleep(SHUTDOWN).await;
    tracing::error!(seconds = SHUTDOWN.as_secs(), "parts did not stop in time");
    std::process::exit(1);
}
