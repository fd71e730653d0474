//! Everything the operator is told: flags or environment variables, read once into types.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use flipt_telemetry::{Encoding, Keys, Level, LogOptions, Output};

/// Reconciles the custom resources of Flipt and injects sidecars. Every flag can be given as the environment
/// variable named beside it.
#[derive(Debug, Parser)]
#[command(name = "flipt-operator", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the operator (the default).
    Run,
    /// Make it possible to remove everything: releases finalizers and removes the webhook.
    Uninstall(UninstallOptions),
    /// Print what the operator may do in the cluster, as YAML.
    Rbac,
}

#[derive(Debug, Args)]
pub(crate) struct UninstallOptions {
    /// What becomes of the content in the servers.
    #[arg(long, value_enum, default_value = "keep", value_name = "MODE")]
    pub(crate) mode: UninstallMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UninstallMode {
    /// Custom resources lose their finalizers; what they wrote stays in the servers, and they stay in the cluster.
    Keep,
    /// Custom resources are deleted, and what they wrote with them.
    Purge,
}

/// Settings of the operator.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Address of the admission webhook (TLS).
    #[arg(
        long,
        env = "FLIPT_OPERATOR_WEBHOOK_LISTEN",
        default_value = "0.0.0.0:9443",
        value_name = "ADDR",
        global = true
    )]
    pub(crate) webhook_listen: SocketAddr,

    /// Address for probes and metrics.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_HEALTH_LISTEN",
        default_value = "0.0.0.0:8081",
        value_name = "ADDR",
        global = true
    )]
    pub(crate) health_listen: SocketAddr,

    /// Namespace that the operator runs in.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_NAMESPACE",
        default_value = "flipt-system",
        value_name = "NAME",
        global = true
    )]
    pub(crate) namespace: String,

    /// Name of its pod: the holder of the Lease, and the reporter of events.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_POD_NAME",
        default_value = "flipt-operator",
        value_name = "NAME",
        global = true
    )]
    pub(crate) pod_name: String,

    /// Its service account, whose tokens servers accept.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_SERVICE_ACCOUNT",
        default_value = "flipt-operator",
        value_name = "NAME",
        global = true
    )]
    pub(crate) service_account: String,

    /// Namespaces whose custom resources are reconciled, comma-separated; without any, all.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAME",
        global = true
    )]
    watch_namespaces: Vec<String>,

    /// Namespaces, beside the operator's own, whose servers may be shown a token of the operator for any audience,
    /// comma-separated. Whoever may create a FliptServer there can have such a token sent to an address of their choice.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_TOKEN_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAME",
        global = true
    )]
    token_namespaces: Vec<String>,

    /// Name of the MutatingWebhookConfiguration.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_WEBHOOK_NAME",
        default_value = "flipt-injector",
        value_name = "NAME",
        global = true
    )]
    pub(crate) webhook_name: String,

    /// Name of the Service in front of the webhook.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_WEBHOOK_SERVICE",
        default_value = "flipt-webhook",
        value_name = "NAME",
        global = true
    )]
    pub(crate) webhook_service: String,

    /// Where the webhook's certificate comes from.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_CERTIFICATES",
        value_enum,
        default_value = "self",
        value_name = "MODE",
        global = true
    )]
    pub(crate) certificates: Certificates,

    /// Secret with the webhook's certificate, in the operator's namespace.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_CERTIFICATE_SECRET",
        default_value = "flipt-webhook-tls",
        value_name = "NAME",
        global = true
    )]
    pub(crate) certificate_secret: String,

    /// How long certificates of mode `self` are valid.
    #[arg(long, env = "FLIPT_OPERATOR_CERTIFICATE_LIFETIME", default_value = "2160h", value_parser = duration, value_name = "DURATION", global = true)]
    pub(crate) certificate_lifetime: Duration,

    /// How long old and new certificates of mode `self` are both trusted, before and after the change.
    #[arg(long, env = "FLIPT_OPERATOR_CERTIFICATE_OVERLAP", default_value = "5m", value_parser = duration, value_name = "DURATION", global = true)]
    pub(crate) certificate_overlap: Duration,

    /// Image of servers that name none.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_SERVER_IMAGE",
        default_value = concat!("ghcr.io/flipt-kubernetes/flipt:", env!("CARGO_PKG_VERSION")),
        value_name = "IMAGE",
        global = true
    )]
    pub(crate) server_image: String,

    /// Image of sidecars whose profile names none.
    #[arg(
        long,
        env = "FLIPT_OPERATOR_SIDECAR_IMAGE",
        default_value = concat!("ghcr.io/flipt-kubernetes/flipt-sidecar:", env!("CARGO_PKG_VERSION")),
        value_name = "IMAGE",
        global = true
    )]
    pub(crate) sidecar_image: String,

    /// Folder with manifests of the operator's own kinds, which the leader applies.
    #[arg(long, env = "FLIPT_OPERATOR_BOOTSTRAP_DIR", value_name = "DIR", global = true)]
    pub(crate) bootstrap_dir: Option<PathBuf>,

    /// How long a deletion waits for a server that does not answer, before the content is left behind.
    #[arg(long, env = "FLIPT_OPERATOR_FINALIZER_DEADLINE", default_value = "24h", value_parser = duration, value_name = "DURATION", global = true)]
    pub(crate) finalizer_deadline: Duration,

    /// Most writes to one server within a second.
    #[arg(long, env = "FLIPT_OPERATOR_WRITES_PER_SECOND", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", global = true)]
    pub(crate) writes_per_second: u32,

    /// Trust keys of service account tokens that the issuer itself shows, beside those of the API server. For clusters
    /// whose API server does not show all of them, and whose issuer is a public https address.
    #[arg(long, env = "FLIPT_OPERATOR_MERGE_ISSUER_KEYS", global = true)]
    pub(crate) merge_issuer_keys: bool,

    /// Evict pods that should have a sidecar and have none.
    #[arg(long, env = "FLIPT_OPERATOR_EVICT_MISSED", global = true)]
    pub(crate) evict_missed: bool,

    /// What is logged, and how.
    #[command(flatten)]
    pub(crate) log: Log,
}

impl Settings {
    /// Namespaces whose custom resources are reconciled; none: all of them.
    pub(crate) fn watched(&self) -> Option<Vec<&str>> {
        let names: Vec<&str> =
            self.watch_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
        (!names.is_empty()).then_some(names)
    }

    /// Whether custom resources of this namespace are reconciled.
    pub(crate) fn watches(&self, namespace: &str) -> bool {
        self.watched().is_none_or(|names| names.contains(&namespace))
    }

    /// Whether servers that are described in this namespace may be shown tokens for any audience.
    pub(crate) fn trusts_servers_of(&self, namespace: &str) -> bool {
        namespace == self.namespace || self.token_namespaces.iter().any(|name| name.trim() == namespace)
    }
}

/// Where the webhook's certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Certificates {
    /// The operator makes and rotates it.
    #[value(name = "self")]
    Own,
    /// cert-manager writes the Secret and the bundle of the webhook.
    CertManager,
    /// Somebody else writes the Secret and the bundle of the webhook.
    Existing,
}

impl Certificates {
    /// Name of the mode, as the setting has it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Log output.
#[derive(Debug, Clone, Args)]
pub(crate) struct Log {
    /// Least severe level that is logged: debug, info, warn or error.
    #[arg(long = "log-level", env = "FLIPT_OPERATOR_LOG_LEVEL", default_value = "info", value_parser = level, value_name = "LEVEL", global = true)]
    level: Level,

    /// How log records are written: json or console.
    #[arg(long = "log-encoding", env = "FLIPT_OPERATOR_LOG_ENCODING", default_value = "json", value_parser = encoding, value_name = "ENCODING", global = true)]
    encoding: Encoding,
}

impl Log {
    pub(crate) fn options(&self) -> LogOptions {
        LogOptions {
            level: self.level,
            encoding: self.encoding,
            output: Output::Stderr,
            keys: Keys::default(),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    flipt_crds::Duration::try_from(text.to_owned())
        .map(|duration| duration.get())
        .map_err(|error| error.to_string())
}

fn level(text: &str) -> Result<Level, String> {
    Level::from_str(text).map_err(|()| format!("one of {}", Level::NAMES.join(", ")))
}

fn encoding(text: &str) -> Result<Encoding, String> {
    match text {
        "json" => Ok(Encoding::Json),
        "console" => Ok(Encoding::Console),
        _ => Err("json or console".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_any_flag_the_operator_runs_with_safe_settings() {
        let Arguments { command, settings } = Arguments::try_parse_from(["flipt-operator"]).unwrap();
        assert!(command.is_none() && settings.watched().is_none() && !settings.evict_missed);
        assert_eq!(settings.finalizer_deadline, Duration::from_secs(24 * 3600));
        assert_eq!(settings.certificates, Certificates::Own);
    }

    #[test]
    fn flags_stand_before_and_after_the_subcommand() {
        for line in [
            ["flipt-operator", "--watch-namespaces", "shop,,pay", "run"],
            ["flipt-operator", "run", "--watch-namespaces", "shop, pay"],
        ] {
            let settings = Arguments::try_parse_from(line).unwrap().settings;
            assert_eq!(settings.watched(), Some(vec!["shop", "pay"]));
            assert!(settings.watches("pay") && !settings.watches("default"));
        }
    }
}
