//! What each section takes, and the texts in which it refuses (config spec, section 3).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use flipt_config::{
    AnalyticsStorage, CaCertificates, CacheBackend, ConfigError, Loaded, MetricsExporter, Noun, Propagator,
    RedisTls, StorageType, TracingExporter, Ttl, Verb, load, to_yaml,
};

fn with(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment: BTreeMap<String, String> =
        pairs.iter().map(|(key, value)| (format!("FLIPT_{key}"), (*value).to_owned())).collect();
    load(None, &environment)
}

fn with_yaml(text: &str) -> Result<Loaded, ConfigError> {
    let mut file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(Some(file.path()), &BTreeMap::new())
}

#[track_caller]
fn refused(pairs: &[(&str, &str)], text: &str) {
    assert_eq!(with(pairs).unwrap_err().to_string(), text, "{pairs:?}");
}

fn refused_value(pairs: &[(&str, &str)], text: &str) {
    refused(pairs, &format!("loading configuration: {text}"));
}

fn notes(loaded: &Loaded) -> String {
    loaded.notes.join("\n")
}

#[test]
fn a_folder_is_read_only_storage() {
    let storage =
        with(&[("STORAGE_TYPE", "local"), ("STORAGE_LOCAL_PATH", "/flags")]).unwrap().config.storage;
    assert!(storage.read_only);
    let StorageType::Local(local) = storage.kind else { panic!("{:?}", storage.kind) };
    assert_eq!((local.path.to_str(), local.poll_interval), (Some("/flags"), Duration::from_secs(10)));
    refused_value(
        &[("STORAGE_TYPE", "local"), ("STORAGE_READ_ONLY", "false")],
        "setting read only mode is only supported with database storage",
    );
    let error = with_yaml("storage: {type: local, local: {path: \"\"}}\n").unwrap_err().to_string();
    assert_eq!(error, "loading configuration: local path must be specified");
}

#[test]
fn other_storage_is_checked_as_flipt_does_and_then_said_to_be_missing() {
    let git = ("STORAGE_TYPE", "git");
    let repository = ("STORAGE_GIT_REPOSITORY", "https://example.org/r.git");
    refused_value(&[git], "git repository must be specified");
    refused_value(&[git, ("STORAGE_GIT_REF", " ")], "git ref must be specified");
    refused_value(&[git, repository, ("STORAGE_GIT_REF_TYPE", "x")], "invalid git storage reference type");
    refused_value(
        &[git, repository, ("STORAGE_GIT_CA_CERT_BYTES", "x"), ("STORAGE_GIT_CA_CERT_PATH", "x")],
        "please provide only one of ca_cert_path or ca_cert_bytes",
    );
    refused_value(
        &[git, repository, ("STORAGE_GIT_AUTHENTICATION_BASIC_USERNAME", "u")],
        "both username and password need to be provided for basic auth",
    );
    refused_value(
        &[git, repository, ("STORAGE_GIT_AUTHENTICATION_SSH_PRIVATE_KEY_PATH", "k")],
        "ssh authentication: password required",
    );
    refused_value(
        &[git, repository, ("STORAGE_GIT_AUTHENTICATION_SSH_PASSWORD", "p")],
        "ssh authentication: please provide exclusively one of private_key_bytes or private_key_path",
    );
    let object = |kind| [("STORAGE_TYPE", "object"), ("STORAGE_OBJECT_TYPE", kind)];
    refused_value(&object("azblob"), "azblob container must be specified");
    refused_value(&object("googlecloud"), "googlecloud bucket must be specified");
    let oci = [("STORAGE_TYPE", "oci"), ("STORAGE_OCI_REPOSITORY", "flipt://other/b:1")];
    refused_value(&oci, "validating OCI configuration: unexpected local reference: \"other/b:1\"");
    let oci = [("STORAGE_TYPE", "oci"), ("STORAGE_OCI_REPOSITORY", "b:1")];
    refused_value(
        &[&oci[..], &[("STORAGE_OCI_MANIFEST_VERSION", "2")]].concat(),
        "wrong manifest version, it should be 1.0 or 1.1",
    );
    refused_value(
        &[&oci[..], &[("STORAGE_OCI_AUTHENTICATION_TYPE", "x")]].concat(),
        "oci authentication type is not supported",
    );
    for pairs in [&[git, repository][..], &oci] {
        let loaded = with(pairs).unwrap();
        assert!(notes(&loaded).contains("storage.type: ") && notes(&loaded).contains("not supported yet"));
    }
    // What is not selected is not checked.
    assert!(with(&[("STORAGE_GIT_REF_TYPE", "x"), ("STORAGE_OBJECT_TYPE", "ftp")]).is_ok());
}

#[test]
fn the_cache_is_read() {
    let on = ("CACHE_ENABLED", "true");
    let redis = ("CACHE_BACKEND", "redis");
    let loaded = with(&[on, ("CACHE_TTL", "90s"), redis]).unwrap();
    let cache = &loaded.config.cache;
    assert_eq!((cache.ttl, cache.backend), (Ttl::Limited(Duration::from_secs(90)), CacheBackend::Redis));
    assert_eq!((cache.redis.tls.as_ref(), cache.redis.prefix.as_str()), (None, ""));
    assert_eq!(notes(&loaded), "");
    for (text, ttl) in [("-1s", Ttl::Negative), ("0", Ttl::Zero), ("-0s", Ttl::Zero)] {
        assert_eq!(with(&[("CACHE_TTL", text)]).unwrap().config.cache.ttl, ttl, "{text}");
    }
    let loaded = with(&[
        on,
        redis,
        ("CACHE_REDIS_REQUIRE_TLS", "true"),
        ("CACHE_REDIS_CA_CERT_PATH", "/ca.pem"),
        ("CACHE_REDIS_DB", "3"),
        ("CACHE_REDIS_NET_TIMEOUT", "250ms"),
        ("CACHE_REDIS_POOL_SIZE", "7"),
    ])
    .unwrap();
    let redis_settings = &loaded.config.cache.redis;
    let file = CaCertificates::File("/ca.pem".into());
    assert_eq!(redis_settings.tls, Some(RedisTls::Verified(Some(file))));
    assert_eq!((redis_settings.database, redis_settings.net_timeout), (3, Duration::from_millis(250)));
    assert!(notes(&loaded).contains("cache.redis.pool_size has no effect"), "{}", notes(&loaded));
    let error = with(&[on, redis, ("CACHE_REDIS_DB", "-1")]).unwrap_err().to_string();
    assert!(error.contains("cache.redis.db"), "{error}");
    let certificates = [("CACHE_REDIS_CA_CERT_BYTES", "x"), ("CACHE_REDIS_CA_CERT_PATH", "x")];
    assert!(with(&certificates).is_ok());
    refused_value(
        &[&[on, redis][..], &certificates].concat(),
        "please provide exclusively one of ca_cert_bytes or ca_cert_path",
    );
    let error = with(&[on, ("CACHE_BACKEND", "disk")]).unwrap_err().to_string();
    assert!(error.contains("cache.backend") && error.contains("memory, redis"), "{error}");
}

#[test]
fn audit_sinks_need_what_they_write_to() {
    let loaded =
        with(&[("AUDIT_SINKS_LOG_ENABLED", "true"), ("AUDIT_EVENTS", "flag:* token:deleted")]).unwrap();
    let events = &loaded.config.audit.events;
    assert!(events.contains(&(Noun::Flag, Verb::Created)) && events.contains(&(Noun::Token, Verb::Deleted)));
    assert_eq!(events.len(), 4);
    assert!(notes(&loaded).contains("audit.sinks.log.enabled has no effect"));
    refused(
        &[("AUDIT_SINKS_LOG_ENABLED", "true"), ("AUDIT_EVENTS", "*:created flag:created")],
        "duplicate event pair: flag:created",
    );
    let kafka = [("AUDIT_SINKS_KAFKA_ENABLED", "true"), ("AUDIT_SINKS_KAFKA_TOPIC", "t")];
    refused_value(&kafka, "kafka bootstrap_servers not provided");
    let error = with_yaml(
        "audit: {sinks: {webhook: {enabled: true, url: 'http://a', templates: [{url: 'http://b'}]}}}\n",
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "loading configuration: only one of url or template(s) allowed"
    );
    for period in ["5m1s", "1m59s", "-3m"] {
        refused_value(
            &[("AUDIT_BUFFER_FLUSH_PERIOD", period)],
            "flush period below 2 minutes or greater than 5 minutes",
        );
    }
    refused_value(&[("AUDIT_BUFFER_CAPACITY", "-1")], "buffer capacity below 2 or above 10");
}

#[test]
fn of_two_kinds_of_analytics_clickhouse_wins() {
    let both = [
        ("ANALYTICS_STORAGE_CLICKHOUSE_ENABLED", "true"),
        ("ANALYTICS_STORAGE_CLICKHOUSE_URL", "clickhouse://u:s3cret@h/db"),
        ("ANALYTICS_STORAGE_PROMETHEUS_ENABLED", "true"),
    ];
    let loaded = with(&both).unwrap();
    assert!(matches!(loaded.config.analytics.storage, Some(AnalyticsStorage::ClickHouse { .. })));
    assert!(!format!("{:?}{}", loaded.config, to_yaml(&loaded.effective)).contains("s3cret"));
}

#[test]
fn tracing_and_metrics_know_their_exporters() {
    let on = ("TRACING_ENABLED", "true");
    let loaded = with(&[
        on,
        ("TRACING_EXPORTER", "otlp"),
        ("TRACING_OTLP_HEADERS_X_API_KEY", "s3cret"),
        ("TRACING_PROPAGATORS", "b3 none"),
    ])
    .unwrap();
    let tracing = &loaded.config.tracing;
    assert_eq!(tracing.propagators, [Propagator::B3, Propagator::None]);
    let Some(TracingExporter::Otlp(otlp)) = &tracing.exporter else { panic!("{tracing:?}") };
    assert_eq!(otlp.headers.expose().get("x_api_key").map(String::as_str), Some("s3cret"));
    assert!(!format!("{:?}{}", loaded.config, to_yaml(&loaded.effective)).contains("s3cret"));
    assert!(notes(&loaded).contains("tracing.enabled has no effect"));

    assert!(!notes(&with(&[on]).unwrap()).contains("deprecated"));
    let explicit = with(&[on, ("TRACING_EXPORTER", "jaeger")]).unwrap();
    assert!(notes(&explicit).contains("\"tracing.exporter.jaeger\" is deprecated"));
    assert!(with(&[("TRACING_EXPORTER", "paper")]).is_ok());

    let loaded = with(&[("METRICS_EXPORTER", "otlp")]).unwrap();
    assert!(matches!(loaded.config.metrics.exporter, MetricsExporter::Otlp(_)));
    assert!(notes(&loaded).contains("metrics.exporter has no effect"));
    assert!(with(&[("METRICS_ENABLED", "false"), ("METRICS_EXPORTER", "paper")]).is_ok());
}

#[test]
fn keys_that_flipt_dropped_are_no_errors_and_no_surprises() {
    let loaded = with_yaml(
        "cache: {memory: {enabled: true, expiration: 1m, items: 5}}\ntracing: {jaeger: {enabled: true}}\n\
         audit: {sinks: {cloud: {enabled: true}}}\nanalytics: {anything: 1}\n",
    )
    .unwrap();
    assert!(loaded.unknown.is_empty(), "{:?}", loaded.unknown);
}
