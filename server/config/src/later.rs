//! Sections of Flipt that this version does not act on: their keys are read, checked for their types and shown,
//! and whoever sets them hears that they have no effect.

use std::time::Duration;

use crate::{Effective, reader::Reader};

/// Such sections. They are not "unknown", but whoever sets them should hear about it.
const SECTIONS: [&str; 6] = ["cache", "audit", "analytics", "tracing", "metrics", "experimental"];

/// What a key holds, with its default.
enum Kind {
    Bool(bool),
    Count(u32),
    Number(f64),
    Text(&'static str),
    /// In seconds.
    Duration(u64),
    List(&'static [&'static str]),
}

use Kind::{Bool, Count, Duration as Span, List, Number, Text};

const KEYS: [(&str, Kind); 50] = [
    ("analytics.buffer.capacity", Count(0)),
    ("analytics.buffer.flush_period", Span(10)),
    ("analytics.storage.clickhouse.enabled", Bool(false)),
    ("analytics.storage.prometheus.enabled", Bool(false)),
    ("audit.buffer.capacity", Count(2)),
    ("audit.buffer.flush_period", Span(120)),
    ("audit.events", List(&["*:*"])),
    ("audit.sinks.kafka.bootstrap_servers", List(&[])),
    ("audit.sinks.kafka.enabled", Bool(false)),
    ("audit.sinks.kafka.encoding", Text("protobuf")),
    ("audit.sinks.kafka.require_tls", Bool(false)),
    ("audit.sinks.kafka.topic", Text("")),
    ("audit.sinks.log.enabled", Bool(false)),
    ("audit.sinks.log.encoding", Text("")),
    ("audit.sinks.log.file", Text("")),
    ("audit.sinks.webhook.enabled", Bool(false)),
    ("audit.sinks.webhook.max_backoff_duration", Span(15)),
    ("cache.backend", Text("memory")),
    ("cache.enabled", Bool(false)),
    ("cache.memory.eviction_interval", Span(300)),
    ("cache.redis.conn_max_idle_time", Span(0)),
    ("cache.redis.db", Count(0)),
    ("cache.redis.host", Text("localhost")),
    ("cache.redis.min_idle_conn", Count(0)),
    ("cache.redis.mode", Text("single")),
    ("cache.redis.net_timeout", Span(0)),
    ("cache.redis.pool_size", Count(0)),
    ("cache.redis.port", Count(6_379)),
    ("cache.redis.prefix", Text("")),
    ("cache.redis.require_tls", Bool(false)),
    ("cache.ttl", Span(60)),
    ("db.conn_max_lifetime", Span(0)),
    ("db.max_open_conn", Count(0)),
    ("db.prepared_statements_enabled", Bool(true)),
    ("metrics.enabled", Bool(true)),
    ("metrics.exporter", Text("prometheus")),
    ("metrics.otlp.endpoint", Text("")),
    ("server.https_port", Count(443)),
    ("tracing.enabled", Bool(false)),
    ("tracing.exporter", Text("jaeger")),
    ("tracing.jaeger.host", Text("localhost")),
    ("tracing.jaeger.port", Count(6_831)),
    ("tracing.otlp.endpoint", Text("localhost:4317")),
    ("tracing.propagators", List(&["tracecontext", "baggage"])),
    ("tracing.sampling_ratio", Number(1.0)),
    ("tracing.zipkin.endpoint", Text("http://localhost:9411/api/v2/spans")),
    ("ui.default_theme", Text("system")),
    ("ui.topbar.label", Text("")),
    ("server.grpc_conn_max_age", Span(0)),
    ("server.grpc_conn_max_idle_time", Span(0)),
];

/// Reads the keys and gives them as they are shown. They are no part of what is printed as in force.
pub(crate) fn read(reader: &mut Reader<'_>) -> Vec<Effective> {
    for section in SECTIONS {
        if let Some(origin) = reader.is_set(section) {
            reader.note(format!("{origin}: section {section} has no effect in this version"));
        }
        reader.accept_all(section);
    }
    reader.aside(|reader| {
        for (key, kind) in KEYS {
            match kind {
                Bool(default) => {
                    reader.bool(key, default);
                }
                Count(default) => {
                    reader.count(key, default);
                }
                Number(default) => {
                    reader.number(key, default);
                }
                Text(default) => {
                    reader.text(key, default);
                }
                Span(seconds) => {
                    reader.duration(key, Duration::from_secs(seconds), Duration::ZERO);
                }
                List(default) => {
                    reader.list(key, default);
                }
            }
        }
    })
}
