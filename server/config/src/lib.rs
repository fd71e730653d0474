//! The server's configuration: a file, environment variables over it, defaults under it (config spec,
//! section 1), read once into one typed struct per section.
//!
//! A wrong value is an error that names the key, its place and what is allowed. A key nobody knows is a
//! warning with its place and the nearest known key; Flipt ignores it silently.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod analytics;
mod audit;
mod authentication;
mod authorization;
mod bundle_reference;
mod bundles;
mod cache;
mod cors;
mod database;
mod document;
mod duration;
mod environments;
mod file;
mod kubernetes;
mod later;
mod locate;
mod metrics;
mod nearest;
mod reader;
mod sections;
mod storage;
mod tracing;
mod value;

use std::{collections::BTreeMap, path::Path};

pub use analytics::{Analytics, AnalyticsStorage};
pub use audit::{
    Audit, AuditEncoding, Event, EventSelector, Kafka, KafkaEncoding, LogSink, Noun, Verb, Webhook,
};
pub use authentication::{Authentication, Bootstrap, Cleanup, Exclude, Session, Token};
pub use bundle_reference::{BundleReference, BundleReferenceError};
pub use bundles::Bundles;
pub use cache::{CaCertificates, Cache, CacheBackend, Redis, RedisMode, RedisTls, Ttl};
pub use cors::Cors;
pub use database::Database;
pub use duration::parse as parse_duration;
pub use environments::Environments;
pub use file::FileError;
pub use kubernetes::{AccountMode, KeySource, Kubernetes};
pub use locate::{locate, state_directory, user_config_directory};
pub use metrics::{Metrics, MetricsExporter, Otlp, SecretHeaders};
pub use reader::{Effective, InvalidValue, Origin, Secret, Shown, UnknownKey, Wording};
pub use sections::{Diagnostics, Log, Meta, Protocol, Server, Snapshots, Ui};
pub use storage::{Local, Storage, StorageType};
pub use tracing::{Propagator, Tracing, TracingExporter};

use reader::Reader;

/// Everything the server is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Log output.
    pub log: Log,
    /// Listeners.
    pub server: Server,
    /// Pages of other origins.
    pub cors: Cors,
    /// The database.
    pub database: Database,
    /// Where flag state lives.
    pub storage: Storage,
    /// Who may call.
    pub authentication: Authentication,
    /// Caching of reads.
    pub cache: Cache,
    /// Audit events.
    pub audit: Audit,
    /// Counts of evaluations over time.
    pub analytics: Analytics,
    /// Traces.
    pub tracing: Tracing,
    /// Metrics.
    pub metrics: Metrics,
    /// Which environments there are.
    pub environments: Environments,
    /// Bundles on this machine.
    pub bundles: Bundles,
    /// Publication of snapshots.
    pub snapshots: Snapshots,
    /// State directory.
    pub meta: Meta,
    /// Profiling.
    pub diagnostics: Diagnostics,
    /// The web user interface.
    pub ui: Ui,
}

/// A configuration with what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Keys nobody knows, in the file or the environment.
    pub unknown: Vec<UnknownKey>,
    /// What works otherwise than somebody may expect, as sentences.
    pub notes: Vec<String>,
    /// The configuration as callers may see it, without secrets (api spec, section 11.4).
    pub document: serde_json::Value,
    /// Every key with its value and where that comes from, in the order of the documentation.
    pub effective: Vec<Effective>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Indicates that the file cannot be read.
    #[error("loading configuration: {0}")]
    File(#[from] FileError),
    /// Indicates values that do not fit; all of them are listed.
    #[error("{}", list(.0))]
    Values(Vec<InvalidValue>),
}

fn list(values: &[InvalidValue]) -> String {
    let of = |wanted: fn(Wording) -> bool, separator: &str| {
        let chosen = values.iter().filter(|value| wanted(value.wording)).map(ToString::to_string);
        chosen.collect::<Vec<_>>().join(separator)
    };
    let undecodable = of(|wording| wording == Wording::Undecodable, "\n");
    let others = of(|wording| !matches!(wording, Wording::Undecodable | Wording::Bare), "\n  ");
    match (undecodable.as_str(), others.as_str()) {
        ("", "") => of(|wording| wording == Wording::Bare, "\n"),
        ("", _) => format!("loading configuration: {others}"),
        // The whole text is known to scripts as long as nothing but types is wrong.
        _ => {
            let separator = if others.is_empty() { "" } else { "\n" };
            format!(
                "loading configuration: decoding failed due to the following error(s):\n\n{undecodable}{separator}{others}"
            )
        }
    }
}

/// Loads the configuration from this file (or none) and these environment variables.
///
/// # Errors
/// [`ConfigError`].
pub fn load(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
    let tree = path.map(|path| file::read(path, environment)).transpose()?.flatten();
    let mut reader = Reader::new(path, tree, environment);
    let (log, server) = (Log::read(&mut reader), Server::read(&mut reader));
    let database = Database::read(&mut reader);
    // One section in the file.
    let bundles = Bundles::read(&mut reader);
    let storage = Storage::read(&mut reader, &bundles);
    let config = Config {
        log,
        server,
        cors: Cors::read(&mut reader),
        database,
        storage,
        authentication: Authentication::read(&mut reader),
        cache: Cache::read(&mut reader),
        audit: Audit::read(&mut reader),
        analytics: Analytics::read(&mut reader),
        tracing: Tracing::read(&mut reader),
        metrics: Metrics::read(&mut reader),
        environments: Environments::read(&mut reader),
        bundles,
        snapshots: Snapshots::read(&mut reader),
        meta: Meta::read(&mut reader),
        diagnostics: Diagnostics::read(&mut reader),
        ui: Ui::read(&mut reader),
    };
    authorization::read(&mut reader, config.authentication.required);
    sections::read_top_level(&mut reader);
    let later = later::read(&mut reader);
    reader.finish().map_err(ConfigError::Values).map(|finished| Loaded {
        document: document::of(&[finished.effective.as_slice(), &finished.hidden, &later].concat()),
        config,
        unknown: finished.unknown,
        notes: finished.notes,
        effective: finished.effective,
    })
}

/// The effective configuration as YAML; secrets are masked.
#[must_use]
pub fn to_yaml(effective: &[Effective]) -> String {
    reader::to_yaml(effective)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn load_yaml(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        load_text("yml", text, pairs)
    }

    fn load_text(extension: &str, text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let mut file = tempfile::Builder::new().suffix(&format!(".{extension}")).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path()), &environment(pairs))
    }

    #[test]
    fn defaults_are_flipts() {
        let config = load(None, &BTreeMap::new()).unwrap().config;
        assert_eq!((config.server.http_port, config.server.grpc_port), (8080, 9000));
        assert_eq!(config.server.host, "0.0.0.0");
        assert_eq!(config.storage.kind, StorageType::Database);
        assert!(!config.storage.read_only);
        assert!(config.database.url.ends_with("flipt.db"));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let loaded = load_yaml(
            "server:\n  http_port: 1111\n  grpc_port: 2222\n",
            &[("FLIPT_SERVER_HTTP_PORT", "3333")],
        )
        .unwrap();
        assert_eq!((loaded.config.server.http_port, loaded.config.server.grpc_port), (3333, 2222));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let loaded = load_yaml("server:\n  http_port: 1111\n", &[("FLIPT_SERVER_HTTP_PORT", "")]).unwrap();
        assert_eq!(loaded.config.server.http_port, 1111);
    }

    #[test]
    fn keys_may_be_in_any_case_and_numbers_may_be_quoted() {
        let loaded = load_yaml("Server:\n  HTTP_Port: \"8081\"\n", &[]).unwrap();
        assert_eq!(loaded.config.server.http_port, 8081);
        assert!(loaded.unknown.is_empty(), "{:?}", loaded.unknown);
    }

    #[test]
    fn a_whole_value_may_be_a_variable() {
        let loaded =
            load_yaml("server:\n  http_port: ${PORT}\n  host: a${PORT}\n", &[("PORT", "77")]).unwrap();
        assert_eq!(loaded.config.server.http_port, 77);
        assert_eq!(loaded.config.server.host, "a${PORT}");
    }

    #[test]
    fn json_and_toml_are_read_like_yaml() {
        for (extension, text) in
            [("json", r#"{"server":{"http_port":1234}}"#), ("toml", "[server]\nhttp_port = 1234\n")]
        {
            let loaded = load_text(extension, text, &[]).unwrap();
            assert_eq!(loaded.config.server.http_port, 1234, "{extension}");
        }
    }

    #[test]
    fn wrong_values_are_all_named_with_place_and_remedy() {
        let error = load_yaml(
            "server:\n  protocol: htp\n  http_port: eighty\n",
            &[("FLIPT_SNAPSHOTS_PUBLISH_DEBOUNCE", "soon")],
        )
        .unwrap_err()
        .to_string();
        for part in [
            "server.protocol",
            ":2:13",
            "http, https",
            "server.http_port",
            ":3:14",
            "0 to 65535",
            "FLIPT_SNAPSHOTS_PUBLISH_DEBOUNCE",
            "soon",
        ] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_place_and_the_nearest_known_one() {
        let loaded = load_yaml("server:\n  http_prot: 1\nlogg:\n  level: info\n", &[]).unwrap();
        let texts: Vec<String> = loaded.unknown.iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("server.http_prot") && texts[0].contains(":2:3"), "{texts:?}");
        assert!(texts[0].contains("server.http_port"), "{texts:?}");
        assert!(texts[1].contains("logg") && texts[1].contains("log"), "{texts:?}");
    }

    #[test]
    fn an_unknown_variable_below_a_section_is_reported() {
        let loaded =
            load(None, &environment(&[("FLIPT_SERVER_HTTP_PROT", "1"), ("FLIPT_TOKEN_FILE", "/somewhere")]))
                .unwrap();
        assert_eq!(loaded.unknown.len(), 1, "{:?}", loaded.unknown);
        assert!(loaded.unknown[0].to_string().contains("FLIPT_SERVER_HTTP_PORT"), "{}", loaded.unknown[0]);
    }

    #[test]
    fn broken_yaml_is_refused_with_line_and_column() {
        let error = load_yaml("server:\n  host: [a\n", &[]).unwrap_err().to_string();
        assert!(error.contains("While parsing config") && error.contains("line"), "{error}");
    }

    #[test]
    fn a_section_of_the_wrong_shape_is_named() {
        let error = load_yaml("server: 5\n", &[]).unwrap_err().to_string();
        assert!(error.contains("server") && error.contains("map"), "{error}");
    }

    #[test]
    fn wrong_values_get_the_texts_that_scripts_know() {
        let told = |yaml: &str| load_yaml(yaml, &[]).unwrap_err().to_string();
        let decoding = "loading configuration: decoding failed due to the following error(s):\n\n";
        let text = told("server:\n  http_port: eighty\n");
        assert!(
            text.starts_with(&format!("{decoding}'server.http_port' cannot parse value as 'int': ")),
            "{text}"
        );
        let text = told("cors: 5\n");
        assert!(
            text.starts_with(&format!("{decoding}'cors' expected a map or struct, got \"int\"")),
            "{text}"
        );
        assert_eq!(told("version: \"9\"\n"), "loading configuration: invalid version: 9");
        assert_eq!(told("storage:\n  type: cloud\n"), "unexpected storage type: \"cloud\"");
        assert!(told("log:\n  grpc_level: LOUD\n").starts_with("parsing grpc log level (\"LOUD\"): "));
        assert_eq!(
            told("ui:\n  topbar:\n    color: red\n"),
            "loading configuration: expected valid hex color, got red"
        );
        assert_eq!(
            told("server:\n  protocol: https\n"),
            "loading configuration: field \"server.cert_file\": non-empty value is required"
        );
    }

    #[test]
    fn what_cannot_be_checked_yet_is_refused_rather_than_ignored() {
        for (yaml, key) in [
            (
                "session: {domain: x}\n  methods: {github: {enabled: true, client_id: a, client_secret: b, redirect_address: c}}",
                "authentication.methods.github.enabled",
            ),
            (
                "methods: {jwt: {enabled: true, jwks_url: 'https://keys'}}",
                "authentication.methods.jwt.enabled",
            ),
        ] {
            let error = load_yaml(&format!("authentication:\n  {yaml}\n"), &[]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("not supported yet"), "{error}");
        }
        let yaml = "authentication: {required: true}\nauthorization: {required: true, local: {policy: {path: p.rego}}}\n";
        let error = load_yaml(yaml, &[]).unwrap_err().to_string();
        assert!(error.contains("authorization.required") && error.contains("not supported yet"), "{error}");
    }

    #[test]
    fn the_token_method_is_read_from_file_and_environment() {
        let yaml = "authentication:\n  required: true\n  exclude: {ofrep: true}\n  methods:\n    token: {enabled: true, cleanup: {interval: 2h}, bootstrap: {token: s3cret, expiration: 24h, metadata: {Origin: file}}}\n";
        let loaded = load_yaml(
            yaml,
            &[
                ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_METADATA_IS_BOOTSTRAP", "true"),
                ("FLIPT_AUTHENTICATION_SESSION_CSRF_TRUSTED_ORIGINS", "http://a http://b"),
            ],
        )
        .unwrap();
        let authentication = &loaded.config.authentication;
        let token = authentication.token.clone().unwrap();
        assert!(authentication.required && authentication.exclude.ofrep);
        assert_eq!(token.cleanup.interval, std::time::Duration::from_secs(7_200));
        assert_eq!(token.cleanup.grace_period, std::time::Duration::from_secs(1_800));
        assert_eq!(token.bootstrap.token.as_ref().unwrap().expose(), "s3cret");
        let metadata: Vec<_> =
            token.bootstrap.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(metadata, [("is_bootstrap", "true"), ("origin", "file")]);
        assert_eq!(authentication.session.trusted_origins, ["http://a", "http://b"]);
        assert!(loaded.unknown.is_empty(), "{:?}", loaded.unknown);
        assert!(!format!("{:?} {}", loaded.config, to_yaml(&loaded.effective)).contains("s3cret"));
    }

    #[test]
    fn authentication_and_authorization_are_refused_in_the_texts_that_scripts_know() {
        let told = |pairs: &[(&str, &str)]| {
            load(None, &environment(pairs)).unwrap_err().to_string().replace("loading configuration: ", "")
        };
        for (pairs, text) in [
            (
                &[("FLIPT_AUTHENTICATION_METHODS_TOKEN_CLEANUP_GRACE_PERIOD", "-1s")][..],
                "field \"authentication.methodtoken.cleanup.grace_period\": positive non-zero duration required",
            ),
            (
                &[
                    ("FLIPT_AUTHENTICATION_METHODS_OIDC_ENABLED", "true"),
                    ("FLIPT_AUTHENTICATION_SESSION_DOMAIN", "http://x:1"),
                    ("FLIPT_AUTHENTICATION_METHODS_OIDC_PROVIDERS_MY_IDP_CLIENT_ID", "i"),
                ][..],
                "provider \"my_idp\": field \"client_secret\": non-empty value is required",
            ),
            (
                &[
                    ("FLIPT_AUTHENTICATION_METHODS_JWT_ENABLED", "true"),
                    ("FLIPT_AUTHENTICATION_METHODS_JWT_JWKS_URL", "https://x"),
                    ("FLIPT_AUTHENTICATION_METHODS_JWT_PUBLIC_KEY_FILE", "x"),
                ][..],
                "only one of jwks_url or public_key_file can be set",
            ),
            (
                &[
                    ("FLIPT_AUTHENTICATION_REQUIRED", "true"),
                    ("FLIPT_AUTHORIZATION_REQUIRED", "true"),
                    ("FLIPT_AUTHORIZATION_BACKEND", "bundle"),
                ][..],
                "authorization: bundle: configuration must be non-empty string",
            ),
        ] {
            assert_eq!(told(pairs), text);
        }
    }

    #[test]
    fn passwords_in_the_database_url_are_masked_in_the_effective_configuration() {
        let loaded = load_yaml("db:\n  url: postgres://user:s3cret@host/flipt\n", &[]).unwrap();
        let yaml = to_yaml(&loaded.effective);
        assert!(!yaml.contains("s3cret"), "{yaml}");
        assert!(yaml.contains("http_port: 8080"), "{yaml}");
    }

    #[test]
    fn a_list_may_be_a_list_or_a_text_with_white_space() {
        let origins = |text: &str, pairs: &[(&str, &str)]| {
            let loaded = load_yaml(text, pairs).unwrap();
            assert!(loaded.unknown.is_empty(), "{:?}", loaded.unknown);
            loaded.config.cors.allowed_origins
        };
        let both = ["http://a.example", "http://b.example"];
        assert_eq!(origins("cors:\n  allowed_origins: [http://a.example, http://b.example]\n", &[]), both);
        assert_eq!(origins("cors:\n  allowed_origins: http://a.example http://b.example\n", &[]), both);
        let variable = [("FLIPT_CORS_ALLOWED_ORIGINS", "http://a.example http://b.example")];
        assert_eq!(origins("cors:\n  allowed_origins: http://c.example\n", &variable), both);
        assert_eq!(origins("cors:\n  enabled: true\n", &[]), ["*"]);
        let error = load_yaml("cors:\n  allowed_headers: {a: b}\n", &[]).unwrap_err().to_string();
        assert!(error.contains("cors.allowed_headers") && error.contains(":2:"), "{error}");
    }

    #[test]
    fn an_origin_that_matches_no_page_is_pointed_out() {
        let loaded = load_yaml("cors:\n  allowed_origins: [\"https://a.example/\"]\n", &[]).unwrap();
        assert!(loaded.notes.iter().any(|note| note.contains("https://a.example/")), "{:?}", loaded.notes);
    }

    #[test]
    fn the_effective_configuration_is_a_configuration() {
        let yaml = to_yaml(&load(None, &BTreeMap::new()).unwrap().effective);
        let again = load_yaml(&yaml, &[]).unwrap();
        assert!(again.unknown.is_empty(), "{:?}", again.unknown);
        assert_eq!(again.config, load(None, &BTreeMap::new()).unwrap().config);
    }
}
