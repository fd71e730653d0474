//! Keeps a store at what its source says.

use std::{future::Future, sync::Arc, time::Duration};

use flipt_telemetry::{
    Registry,
    prometheus::{IntCounterVec, IntGauge, Opts},
};

use crate::{
    Fetched, Source,
    store::{Current, Shared, load, unix_micros},
};

/// Asks a source again and again, and gives its store what is good.
///
/// # Guarantees
/// - What cannot be read or resolved changes nothing: answers go on with the state before. It is logged when
///   it begins and when it ends, not at every poll.
/// - A state replaces another whole; requests keep the one they started with.
pub struct Follower {
    shared: Arc<Shared>,
    source: Box<dyn Source>,
    interval: Duration,
    metrics: Metrics,
    /// What was logged last, as long as it lasts.
    failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq)]
enum Failure {
    /// The source does not answer.
    Source(String),
    /// The documents are wrong; unchanged, they stay wrong.
    Documents,
}

impl Follower {
    pub(crate) fn new(
        shared: Arc<Shared>,
        source: Box<dyn Source>,
        interval: Duration,
        registry: &Registry,
    ) -> Self {
        let metrics = Metrics::new(registry);
        metrics.loaded();
        Self { shared, source, interval, metrics, failure: None }
    }

    /// Follows until told to stop.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            tokio::select! {
                () = &mut shutdown => return,
                () = self.poll() => {}
            }
        }
    }

    async fn poll(&mut self) {
        let tree = match self.source.fetch().await {
            Ok(Fetched::Unchanged) => {
                if let Some(Failure::Source(_)) = self.failure {
                    self.recovered();
                }
                if self.failure.is_none() {
                    self.metrics.loaded();
                } else {
                    self.metrics.failed();
                }
                return;
            }
            Ok(Fetched::Tree(tree)) => tree,
            Err(error) => {
                self.metrics.failed();
                let failure = Failure::Source(error.message.clone());
                if self.failure.as_ref() != Some(&failure) {
                    tracing::error!(
                        source = self.source.describe(),
                        error = error.message,
                        remedy = error.remedy,
                        "flag state not readable; answers go on with the state before"
                    );
                }
                self.failure = Some(failure);
                return;
            }
        };
        let before = self.shared.current();
        let identity = self.source.identity();
        let loading = tokio::task::spawn_blocking(move || {
            load(&tree, Some(&before), identity, unix_micros()).map(|after| (before, after))
        });
        match loading.await {
            Ok(Ok((before, after))) => {
                self.metrics.loaded();
                self.recovered();
                self.replace(&before, after);
            }
            Ok(Err(failure)) => {
                self.metrics.failed();
                self.failure = Some(Failure::Documents);
                tracing::error!(
                    source = self.source.describe(),
                    file = failure.file(),
                    line = failure.line(),
                    error = %failure,
                    remedy = failure.remedy(),
                    "flag state not loaded; answers go on with the state before"
                );
            }
            Err(panicked) => {
                self.metrics.failed();
                self.failure = Some(Failure::Documents);
                tracing::error!(error = %panicked, "loading flag state broke down");
            }
        }
    }

    fn replace(&self, before: &Current, after: Current) {
        let version = after.live.version.clone();
        let is_new = version != before.live.version;
        let flags = after.state.snapshot.flag_count();
        self.shared.replace(after);
        if is_new {
            tracing::info!(
                source = self.source.describe(),
                snapshot.revision = version.revision,
                snapshot.flags = flags,
                "flag state loaded"
            );
        }
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!(source = self.source.describe(), "flag state is readable again");
        }
    }
}

/// How polling goes.
struct Metrics {
    polls: Option<IntCounterVec>,
    last_success: Option<IntGauge>,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let polls = IntCounterVec::new(
            Opts::new("flipt_storage_polls_total", "Polls of the source of flag state, by result."),
            &["result"],
        );
        let last_success = IntGauge::new(
            "flipt_storage_last_success_timestamp_seconds",
            "When the state in force was last seen to be what the source says.",
        );
        Self {
            polls: polls.map(|metric| registry.add(metric)).ok(),
            last_success: last_success.map(|metric| registry.add(metric)).ok(),
        }
    }

    fn loaded(&self) {
        self.count("ok");
        if let Some(gauge) = &self.last_success {
            gauge.set(unix_micros() / 1_000_000);
        }
    }

    fn failed(&self) {
        self.count("failed");
    }

    fn count(&self, result: &str) {
        if let Some(polls) = &self.polls {
            polls.with_label_values(&[result]).inc();
        }
    }
}
