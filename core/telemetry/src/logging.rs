//! Where log records go, which ones, and how they are encoded.

use std::{
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
    str::FromStr,
    sync::Mutex,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::format::Records;

/// Least severe level that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(LevelFilter);

impl Level {
    /// Names that [`Level::from_str`] accepts, in lower or upper case.
    pub const NAMES: &'static [&'static str] =
        &["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];
}

impl Default for Level {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for Level {
    type Err = ();

    /// Levels above error are understood and mean error.
    fn from_str(text: &str) -> Result<Self, ()> {
        let filter = match text.to_ascii_lowercase().as_str() {
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warn" => LevelFilter::WARN,
            "error" | "dpanic" | "panic" | "fatal" => LevelFilter::ERROR,
            _ => return Err(()),
        };
        Ok(Self(filter))
    }
}

/// How a record is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Time, level, message and fields, separated by tabs, for people.
    #[default]
    Console,
    /// One JSON object a line.
    Json,
}

/// Where records go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard output: servers in containers.
    Stdout,
    /// Standard error: commands whose result is on standard output.
    #[default]
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// Names of the fixed members of a JSON record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Time.
    pub time: String,
    /// Level.
    pub level: String,
    /// Message.
    pub message: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self { time: "T".to_owned(), level: "L".to_owned(), message: "M".to_owned() }
    }
}

/// Everything about log output.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Least severe level that is written.
    pub level: Level,
    /// How records are written.
    pub encoding: Encoding,
    /// Where they go.
    pub output: Output,
    /// Names of the fixed members of a JSON record.
    pub keys: Keys,
}

/// Logging that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// Indicates that the log file cannot be appended to.
    #[error("opening log file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Indicates that this process logs already.
    #[error("logging is set up already")]
    AlreadySet,
}

/// Sets up logging for the whole process. Libraries below us are heard from WARN on.
///
/// # Errors
/// [`LoggingError`].
pub fn init(options: LogOptions) -> Result<(), LoggingError> {
    let records = Records::new(options.encoding, options.keys);
    let filter = Targets::new()
        .with_default(options.level.0.min(LevelFilter::WARN))
        .with_target("flipt", options.level.0);
    let layer = fmt::layer().event_format(records);
    let layer = match options.output {
        Output::Stdout => layer.with_writer(io::stdout).with_filter(filter).boxed(),
        Output::Stderr => layer.with_writer(io::stderr).with_filter(filter).boxed(),
        Output::File(path) => {
            let file = append(&path).map_err(|source| LoggingError::File { path, source })?;
            layer.with_writer(Mutex::new(file)).with_filter(filter).boxed()
        }
    };
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| LoggingError::AlreadySet)
}

fn append(path: &PathBuf) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_level_is_understood_in_both_cases() {
        for name in Level::NAMES {
            assert!(Level::from_str(name).is_ok() && Level::from_str(&name.to_uppercase()).is_ok(), "{name}");
        }
        assert!(Level::from_str("loud").is_err());
    }
}
