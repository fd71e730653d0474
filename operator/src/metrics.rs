//! Metrics of the operator.

use flipt_telemetry::{
    Registry,
    prometheus::{
        GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
        Opts, core::Collector,
    },
};

/// All metrics, registered once.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Reconciles by kind and result.
    pub(crate) reconciles: IntCounterVec,
    /// Time of a reconcile by kind.
    pub(crate) reconcile_duration: HistogramVec,
    /// Objects by kind and state: the reason of their condition `Ready`.
    pub(crate) managed: IntGaugeVec,
    /// Calls of servers by call and result.
    pub(crate) server_calls: IntCounterVec,
    /// Writes of a status.
    pub(crate) status_writes: IntCounterVec,
    /// This replica holds the Lease.
    pub(crate) leader: IntGauge,
    /// Events that could not be written in time.
    pub(crate) events_dropped: IntCounter,
    /// Admission requests by result and reason.
    pub(crate) injections: IntCounterVec,
    /// Time of an answer about a pod.
    pub(crate) injection_duration: Histogram,
    /// Pods that should have a sidecar and have none.
    pub(crate) missed_pods: IntGauge,
    /// Seconds until the webhook's certificate ends.
    pub(crate) certificate_expiry: IntGauge,
    /// When an export succeeded last.
    #[allow(dead_code, reason = "set by the exports")]
    pub(crate) export_success: GaugeVec,
}

impl Metrics {
    /// Registers them.
    pub(crate) fn new() -> Self {
        let registry = Registry::default();
        let info = int_gauges("flipt_operator_info", "Version of the operator; always 1.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.add(info);
        let durations = HistogramOpts::new("flipt_reconcile_duration_seconds", "Time of a reconcile.")
            .buckets(vec![0.0005, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0]);
        let exports = Opts::new(
            "flipt_export_last_success_timestamp_seconds",
            "When an export succeeded last, in Unix time.",
        );
        let reconciles = int_counters("flipt_reconcile_total", "Reconciles of objects.", &["kind", "result"]);
        let managed = int_gauges(
            "flipt_managed_resources",
            "Objects by state, which is the reason of their condition Ready.",
            &["kind", "state"],
        );
        let server_calls =
            int_counters("flipt_operator_server_calls_total", "Calls of Flipt servers.", &["call", "result"]);
        let status_writes = int_counters("flipt_status_writes_total", "Writes of a status.", &["kind"]);
        let injection_durations = HistogramOpts::new(
            "flipt_injection_duration_seconds",
            "Time of an answer about a pod, with the wait for a profile.",
        )
        .buckets(vec![0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1.0, 2.0]);
        let injections = int_counters("flipt_injection_total", "Admission of pods.", &["result", "reason"]);
        Self {
            reconciles: registry.add(reconciles),
            reconcile_duration: registry.add(valid(HistogramVec::new(durations, &["kind"]))),
            managed: registry.add(managed),
            server_calls: registry.add(server_calls),
            status_writes: registry.add(status_writes),
            leader: registry.add(int_gauge("flipt_leader", "1 while this replica holds the Lease.")),
            events_dropped: registry.add(valid(IntCounter::new(
                "flipt_operator_events_dropped_total",
                "Events that could not be written in time.",
            ))),
            injections: registry.add(injections),
            injection_duration: registry.add(valid(Histogram::with_opts(injection_durations))),
            missed_pods: registry.add(int_gauge(
                "flipt_injection_missed_pods",
                "Pods that should have a sidecar and have none.",
            )),
            certificate_expiry: registry.add(int_gauge(
                "flipt_webhook_cert_expiry_seconds",
                "Time until the webhook's certificate ends.",
            )),
            export_success: registry.add(valid(GaugeVec::new(exports, &["export"]))),
            registry,
        }
    }

    /// The current values as a scraper reads them.
    pub(crate) fn render(&self) -> Vec<u8> {
        self.registry.render()
    }
}

fn int_counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    valid(IntCounterVec::new(Opts::new(name, help), labels))
}

fn int_gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    valid(IntGaugeVec::new(Opts::new(name, help), labels))
}

fn int_gauge(name: &str, help: &str) -> IntGauge {
    valid(IntGauge::new(name, help))
}

/// Names and labels stand above: the test below builds every one of them.
#[allow(clippy::expect_used, reason = "fails at the first start of a build whose metrics have invalid names")]
fn valid<M: Collector>(metric: Result<M, flipt_telemetry::prometheus::Error>) -> M {
    metric.expect("names of metrics are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let metrics = Metrics::new();
        metrics.leader.set(1);
        metrics.reconciles.with_label_values(&["FliptFlag", "synced"]).inc();
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(text.contains("flipt_leader 1"), "{text}");
        assert!(text.contains("flipt_reconcile_total{kind=\"FliptFlag\",result=\"synced\"} 1"), "{text}");
    }
}
