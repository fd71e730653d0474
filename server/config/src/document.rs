//! The configuration as the server shows it to callers (api spec, section 11.4): JSON, without anything that is
//! secret. A key that is not listed here is not shown.

use serde_json::{Map, Value};

use crate::{Effective, Origin, Shown};

/// When a key is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Indicates a key that is left out while it is false, zero or empty.
    NotEmpty,
    /// Indicates a key that is left out unless somebody set it.
    Set,
    /// Indicates a key that is left out while it has this value.
    Not(&'static str),
    /// Indicates a section that is there even with nothing in it.
    Section,
}

use When::{Always, Not, NotEmpty, Section, Set};

const KEYS: [(&str, When); 124] = [
    ("version", Set),
    ("analytics.buffer.capacity", NotEmpty),
    ("analytics.buffer.flush_period", Always),
    ("analytics.storage.clickhouse", Section),
    ("analytics.storage.clickhouse.enabled", NotEmpty),
    ("analytics.storage.prometheus", Section),
    ("analytics.storage.prometheus.enabled", NotEmpty),
    ("audit.buffer.capacity", Always),
    ("audit.buffer.flush_period", Always),
    ("audit.events", Always),
    ("audit.sinks.kafka.bootstrap_servers", NotEmpty),
    ("audit.sinks.kafka.enabled", NotEmpty),
    ("audit.sinks.kafka.encoding", Always),
    ("audit.sinks.kafka.require_tls", NotEmpty),
    ("audit.sinks.kafka.topic", NotEmpty),
    ("audit.sinks.log", Section),
    ("audit.sinks.log.enabled", NotEmpty),
    ("audit.sinks.log.encoding", NotEmpty),
    ("audit.sinks.log.file", NotEmpty),
    ("audit.sinks.webhook.enabled", Always),
    ("audit.sinks.webhook.max_backoff_duration", Set),
    ("authentication.exclude", Section),
    ("authentication.exclude.evaluation", NotEmpty),
    ("authentication.exclude.management", NotEmpty),
    ("authentication.exclude.metadata", NotEmpty),
    ("authentication.exclude.ofrep", NotEmpty),
    ("authentication.methods.github.method", Section),
    ("authentication.methods.github.allowed_organizations", NotEmpty),
    ("authentication.methods.github.api_url", NotEmpty),
    ("authentication.methods.github.cleanup.grace_period", Always),
    ("authentication.methods.github.cleanup.interval", Always),
    ("authentication.methods.github.enabled", NotEmpty),
    ("authentication.methods.github.redirect_address", NotEmpty),
    ("authentication.methods.github.scopes", NotEmpty),
    ("authentication.methods.github.server_url", NotEmpty),
    ("authentication.methods.jwt.method", Section),
    ("authentication.methods.jwt.enabled", NotEmpty),
    ("authentication.methods.kubernetes.method", Section),
    ("authentication.methods.kubernetes.ca_path", NotEmpty),
    ("authentication.methods.kubernetes.cleanup.grace_period", Always),
    ("authentication.methods.kubernetes.cleanup.interval", Always),
    ("authentication.methods.kubernetes.discovery_url", NotEmpty),
    ("authentication.methods.kubernetes.enabled", NotEmpty),
    ("authentication.methods.kubernetes.service_account_token_path", NotEmpty),
    ("authentication.methods.oidc.method", Section),
    ("authentication.methods.oidc.cleanup.grace_period", Always),
    ("authentication.methods.oidc.cleanup.interval", Always),
    ("authentication.methods.oidc.email_matches", NotEmpty),
    ("authentication.methods.oidc.enabled", NotEmpty),
    ("authentication.methods.token.bootstrap", Section),
    ("authentication.methods.token.bootstrap.expiration", NotEmpty),
    ("authentication.methods.token.bootstrap.metadata", NotEmpty),
    ("authentication.methods.token.cleanup.grace_period", Always),
    ("authentication.methods.token.cleanup.interval", Always),
    ("authentication.methods.token.enabled", NotEmpty),
    ("authentication.required", Always),
    ("authentication.session.csrf", Section),
    ("authentication.session.csrf.secure", NotEmpty),
    ("authentication.session.csrf.trusted_origins", NotEmpty),
    ("authentication.session.domain", NotEmpty),
    ("authentication.session.secure", NotEmpty),
    ("authentication.session.state_lifetime", Always),
    ("authentication.session.token_lifetime", Always),
    ("authorization", Section),
    ("authorization.backend", NotEmpty),
    ("authorization.required", NotEmpty),
    ("cache.backend", Always),
    ("cache.enabled", Always),
    ("cache.memory.eviction_interval", Always),
    ("cache.redis.conn_max_idle_time", Always),
    ("cache.redis.db", NotEmpty),
    ("cache.redis.host", Always),
    ("cache.redis.min_idle_conn", Always),
    ("cache.redis.mode", Always),
    ("cache.redis.net_timeout", Always),
    ("cache.redis.pool_size", Always),
    ("cache.redis.port", Always),
    ("cache.redis.prefix", NotEmpty),
    ("cache.redis.require_tls", NotEmpty),
    ("cache.ttl", Always),
    ("cors.allowed_headers", Always),
    ("cors.allowed_origins", Always),
    ("cors.enabled", Always),
    ("db.conn_max_lifetime", NotEmpty),
    ("db.max_idle_conn", Always),
    ("db.max_open_conn", NotEmpty),
    ("db.prepared_statements_enabled", Always),
    ("diagnostics.profiling", Section),
    ("diagnostics.profiling.enabled", NotEmpty),
    ("experimental", Section),
    ("log.encoding", Always),
    ("log.file", NotEmpty),
    ("log.grpc_level", Always),
    ("log.keys.level", Always),
    ("log.keys.message", Always),
    ("log.keys.time", Always),
    ("log.level", Always),
    ("meta.check_for_updates", Always),
    ("meta.state_directory", Always),
    ("meta.telemetry_enabled", Always),
    ("metrics.enabled", Always),
    ("metrics.exporter", Always),
    ("metrics.otlp", Section),
    ("metrics.otlp.endpoint", NotEmpty),
    ("server.grpc_port", Always),
    ("server.host", Always),
    ("server.http_port", Always),
    ("server.https_port", Always),
    ("server.protocol", Not("http")),
    ("storage.local.path", Set),
    ("storage.read_only", NotEmpty),
    ("storage.type", Always),
    ("tracing.enabled", Always),
    ("tracing.exporter", Always),
    ("tracing.jaeger.host", Always),
    ("tracing.jaeger.port", Always),
    ("tracing.otlp.endpoint", Always),
    ("tracing.propagators", Always),
    ("tracing.sampling_ratio", Always),
    ("tracing.zipkin.endpoint", Always),
    ("ui.default_theme", Always),
    ("ui.enabled", Always),
    ("ui.topbar.color", Always),
    ("ui.topbar.label", Always),
];

/// The document of these values.
pub(crate) fn of(values: &[Effective]) -> Value {
    let mut document = Map::new();
    for (key, when) in KEYS {
        let path = path(key);
        if when == Section {
            insert(&mut document, &path, Value::Object(Map::new()));
            continue;
        }
        let Some(entry) = values.iter().find(|entry| entry.key == key) else { continue };
        let value = json(&entry.value);
        let shown = match when {
            Always | Section => true,
            NotEmpty => !is_empty(&value),
            Set => entry.origin != Origin::Default,
            Not(text) => value != text,
        };
        if shown {
            insert(&mut document, &path, value);
        }
    }
    Value::Object(document)
}

/// The names of a key's members. What a method of authentication is told stands one level deeper.
fn path(key: &str) -> Vec<String> {
    let mut names: Vec<String> = key.split('.').map(camel_case).collect();
    if let ["authentication", "methods", _, rest @ ..] = key.split('.').collect::<Vec<_>>().as_slice() {
        match rest {
            ["enabled" | "cleanup", ..] => {}
            ["method"] => {
                names.truncate(3);
                names.push("Method".to_owned());
            }
            _ => names.insert(3, "Method".to_owned()),
        }
    }
    names
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut text = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

fn insert(object: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            object.entry(name.clone()).or_insert(value);
        }
        [name, rest @ ..] => {
            let below = object.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                insert(below, rest, value);
            }
        }
    }
}

fn json(value: &Shown) -> Value {
    match value {
        Shown::Bool(value) => Value::from(*value),
        Shown::Integer(value) => Value::from(*value),
        Shown::Number(value) => Value::from(*value),
        Shown::Text(value) => Value::from(value.clone()),
        // In nanoseconds, as Go has them.
        Shown::Duration(value) => Value::from(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)),
        Shown::List(values) => Value::from(values.clone()),
        Shown::Map(values) => Value::Object(
            values.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect(),
        ),
        Shown::Secret => Value::Null,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
    }
}
