//! What is counted about evaluations (observability spec, section 2.3).

use std::time::Instant;

use flipt_evaluation::{BooleanResult, VariantResult};
use flipt_model::namespace_or_default;
use flipt_telemetry::{
    Registry,
    prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts},
};

/// Which labels the counters carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// Namespace, type and reason: bounded whatever the number of flags. For sidecars.
    Bounded,
    /// Flipt's own families, which name each flag. For servers.
    PerFlag,
}

/// Counters of evaluations; a clone counts into the same.
#[derive(Clone)]
pub struct EvaluationMetrics(Families);

#[derive(Clone)]
enum Families {
    None,
    Bounded(IntCounterVec),
    PerFlag { requests: IntCounterVec, results: IntCounterVec, latency: HistogramVec },
}

const LATENCY_BOUNDS_MS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0, 7_500.0,
    10_000.0,
];

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
    match IntCounterVec::new(Opts::new(name, help), labels) {
        Ok(counter) => Some(registry.add(counter)),
        Err(error) => {
            tracing::error!(error = %error, metric = name, "metric not created");
            None
        }
    }
}

impl EvaluationMetrics {
    /// Counts nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(Families::None)
    }

    /// Counts into this registry.
    #[must_use]
    pub fn new(registry: &Registry, labels: Labels) -> Self {
        Self(
            match labels {
                Labels::Bounded => Self::bounded(registry),
                Labels::PerFlag => Self::per_flag(registry),
            }
            .unwrap_or(Families::None),
        )
    }

    fn bounded(registry: &Registry) -> Option<Families> {
        counter(
            registry,
            "flipt_evaluations_total",
            "Evaluations answered.",
            &["namespace", "type", "reason"],
        )
        .map(Families::Bounded)
    }

    fn per_flag(registry: &Registry) -> Option<Families> {
        // One family for both types of flags: labels that a type does not have are empty, which Prometheus
        // treats like labels that are not there.
        let results = counter(
            registry,
            "flipt_evaluations_results_total",
            "Evaluations finished.",
            &["namespace", "flag", "match", "segment", "reason", "value", "type"],
        )?;
        let latency = HistogramVec::new(
            HistogramOpts::new("flipt_evaluations_latency_milliseconds", "Duration of evaluations.")
                .buckets(LATENCY_BOUNDS_MS.to_vec()),
            &["namespace", "flag"],
        )
        .ok()?;
        Some(Families::PerFlag {
            requests: counter(
                registry,
                "flipt_evaluations_requests_total",
                "Evaluations started.",
                &["namespace", "flag"],
            )?,
            results,
            latency: registry.add(latency),
        })
    }

    pub(crate) fn start(&self) -> Option<Instant> {
        matches!(self.0, Families::PerFlag { .. }).then(Instant::now)
    }

    pub(crate) fn boolean(
        &self,
        namespace: &str,
        flag: &str,
        result: &BooleanResult<'_>,
        start: Option<Instant>,
    ) {
        let reason = result.reason.name();
        match &self.0 {
            Families::None => {}
            Families::Bounded(counter) => {
                counter.with_label_values(&[namespace_or_default(namespace), "boolean", reason]).inc();
            }
            Families::PerFlag { requests, results, latency } => {
                requests.with_label_values(&[namespace, flag]).inc();
                let value = if result.enabled { "true" } else { "false" };
                results.with_label_values(&[namespace, flag, "", "", reason, value, "boolean"]).inc();
                observe(latency, namespace, flag, start);
            }
        }
    }

    pub(crate) fn variant(
        &self,
        namespace: &str,
        flag: &str,
        result: &VariantResult<'_>,
        start: Option<Instant>,
    ) {
        let reason = result.reason.name();
        match &self.0 {
            Families::None => {}
            Families::Bounded(counter) => {
                counter.with_label_values(&[namespace_or_default(namespace), "variant", reason]).inc();
            }
            Families::PerFlag { requests, results, latency } => {
                requests.with_label_values(&[namespace, flag]).inc();
                let matched = if result.matched { "true" } else { "false" };
                let segment = result.segments.iter().next().unwrap_or_default();
                results
                    .with_label_values(&[
                        namespace,
                        flag,
                        matched,
                        segment,
                        reason,
                        result.variant,
                        "variant",
                    ])
                    .inc();
                observe(latency, namespace, flag, start);
            }
        }
    }
}

fn observe(latency: &HistogramVec, namespace: &str, flag: &str, start: Option<Instant>) {
    if let Some(start) = start {
        latency.with_label_values(&[namespace, flag]).observe(start.elapsed().as_secs_f64() * 1_000.0);
    }
}
