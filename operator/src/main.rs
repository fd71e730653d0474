//! The operator: reconciles the custom resources of Flipt and injects sidecars.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod context;
mod error;
mod events;
mod feed;
mod grants;
mod health;
mod image;
mod leader;
mod live;
mod malformed;
mod metrics;
mod parts;
mod pause;
mod resources;
mod server;
mod settings;
mod term;
mod wake;
// Exports, trust, bootstrap, uninstall, rules of access:
mod bootstrap;
mod export;
mod rbac;
mod trust;
mod uninstall;

// Injection, certificates, profiles, missed pods:
mod certificates;
mod missed;
mod profile;
mod webhook;

use std::process::ExitCode;

use clap::Parser as _;
use error::Error;
use settings::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<(), Error> {
    // Before any client is made: the whole process has one TLS provider.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Error::setup("TLS", "another provider is installed already"))?;
    let Arguments { command, settings } = arguments;
    match command.unwrap_or(Command::Run) {
        Command::Run => asynchronously(settings, parts::run),
        Command::Uninstall(options) => {
            asynchronously(settings, |settings| uninstall::run(settings, options.mode))
        }
        Command::Rbac => {
            print!("{}", rbac::roles(&settings));
            Ok(())
        }
    }
}

/// Runs something that talks to the cluster.
fn asynchronously<F>(
    settings: settings::Settings,
    run: impl FnOnce(settings::Settings) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    flipt_telemetry::init(settings.log.options()).map_err(|error| Error::setup("logging", error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::setup("the runtime", error))?;
    runtime.block_on(run(settings))
}
