//! Everything the sidecar is told: flags or environment variables, read once into types.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use clap::Parser;
use flipt_identity::{AllowEntry, Mode, Pattern, Permission, VerifierConfig};
use flipt_snapshots::{Location, Selection, VerifyKeys};
use flipt_telemetry::{Encoding, Keys, Level, LogOptions, Output};

/// Follows a published snapshot of flags and evaluates them on localhost: over HTTP on Flipt's own paths, over
/// gRPC, and over OFREP. Every flag can be given as the environment variable named beside it.
#[derive(Debug, Parser)]
#[command(name = "flipt-sidecar", version)]
pub(crate) struct Arguments {
    /// Where the snapshot is: s3://bucket/prefix[?region=…&endpoint=…&pathStyle=true], a running server as
    /// https://host:port, or file:///folder. May be repeated: the first source is followed, the others are asked only
    /// at a start while the first does not answer and there is nothing in the cache. A single document,
    /// file:///seed/features.yaml, is for the end of that list. Several in the variable are separated by spaces.
    #[arg(long, env = "FLIPT_SIDECAR_SOURCE", value_delimiter = ' ', required = true, value_name = "URL")]
    source: Vec<Location>,

    /// File with the bearer token for servers among the sources; read at every request.
    #[arg(long, env = "FLIPT_SIDECAR_SOURCE_TOKEN_FILE", value_name = "FILE")]
    source_token_file: Option<PathBuf>,

    /// File with the certificates (PEM) to trust for servers among the sources, instead of those of the machine.
    #[arg(long, env = "FLIPT_SIDECAR_SOURCE_CA_FILE", value_name = "FILE")]
    source_ca_file: Option<PathBuf>,

    /// Namespaces of flags to keep in memory, comma-separated; `*` stands for any text. The others are unknown here.
    #[arg(long, env = "FLIPT_SIDECAR_NAMESPACES", default_value = "*", value_name = "PATTERNS")]
    namespaces: Selection,

    /// File with the Ed25519 keys (PEM, public) that snapshots must be signed with. A signed snapshot is trusted when
    /// it comes from another database; an unsigned one is not loaded.
    #[arg(long, env = "FLIPT_SIDECAR_VERIFY_KEYS", value_name = "FILE")]
    verify_keys: Option<PathBuf>,

    /// Environment to follow.
    #[arg(long, env = "FLIPT_SIDECAR_ENVIRONMENT", default_value = flipt_model::DEFAULT_ENVIRONMENT, value_name = "KEY")]
    environment: String,

    /// Pause between two looks at the source, ±20 %; at least 1s.
    #[arg(long, env = "FLIPT_SIDECAR_POLL_INTERVAL", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    poll_interval: Duration,

    /// Folder for the last known good snapshot, which survives a restart without the source.
    #[arg(long, env = "FLIPT_SIDECAR_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Accept unsigned snapshots of another database than the one followed so far.
    #[arg(long, env = "FLIPT_SIDECAR_TRUST_EPOCH_CHANGE")]
    trust_epoch_change: bool,

    /// Addresses for evaluation over HTTP and OFREP, comma-separated.
    #[arg(
        long,
        env = "FLIPT_SIDECAR_LISTEN",
        default_value = "127.0.0.1:18080,[::1]:18080",
        value_delimiter = ',',
        value_name = "ADDR"
    )]
    listen: Vec<SocketAddr>,

    /// Addresses for evaluation over gRPC, comma-separated.
    #[arg(
        long,
        env = "FLIPT_SIDECAR_GRPC_LISTEN",
        default_value = "127.0.0.1:19000,[::1]:19000",
        value_delimiter = ',',
        value_name = "ADDR"
    )]
    grpc_listen: Vec<SocketAddr>,

    /// Address for probes and metrics, and nothing else.
    #[arg(long, env = "FLIPT_SIDECAR_HEALTH_LISTEN", default_value = "0.0.0.0:18081", value_name = "ADDR")]
    health_listen: SocketAddr,

    /// What happens without a snapshot: `block` keeps the startup probe failing, `open-after=30s` lets it pass
    /// after that time; evaluations then answer 503 until there is one.
    #[arg(long, env = "FLIPT_SIDECAR_START_POLICY", default_value = "open-after=30s", value_name = "POLICY")]
    start_policy: StartPolicy,

    /// Age of the snapshot beyond which it is reported as stale, in the log, /status and a metric; it is served all the
    /// same. 0s: never.
    #[arg(long, env = "FLIPT_SIDECAR_STALE_AFTER", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    stale_after: Duration,

    /// Age of the snapshot beyond which the sidecar is not ready; 0s: age never counts, only its metric grows.
    #[arg(long, env = "FLIPT_SIDECAR_MAX_STALE", default_value = "0s", value_parser = duration, value_name = "DURATION")]
    max_stale: Duration,

    /// Who may evaluate: same-pod, same-service-account, same-namespace, allowlist, cluster, or none to let
    /// everybody in who can reach the address.
    #[arg(long, env = "FLIPT_SIDECAR_AUTH_MODE", default_value = "same-pod", value_name = "MODE")]
    auth_mode: AuthMode,

    /// File with the cluster's token keys (JWKS).
    #[arg(
        long,
        env = "FLIPT_SIDECAR_AUTH_JWKS_FILE",
        default_value = "/etc/flipt/trust/jwks.json",
        value_name = "FILE"
    )]
    auth_jwks_file: PathBuf,

    /// Accepted issuer of tokens, exactly as in their claim `iss`; may be repeated. Without any, the file
    /// `issuer` beside the key file is read whenever the keys are; it may appear later.
    #[arg(long, env = "FLIPT_SIDECAR_AUTH_ISSUER", value_delimiter = ',', value_name = "URL")]
    auth_issuer: Vec<String>,

    /// Accepted audience of tokens; may be repeated.
    #[arg(
        long,
        env = "FLIPT_SIDECAR_AUTH_AUDIENCE",
        default_value = "flipt",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    auth_audience: Vec<String>,

    /// Accept tokens for the API server itself, which unmodified SDKs send. Default: in mode same-pod, where
    /// the token never leaves the pod.
    #[arg(long, env = "FLIPT_SIDECAR_AUTH_ACCEPT_API_AUDIENCE", value_name = "BOOL")]
    auth_accept_api_audience: Option<bool>,

    /// Service account to allow: namespace/name[=flipt-namespace|flipt-namespace…]; `*` matches any text; may
    /// be repeated. Without flipt namespaces: all.
    #[arg(long, env = "FLIPT_SIDECAR_AUTH_ALLOW", value_delimiter = ',', value_name = "ENTRY")]
    auth_allow: Vec<Allow>,

    /// How long after their end tokens still pass, for clusters whose API server may be away for longer than
    /// tokens live: at most 1h. Clocks that differ are allowed for without it.
    #[arg(long, env = "FLIPT_SIDECAR_AUTH_GRACE", default_value = "0s", value_parser = duration, value_name = "DURATION")]
    auth_grace: Duration,

    /// Uid of the own pod, for mode same-pod, and to spread the polls of many pods.
    #[arg(long, env = "FLIPT_SIDECAR_POD_UID", value_name = "UID")]
    pod_uid: Option<String>,

    /// Namespace of the own pod, for modes same-namespace and same-service-account.
    #[arg(long, env = "FLIPT_SIDECAR_POD_NAMESPACE", value_name = "NAME")]
    pod_namespace: Option<String>,

    /// Service account of the own pod, for mode same-service-account.
    #[arg(long, env = "FLIPT_SIDECAR_POD_SERVICE_ACCOUNT", value_name = "NAME")]
    pod_service_account: Option<String>,

    /// Least severe level that is logged: debug, info, warn or error.
    #[arg(long, env = "FLIPT_SIDECAR_LOG_LEVEL", default_value = "info", value_parser = level, value_name = "LEVEL")]
    log_level: Level,

    /// How log records are written: json or console.
    #[arg(long, env = "FLIPT_SIDECAR_LOG_ENCODING", default_value = "json", value_parser = encoding, value_name = "FORM")]
    log_encoding: Encoding,
}

/// When the startup probe passes without a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartPolicy {
    /// Never.
    Block,
    /// After this time.
    OpenAfter(Duration),
}

impl FromStr for StartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "block" => Ok(Self::Block),
            Some(("open-after", time)) => duration(time).map(Self::OpenAfter),
            _ => Err("expected block or open-after=DURATION, for example open-after=30s".to_owned()),
        }
    }
}

/// Who may evaluate, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AuthMode {
    None,
    SamePod,
    SameServiceAccount,
    SameNamespace,
    Allowlist,
    Cluster,
}

impl FromStr for AuthMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "none" => Self::None,
            "same-pod" => Self::SamePod,
            "same-service-account" => Self::SameServiceAccount,
            "same-namespace" => Self::SameNamespace,
            "allowlist" => Self::Allowlist,
            "cluster" => Self::Cluster,
            _ => {
                return Err("expected one of same-pod, same-service-account, same-namespace, allowlist, \
                            cluster, none"
                    .to_owned());
            }
        })
    }
}

/// An entry of the allow-list, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allow(AllowEntry);

impl FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (account, namespaces) = text.split_once('=').unwrap_or((text, "*"));
        let (namespace, name) = account
            .split_once('/')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
            .ok_or(
                "expected namespace/service-account[=flipt-namespace|…], for example shop/checkout=shop",
            )?;
        Ok(Self(AllowEntry {
            namespace: Pattern::new(namespace),
            service_account: Pattern::new(name),
            flipt_namespaces: namespaces.split('|').map(Pattern::new).collect(),
            permission: Permission::Evaluate,
        }))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as 500ms, 15s, 5m or 1h";
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(expected)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| expected)?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(expected.to_owned()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| expected.to_owned())
}

fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|()| "expected one of debug, info, warn, error".to_owned())
}

fn encoding(text: &str) -> Result<Encoding, String> {
    match text {
        "json" => Ok(Encoding::Json),
        "console" => Ok(Encoding::Console),
        _ => Err("expected json or console".to_owned()),
    }
}

/// What the parts of the sidecar are built from.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) log: LogOptions,
    pub(crate) follow: Follow,
    pub(crate) listeners: Listeners,
    pub(crate) start_policy: StartPolicy,
    pub(crate) ages: Ages,
    /// How callers are verified; `None`: not at all.
    pub(crate) auth: Option<Auth>,
}

/// Ages of the snapshot that mean something; `None`: none does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ages {
    /// Beyond it, the snapshot is reported as stale.
    pub(crate) stale: Option<Duration>,
    /// Beyond it, the sidecar is not ready.
    pub(crate) not_ready: Option<Duration>,
}

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    /// The source that is followed.
    pub(crate) source: Location,
    /// Where else to look while it does not answer and nothing is loaded, best first.
    pub(crate) fallbacks: Vec<Location>,
    pub(crate) namespaces: Selection,
    /// The keys that snapshots must be signed with; `None`: they need not be.
    pub(crate) verify: Option<Arc<VerifyKeys>>,
    pub(crate) environment: String,
    pub(crate) poll_interval: Duration,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) trust_epoch_change: bool,
    /// What makes this sidecar different from others, to spread polls.
    pub(crate) identity: String,
}

/// Where the sidecar listens.
#[derive(Debug, Clone)]
pub(crate) struct Listeners {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) grpc: Vec<SocketAddr>,
    pub(crate) health: SocketAddr,
}

/// How callers are verified.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    pub(crate) jwks_file: PathBuf,
    pub(crate) verifier: VerifierConfig,
}

/// Settings that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub(crate) struct ConfigError {
    setting: &'static str,
    problem: String,
}

fn wrong(setting: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError { setting, problem: problem.into() }
}

impl Config {
    /// Checks what the grammar cannot, and gives every part its settings.
    ///
    /// # Errors
    /// [`ConfigError`] that names the setting and the remedy.
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Self, ConfigError> {
        if arguments.poll_interval < Duration::from_secs(1) {
            return Err(wrong("--poll-interval", "must be at least 1s"));
        }
        let mut sources = sources(arguments);
        let source = sources.next().ok_or_else(|| wrong("--source", "at least one is needed"))?;
        let fallbacks = sources.collect();
        Ok(Self {
            log: LogOptions {
                level: arguments.log_level,
                encoding: arguments.log_encoding,
                output: Output::Stdout,
                keys: Keys::default(),
            },
            follow: Follow {
                source,
                fallbacks,
                namespaces: arguments.namespaces.clone(),
                verify: verify_keys(arguments)?,
                environment: arguments.environment.clone(),
                poll_interval: arguments.poll_interval,
                cache_dir: arguments.cache_dir.clone(),
                trust_epoch_change: arguments.trust_epoch_change,
                identity: arguments.pod_uid.clone().unwrap_or_else(|| std::process::id().to_string()),
            },
            listeners: Listeners {
                http: arguments.listen.clone(),
                grpc: arguments.grpc_listen.clone(),
                health: arguments.health_listen,
            },
            start_policy: arguments.start_policy,
            ages: Ages {
                stale: (!arguments.stale_after.is_zero()).then_some(arguments.stale_after),
                not_ready: (!arguments.max_stale.is_zero()).then_some(arguments.max_stale),
            },
            auth: auth(arguments)?,
        })
    }
}

/// The sources, each with what it needs to be read.
fn sources(arguments: &Arguments) -> impl Iterator<Item = Location> {
    let with_files = |source: &Location| {
        let (token, ca) = (arguments.source_token_file.clone(), arguments.source_ca_file.clone());
        source.clone().with_server_files(token, ca)
    };
    arguments.source.iter().map(with_files)
}

fn verify_keys(arguments: &Arguments) -> Result<Option<Arc<VerifyKeys>>, ConfigError> {
    let Some(path) = &arguments.verify_keys else { return Ok(None) };
    let keys = VerifyKeys::from_file(path).map_err(|error| wrong("--verify-keys", error.to_string()))?;
    Ok(Some(Arc::new(keys)))
}

fn auth(arguments: &Arguments) -> Result<Option<Auth>, ConfigError> {
    let given = |value: &Option<String>, setting: &'static str| {
        value
            .clone()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| wrong(setting, "is needed in this --auth-mode"))
    };
    let mode = match arguments.auth_mode {
        AuthMode::None => return Ok(None),
        AuthMode::SamePod => Mode::SamePod { pod_uid: given(&arguments.pod_uid, "--pod-uid")? },
        AuthMode::SameServiceAccount => Mode::SameServiceAccount {
            namespace: given(&arguments.pod_namespace, "--pod-namespace")?,
            name: given(&arguments.pod_service_account, "--pod-service-account")?,
        },
        AuthMode::SameNamespace => {
            Mode::SameNamespace { namespace: given(&arguments.pod_namespace, "--pod-namespace")? }
        }
        AuthMode::Allowlist if arguments.auth_allow.is_empty() => {
            return Err(wrong(
                "--auth-allow",
                "at least one entry is needed in mode allowlist; `*/*` lets all in",
            ));
        }
        AuthMode::Allowlist => Mode::Allowlist,
        AuthMode::Cluster => Mode::Cluster,
    };
    if arguments.auth_grace > VerifierConfig::LONGEST_GRACE {
        return Err(wrong("--auth-grace", "must be at most 1h"));
    }
    let accept_api_audience =
        arguments.auth_accept_api_audience.unwrap_or(arguments.auth_mode == AuthMode::SamePod);
    let defaults = VerifierConfig::new("", mode);
    let verifier = VerifierConfig {
        issuers: arguments.auth_issuer.clone(),
        grace: arguments.auth_grace,
        audiences: arguments.auth_audience.clone(),
        accept_api_audience,
        allow: arguments.auth_allow.iter().map(|allow| allow.0.clone()).collect(),
        ..defaults
    };
    Ok(Some(Auth { jwks_file: arguments.auth_jwks_file.clone(), verifier }))
}

fn names(locations: &[Location]) -> String {
    locations.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Names the settings that differ from their defaults would be long; this is what a person looks for first.
pub(crate) fn summary(config: &Config) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("source", config.follow.source.to_string()),
        ("fallbacks", names(&config.follow.fallbacks)),
        ("namespaces", config.follow.namespaces.to_string()),
        ("signatures", if config.follow.verify.is_some() { "required" } else { "not asked for" }.to_owned()),
        ("environment", config.follow.environment.clone()),
        ("auth", config.auth.as_ref().map_or("none".to_owned(), |auth| format!("{:?}", auth.verifier.mode))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let arguments = ["flipt-sidecar", "--source", "file:///tmp/x"].iter().chain(arguments);
        let parsed = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        Config::from_arguments(&parsed).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_mode_needs_to_know_its_own_pod() {
        assert!(config(&[]).unwrap_err().contains("--pod-uid"));
        let config = config(&["--pod-uid", "u", "--auth-issuer", "https://issuer"]).unwrap();
        let auth = config.auth.unwrap();
        assert_eq!(auth.verifier.mode, Mode::SamePod { pod_uid: "u".into() });
        assert!(auth.verifier.accept_api_audience);
        assert_eq!(auth.verifier.audiences, ["flipt"]);
    }

    #[test]
    fn the_first_source_is_followed_and_the_others_are_fallbacks() {
        let files = ["--source-token-file", "/token"];
        let others = ["--source", "https://flipt:8443 file:///seed.yaml", "--auth-mode", "none"];
        let follow = config(&[&others[..], &files[..]].concat()).unwrap().follow;
        assert_eq!(follow.source.to_string(), "file:///tmp/x");
        assert_eq!(names(&follow.fallbacks), "https://flipt:8443 file:///seed.yaml");
        let Location::Server(server) = &follow.fallbacks[0] else { panic!("{follow:?}") };
        assert_eq!(server.token_file.as_deref(), Some("/token".as_ref()));
        assert!(follow.namespaces.has("anything"));
    }

    #[test]
    fn an_issuer_may_become_known_later() {
        let config = config(&["--pod-uid", "u"]).unwrap();
        assert!(config.auth.unwrap().verifier.issuers.is_empty());
    }

    #[test]
    fn grace_has_an_end() {
        let error = config(&["--pod-uid", "u", "--auth-grace", "2h"]).unwrap_err();
        assert!(error.contains("--auth-grace") && error.contains("1h"), "{error}");
    }

    #[test]
    fn an_empty_allow_list_is_refused() {
        let error = config(&["--auth-mode", "allowlist", "--auth-issuer", "i"]).unwrap_err();
        assert!(error.contains("--auth-allow"), "{error}");
    }

    #[test]
    fn entries_of_the_allow_list_name_account_and_flipt_namespaces() {
        let config =
            config(&["--auth-mode", "allowlist", "--auth-issuer", "i", "--auth-allow", "shop/*=shop|common"])
                .unwrap();
        let entry = &config.auth.unwrap().verifier.allow[0];
        assert_eq!(entry.flipt_namespaces.len(), 2);
        assert!(entry.service_account.matches("checkout") && entry.namespace.matches("shop"));
    }

    #[test]
    fn wrong_values_are_named_with_what_is_allowed() {
        for (arguments, expected) in [
            (["--start-policy", "never"], "open-after"),
            (["--auth-mode", "maybe"], "same-pod"),
            (["--poll-interval", "fast"], "15s"),
            (["--auth-allow", "nobody"], "namespace/service-account"),
        ] {
            let error = config(&arguments).unwrap_err();
            assert!(error.contains(expected), "{expected} is missing in: {error}");
        }
        let error =
            Arguments::try_parse_from(["flipt-sidecar", "--source", "ftp://x"]).unwrap_err().to_string();
        assert!(error.contains("--source") && error.contains("s3://"), "{error}");
    }
}
