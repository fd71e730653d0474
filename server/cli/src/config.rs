//! `flipt config`, and loading the configuration for every other command.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use flipt_config::{Config, ConfigError, Loaded};

use crate::{
    arguments::ConfigCommand, config_edit, config_init, environment, failure::Failure, logging, usage,
};

/// Where the configuration comes from.
pub(crate) struct Sources {
    /// The file named on the command line.
    pub(crate) path: Option<PathBuf>,
    /// Whether unknown keys are errors.
    pub(crate) strict: bool,
}

impl Sources {
    fn load(&self) -> Result<(Option<PathBuf>, Loaded), Failure> {
        let environment = environment::variables();
        let path = flipt_config::locate(self.path.as_deref(), &environment);
        let loaded = flipt_config::load(path.as_deref(), &environment).map_err(|error| {
            explain(&error, &environment);
            Failure::new(error)
        })?;
        Ok((path, loaded))
    }

    /// Loads the configuration, starts logging, and says what is odd about it.
    pub(crate) fn load_and_log(&self, is_server: bool) -> Result<Config, Failure> {
        Ok(self.load_all_and_log(is_server)?.config)
    }

    /// The same, with everything that is known about the configuration.
    pub(crate) fn load_all_and_log(&self, is_server: bool) -> Result<Loaded, Failure> {
        let (path, loaded) = self.load()?;
        refuse_unknown(self.strict, &loaded)?;
        logging::start(&loaded.config.log, is_server)?;
        match &path {
            Some(path) => tracing::debug!(path = %path.display(), "configuration source"),
            None if is_server => tracing::info!("no configuration file found, using defaults"),
            None => {}
        }
        for unknown in &loaded.unknown {
            tracing::warn!(warning = %unknown, "configuration warning");
        }
        for note in &loaded.notes {
            tracing::warn!(warning = %note, "configuration warning");
        }
        Ok(loaded)
    }
}

/// Says in the log where a wrong value stands and what would be right, if the error, whose text scripts know,
/// does not.
fn explain(error: &ConfigError, environment: &BTreeMap<String, String>) {
    let ConfigError::Values(values) = error else { return };
    logging::start_early(environment);
    for value in values {
        if let Some(allowed) = value.remedy {
            let place = value.origin.to_string();
            tracing::info!(key = value.key, place, allowed, "configuration value refused");
        }
    }
}

fn refuse_unknown(strict: bool, loaded: &Loaded) -> Result<(), Failure> {
    if !strict || loaded.unknown.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = loaded.unknown.iter().map(ToString::to_string).collect();
    Err(Failure::new(format!("loading configuration: {}", lines.join("\n  "))))
}

/// Makes, changes, prints or checks the configuration.
pub(crate) fn run(sources: &Sources, command: Option<&ConfigCommand>) -> Result<ExitCode, Failure> {
    match command {
        None => {
            print!("{}", usage::help(&["config"]));
            Ok(ExitCode::SUCCESS)
        }
        Some(ConfigCommand::Init { force }) => config_init::run(sources.path.as_deref(), *force),
        Some(ConfigCommand::Edit) => config_edit::run(sources.path.as_deref()),
        Some(ConfigCommand::Show) => {
            let (_, loaded) = sources.load()?;
            refuse_unknown(sources.strict, &loaded)?;
            print!("{}", flipt_config::to_yaml(&loaded.effective));
            for text in loaded.unknown.iter().map(ToString::to_string).chain(loaded.notes) {
                eprintln!("Warning: {text}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(ConfigCommand::Validate) => {
            let (_, loaded) = sources.load()?;
            refuse_unknown(true, &loaded)?;
            for note in &loaded.notes {
                eprintln!("Warning: {note}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
