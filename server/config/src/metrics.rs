//! `metrics`: numbers about the server (observability spec, section 2.1).

use std::{collections::BTreeMap, fmt};

use crate::{Wording, reader::Reader, storage::shown_if};

/// `metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether there are any beyond those of the process.
    pub enabled: bool,
    /// How they are given away.
    pub exporter: MetricsExporter,
}

/// How metrics are given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsExporter {
    /// Scraped at `/metrics`.
    Prometheus,
    /// Pushed to a collector.
    Otlp(Otlp),
}

/// A collector of OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `http://…`, `https://…`, `grpc://…`, or `host:port` for gRPC without TLS.
    pub endpoint: String,
    /// Sent with each export.
    pub headers: SecretHeaders,
}

/// Headers, whose values may be credentials and do not show themselves.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretHeaders(BTreeMap<String, String>);

impl SecretHeaders {
    pub(crate) fn read(reader: &mut Reader<'_>, prefix: &'static str) -> Self {
        let mark = reader.mark();
        let headers = reader.map(prefix);
        reader.hide(mark);
        Self(headers)
    }

    /// Names in lower case, with their values.
    #[must_use]
    pub const fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl fmt::Debug for SecretHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Otlp {
    /// Reads a collector; without a default one on this machine is meant (config spec, section 3.8).
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        (endpoint, default): (&str, &str),
        headers: &'static str,
    ) -> Self {
        let endpoint = reader.secret_url(endpoint, default).0;
        let endpoint = if endpoint.is_empty() { "localhost:4317".to_owned() } else { endpoint };
        Self { endpoint, headers: SecretHeaders::read(reader, headers) }
    }
}

impl Metrics {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.bool("metrics.enabled", true);
        let name = reader.text("metrics.exporter", "prometheus");
        let otlp = shown_if(reader, name == "otlp", |reader| {
            Otlp::read(reader, ("metrics.otlp.endpoint", ""), "metrics.otlp.headers")
        });
        let exporter = match name.as_str() {
            "otlp" => MetricsExporter::Otlp(otlp),
            "prometheus" => MetricsExporter::Prometheus,
            _ => {
                if enabled {
                    let problem = format!("creating metrics exporter: unsupported metrics exporter: {name}");
                    reader.refuse(Wording::Bare, "metrics.exporter", problem, "prometheus or otlp");
                }
                MetricsExporter::Prometheus
            }
        };
        if !enabled {
            reader.without_effect("metrics.enabled", "metrics are always served on /metrics");
        } else if name == "otlp" {
            reader.without_effect("metrics.exporter", "metrics are served on /metrics, not pushed");
        }
        Self { enabled, exporter }
    }
}
