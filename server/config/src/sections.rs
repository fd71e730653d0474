//! The sections of the configuration, each with its keys, defaults and checks (config spec, section 3).

use std::{path::PathBuf, time::Duration};

use flipt_snapshots::Location;
use flipt_telemetry::{Encoding, Keys, Level};

use crate::{Origin, Wording, reader::Reader};

/// `log`: log output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Least severe level that is written.
    pub level: Level,
    /// File instead of standard output.
    pub file: Option<PathBuf>,
    /// How records are written.
    pub encoding: Encoding,
    /// Names of the fixed members of a JSON record.
    pub keys: Keys,
}

impl Log {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let level = reader.text("log.level", "INFO");
        let level = level.parse().unwrap_or_else(|()| {
            // As Flipt does: a wrong level must not keep a server from starting.
            reader.note(format!(
                "log.level: {level:?} is unknown, INFO is used; known: {}",
                Level::NAMES.join(", ")
            ));
            Level::default()
        });
        let file = reader.text("log.file", "");
        let (encoding, _) = reader.choice(
            "log.encoding",
            Encoding::Console,
            &[("console", Encoding::Console), ("json", Encoding::Json)],
        );
        let grpc_level = reader.text("log.grpc_level", "ERROR");
        if grpc_level.parse::<Level>().is_err() {
            let origin = reader.is_set("log.grpc_level").unwrap_or(Origin::Default);
            reader.fail_with(
                Wording::Bare,
                "log.grpc_level",
                origin,
                format!(
                    "parsing grpc log level ({grpc_level:?}): expected one of {}",
                    Level::NAMES.join(", ")
                ),
                "debug, info, warn, error",
            );
        }
        let keys = Keys {
            time: reader.text("log.keys.time", "T"),
            level: reader.text("log.keys.level", "L"),
            message: reader.text("log.keys.message", "M"),
        };
        Self { level, file: (!file.is_empty()).then(|| file.into()), encoding, keys }
    }
}

/// How the REST listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// `server`: the listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address of both listeners.
    pub host: String,
    /// Port of REST and user interface.
    pub http_port: u16,
    /// Port of gRPC.
    pub grpc_port: u16,
    /// How long to go on serving, while saying that no further requests are wanted, before the end. Ours.
    pub shutdown_delay: Duration,
}

impl Server {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let host = reader.text("server.host", "0.0.0.0");
        let (protocol, origin) = reader.choice(
            "server.protocol",
            Protocol::Http,
            &[("http", Protocol::Http), ("https", Protocol::Https)],
        );
        if protocol == Protocol::Https && require_certificate(reader) {
            reader.fail(
                "server.protocol",
                origin,
                "https is not served by this version yet; terminate TLS in front of the server and use http",
            );
        }
        let http_port = reader.port("server.http_port", 8080);
        let grpc_port = reader.port("server.grpc_port", 9000);
        if http_port == grpc_port && http_port != 0 {
            let origin = reader.is_set("server.grpc_port").unwrap_or(Origin::Default);
            reader.fail("server.grpc_port", origin, "must differ from server.http_port");
        }
        for key in [
            "server.https_port",
            "server.cert_file",
            "server.cert_key",
            "server.grpc_conn_max_idle_time",
            "server.grpc_conn_max_age",
            "server.grpc_conn_max_age_grace",
            "server.cloud",
        ] {
            reader.accept_all(key);
        }
        let shutdown_delay = reader.duration("server.shutdown_delay", Duration::ZERO, Duration::ZERO);
        Self { host, http_port, grpc_port, shutdown_delay }
    }
}

/// Whether both files of the certificate are there; says which is not.
fn require_certificate(reader: &mut Reader<'_>) -> bool {
    let keys = ["server.cert_file", "server.cert_key"];
    let paths = keys.map(|key| (key, reader.text(key, "")));
    let missing = paths.iter().find(|(_, path)| path.is_empty());
    let problem = match missing {
        Some((key, _)) => Some((*key, format!("field {key:?}: non-empty value is required"))),
        None => paths
            .iter()
            .find(|(_, path)| !std::path::Path::new(path).exists())
            .map(|(key, path)| (*key, format!("field {key:?}: stat {path}: no such file or directory"))),
    };
    let Some((key, problem)) = problem else { return true };
    let origin = reader.is_set(key).unwrap_or(Origin::Default);
    reader.fail_with(Wording::Fixed, key, origin, problem, "the path of a PEM file that exists");
    false
}

/// `snapshots`: publication of snapshots. Ours, not Flipt's.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshots {
    /// Where to publish; nowhere if absent.
    pub publish: Option<Location>,
    /// How long to wait after a change for further ones.
    pub debounce: Duration,
    /// How often to publish without a change, so that readers see that the publisher lives.
    pub heartbeat: Duration,
    /// Whether to write the files that a stock Flipt reads as well.
    pub features: bool,
    /// File with the key that pointers are signed with, those published and those served.
    pub signing_key_file: Option<PathBuf>,
}

impl Snapshots {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let (url, origin) = reader.secret_url("snapshots.publish.url", "");
        let publish = if url.is_empty() {
            None
        } else {
            match url.parse() {
                Ok(location) if Location::is_writable(&location) => Some(location),
                Ok(_) => {
                    let problem = "nothing can be published there; give s3://bucket/prefix or file:///folder";
                    reader.fail("snapshots.publish.url", origin, problem.to_owned());
                    None
                }
                Err(error) => {
                    reader.fail("snapshots.publish.url", origin, format!("{error}"));
                    None
                }
            }
        };
        Self {
            publish,
            debounce: reader.duration(
                "snapshots.publish.debounce",
                Duration::from_millis(200),
                Duration::ZERO,
            ),
            heartbeat: reader.duration(
                "snapshots.publish.heartbeat",
                Duration::from_secs(60),
                Duration::from_secs(1),
            ),
            features: reader.bool("snapshots.publish.features", true),
            signing_key_file: reader.optional_text("snapshots.publish.signing_key_file").map(PathBuf::from),
        }
    }
}

/// `meta`: the state directory. The server contacts nobody, whatever the other keys say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Where the server may keep state of its own.
    pub state_directory: PathBuf,
}

impl Meta {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        reader.bool("meta.check_for_updates", true);
        reader.bool("meta.telemetry_enabled", true);
        let default = crate::user_config_directory(reader.environment()).join("flipt");
        let directory = reader.text("meta.state_directory", &default.to_string_lossy());
        let state_directory = if directory.is_empty() { default } else { directory.into() };
        Self { state_directory }
    }
}

/// `diagnostics`: accepted for compatibility; there is no Go profiler here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics;

impl Diagnostics {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        reader.bool("diagnostics.profiling.enabled", true);
        Self
    }
}

/// `ui`: the web user interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ui {
    /// Whether it is served.
    pub enabled: bool,
}

impl Ui {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.bool("ui.enabled", true);
        let color = reader.text("ui.topbar.color", "");
        if !color.is_empty() && !is_color(&color) {
            let origin = reader.is_set("ui.topbar.color").unwrap_or(Origin::Default);
            reader.fail_with(
                Wording::Fixed,
                "ui.topbar.color",
                origin,
                format!("expected valid hex color, got {color}"),
                "#rgb or #rrggbb",
            );
        }
        for key in ["ui.default_theme", "ui.topbar"] {
            reader.accept_all(key);
        }
        Self { enabled }
    }
}

/// Whether a text is `#rgb` or `#rrggbb`.
fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|digits| {
        matches!(digits.len(), 3 | 6) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

pub(crate) fn read_top_level(reader: &mut Reader<'_>) {
    let version = reader.text("version", "1.0");
    if version.trim() != "1.0" {
        let origin = reader.is_set("version").unwrap_or(Origin::Default);
        let problem = format!("invalid version: {version}");
        reader.fail_with(Wording::Fixed, "version", origin, problem, "1.0");
    }
    reader.accept_all("cloud");
}
