//! `tracing`: traces of requests (observability spec, section 4).

use crate::{Origin, Otlp, Wording, reader::Reader, storage::shown_if};

/// `tracing`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Where traces go, if anywhere.
    pub exporter: Option<TracingExporter>,
    /// Share of requests that are traced, 0 to 1.
    pub sampling_ratio: f64,
    /// How the context of a trace travels.
    pub propagators: Vec<Propagator>,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub enum TracingExporter {
    /// To a Jaeger agent, by UDP.
    Jaeger {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
    /// To Zipkin.
    Zipkin {
        /// URL.
        endpoint: String,
    },
    /// To a collector.
    Otlp(Otlp),
}

/// How the context of a trace travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Propagator {
    TraceContext,
    Baggage,
    B3,
    B3Multi,
    Jaeger,
    XRay,
    OtTrace,
    None,
}

const PROPAGATORS: [(&str, Propagator); 8] = [
    ("tracecontext", Propagator::TraceContext),
    ("baggage", Propagator::Baggage),
    ("b3", Propagator::B3),
    ("b3multi", Propagator::B3Multi),
    ("jaeger", Propagator::Jaeger),
    ("xray", Propagator::XRay),
    ("ottrace", Propagator::OtTrace),
    ("none", Propagator::None),
];

impl Tracing {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.bool("tracing.enabled", false);
        let tracing = shown_if(reader, enabled, |reader| Self::read_settings(reader, enabled));
        reader.accept_all("tracing.jaeger.enabled");
        if enabled {
            reader.without_effect("tracing.enabled", "no traces are exported");
        }
        tracing
    }

    fn read_settings(reader: &mut Reader<'_>, enabled: bool) -> Self {
        let explicit = reader.is_set("tracing.exporter");
        let name = reader.text("tracing.exporter", "jaeger");
        let sampling_ratio = reader.number("tracing.sampling_ratio", 1.0);
        if !(0.0..=1.0).contains(&sampling_ratio) {
            let problem = "sampling ratio should be a number between 0 and 1";
            reader.refuse(Wording::Fixed, "tracing.sampling_ratio", problem, "0 to 1");
        }
        let propagators = read_propagators(reader);
        let host = reader.text("tracing.jaeger.host", "localhost");
        let port = reader.port("tracing.jaeger.port", 6831);
        let endpoint = reader.text("tracing.zipkin.endpoint", "http://localhost:9411/api/v2/spans");
        let otlp = Otlp::read(reader, ("tracing.otlp.endpoint", "localhost:4317"), "tracing.otlp.headers");
        let exporter = match name.as_str() {
            "jaeger" => {
                if let (true, Some(origin)) = (enabled, explicit) {
                    reader.note(format!(
                        "{origin}: \"tracing.exporter.jaeger\" is deprecated and will be removed in a future release."
                    ));
                }
                Some(TracingExporter::Jaeger { host, port })
            }
            "zipkin" => Some(TracingExporter::Zipkin { endpoint }),
            "otlp" => Some(TracingExporter::Otlp(otlp)),
            _ => {
                if enabled {
                    // The reference does not show the value.
                    let problem = "creating tracing exporter: unsupported tracing exporter: ";
                    reader.refuse(Wording::Bare, "tracing.exporter", problem, "jaeger, zipkin or otlp");
                }
                None
            }
        };
        Self { exporter: exporter.filter(|_| enabled), sampling_ratio, propagators }
    }
}

/// Checked also if tracing is off.
fn read_propagators(reader: &mut Reader<'_>) -> Vec<Propagator> {
    let names = reader.list("tracing.propagators", &["tracecontext", "baggage"]);
    let mut propagators = Vec::with_capacity(names.len());
    for name in names {
        match PROPAGATORS.iter().find(|(known, _)| *known == name) {
            Some((_, propagator)) => propagators.push(*propagator),
            None => {
                let origin = reader.is_set("tracing.propagators").unwrap_or(Origin::Default);
                reader.fail_with(
                    Wording::Fixed,
                    "tracing.propagators",
                    origin,
                    format!("invalid propagator option: {name}"),
                    "tracecontext, baggage, b3, b3multi, jaeger, xray, ottrace or none",
                );
                break;
            }
        }
    }
    propagators
}
