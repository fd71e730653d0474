//! What is counted about a cache (observability spec, section 2).

use flipt_telemetry::{
    Registry,
    prometheus::{IntCounter, IntCounterVec, Opts},
};

/// Counters of one cache. Every lookup is a hit, a miss or an error.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Lookups that found something.
    pub(crate) hits: IntCounter,
    /// Lookups that found nothing.
    pub(crate) misses: IntCounter,
    /// Lookups that the cache did not answer, and values that it did not take.
    pub(crate) errors: IntCounter,
}

impl Metrics {
    /// Counts into this registry under the name of a backend.
    ///
    /// # Errors
    /// Never with names like ours.
    pub(crate) fn new(
        registry: &Registry,
        backend: &str,
    ) -> Result<Self, flipt_telemetry::prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let family = registry.add(IntCounterVec::new(Opts::new(name, help), &["cache"])?);
            family.get_metric_with_label_values(&[backend])
        };
        Ok(Self {
            hits: counter("flipt_cache_hit_total", "Lookups that found something.")?,
            misses: counter("flipt_cache_miss_total", "Lookups that found nothing.")?,
            errors: counter(
                "flipt_cache_error_total",
                "Lookups that the cache did not answer, and values that it did not take.",
            )?,
        })
    }
}
