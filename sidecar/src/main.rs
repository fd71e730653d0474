//! `flipt-sidecar`: follows a published snapshot and evaluates flags on localhost, whatever else is down.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod app;
mod config;
mod data;
mod health;
mod holder;
mod memory;

use std::process::ExitCode;

use clap::Parser as _;
use config::{Arguments, Config};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), String> {
    let config = Config::from_arguments(arguments).map_err(|error| error.to_string())?;
    flipt_telemetry::init(config.log.clone()).map_err(|error| error.to_string())?;
    // Before any client is made: the whole process has one TLS provider.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| "another TLS provider is installed already".to_owned())?;
    // One thread: the work per request is a few microseconds, and memory counts in every pod.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the runtime: {error}"))?;
    runtime.block_on(app::run(config))
}
