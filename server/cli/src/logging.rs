//! Log output of commands and of the server.

use std::collections::BTreeMap;

use flipt_config::Log;
use flipt_telemetry::{LogOptions, Output};

use crate::failure::Failure;

/// Starts logging. The server logs on standard output, commands on standard error, so that their result
/// stays readable by machines.
pub(crate) fn start(log: &Log, is_server: bool) -> Result<(), Failure> {
    let output = match (&log.file, is_server) {
        (Some(path), _) => Output::File(path.clone()),
        (None, true) => Output::Stdout,
        (None, false) => Output::Stderr,
    };
    let options = LogOptions { level: log.level, encoding: log.encoding, output, keys: log.keys.clone() };
    flipt_telemetry::init(options).map_err(Failure::new)
}

/// Starts logging before there is a configuration, on standard error: the level comes from `FLIPT_LOG_LEVEL`
/// (cli spec, section 1.4).
pub(crate) fn start_early(environment: &BTreeMap<String, String>) {
    let level = environment.get("FLIPT_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or_default();
    let options = LogOptions { level, ..LogOptions::default() };
    // Logging that runs already is as good.
    let _ = flipt_telemetry::init(options);
}
