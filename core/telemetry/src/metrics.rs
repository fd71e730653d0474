//! The registry of a program's metrics, in the Prometheus text format.

use prometheus::{Encoder as _, TextEncoder, core::Collector};

/// All metrics of a program.
#[derive(Clone, Default)]
pub struct Registry(prometheus::Registry);

impl Registry {
    /// Content type of [`Registry::render`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Adds a metric and hands it back. One that is there already is not added twice; the log says so.
    pub fn add<M: Collector + Clone + 'static>(&self, metric: M) -> M {
        if let Err(error) = self.0.register(Box::new(metric.clone())) {
            tracing::error!(error = %error, "metric not registered");
        }
        metric
    }

    /// The current values as a scraper reads them.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.gather(), &mut text) {
            tracing::error!(error = %error, "metrics not encoded");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn a_counter_is_rendered_with_its_value() {
        let registry = Registry::default();
        let counter = registry.add(IntCounter::new("flipt_things_total", "Things.").unwrap());
        counter.inc();
        assert!(String::from_utf8(registry.render()).unwrap().contains("flipt_things_total 1"));
    }
}
