//! `flipt`: the server and its command line.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod about;
mod arguments;
mod atomic_file;
mod bundle;
mod completion;
mod config;
mod config_edit;
mod config_init;
mod database;
mod database_metrics;
mod environment;
mod evaluate;
mod export;
mod extra_schema;
mod failure;
mod health;
mod import;
mod logging;
mod migrate;
mod progress;
mod publication;
mod publisher;
mod reference;
mod reflection;
mod remote;
mod serve;
mod storage;
mod terminal;
mod usage;
mod validate;
mod version;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    let arguments = match usage::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if arguments.version {
        print!("{}", version::banner());
        return ExitCode::SUCCESS;
    }
    // Before any client is made: the whole process has one TLS provider.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("Error: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { config, strict_config, force_migrate, version: _, command } = arguments;
    let sources = config::Sources { path: config, strict: strict_config };
    match command {
        None => serve::run(&sources, force_migrate).await,
        Some(Command::Export(options)) => export::run(&sources, options).await,
        Some(Command::Import(options)) => import::run(&sources, options).await,
        Some(Command::Migrate(options)) => migrate::run(&sources, &options).await,
        Some(Command::Validate(options)) => validate::run(&options),
        Some(Command::Evaluate(options)) => evaluate::run(options).await,
        Some(Command::Bundle { command }) => bundle::run(&sources, command),
        Some(Command::Config { command }) => config::run(&sources, command.as_ref()),
        Some(Command::Completion { shells }) => completion::run(shells),
        Some(Command::Doc { folders }) => reference::run(folders),
    }
}
