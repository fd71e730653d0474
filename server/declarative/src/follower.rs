//! Keeps a store at what its source says.

use std::{future::Future, sync::Arc, time::Duration};

use flipt_telemetry::{
    Registry,
    prometheus::{IntCounterVec, IntGauge, Opts},
};

use crate::{
    Fetched, Source, SourceError,
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
    /// What is wrong with the source, as logged.
    unreadable: Option<String>,
    /// Whether the documents read last were refused. Unchanged, they stay wrong.
    refused: bool,
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
        Self { shared, source, interval, metrics, unreadable: None, refused: false }
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
        let fetched = match self.source.fetch().await {
            Ok(fetched) => fetched,
            Err(error) => return self.source_failed(&error),
        };
        if self.unreadable.take().is_some() {
            tracing::info!(source = self.source.describe(), "the source of flag state is readable again");
        }
        let tree = match fetched {
            Fetched::Unchanged if self.refused => return self.metrics.failed(),
            Fetched::Unchanged => return self.metrics.loaded(),
            Fetched::Tree(tree) => tree,
        };
        let before = self.shared.current();
        let identity = self.source.identity();
        let loading = tokio::task::spawn_blocking(move || {
            load(&tree, Some(&before), identity, unix_micros()).map(|after| (before, after))
        });
        match loading.await {
            Ok(Ok((before, after))) => {
                self.metrics.loaded();
                if std::mem::take(&mut self.refused) {
                    tracing::info!(source = self.source.describe(), "flag state can be loaded again");
                }
                self.replace(&before, after);
            }
            Ok(Err(failure)) => {
                self.metrics.failed();
                self.refused = true;
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
                self.refused = true;
                tracing::error!(error = %panicked, "loading flag state broke down; answers go on with the state before");
            }
        }
    }

    fn source_failed(&mut self, error: &SourceError) {
        self.metrics.failed();
        if self.unreadable.as_ref() == Some(&error.message) {
            return;
        }
        tracing::error!(
            source = self.source.describe(),
            error = error.message,
            remedy = error.remedy,
            "flag state not readable; answers go on with the state before"
        );
        self.unreadable = Some(error.message.clone());
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
