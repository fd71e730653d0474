//! `flipt completion`: what shells need to complete commands and options.

use std::process::ExitCode;

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use crate::{arguments::Arguments, failure::Failure, usage};

const SHELLS: [Shell; 4] = [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell];

/// Prints the script for one shell.
pub(crate) fn run(shells: Vec<String>) -> Result<ExitCode, Failure> {
    let [name] = usage::exactly(shells)?;
    let shell =
        Shell::from_str(&name, false).ok().filter(|shell| SHELLS.contains(shell)).ok_or_else(|| {
            let known: Vec<String> = SHELLS.iter().map(ToString::to_string).collect();
            Failure::new(format!("unknown shell {name:?}: expected one of {}", known.join(", ")))
        })?;
    clap_complete::generate(shell, &mut Arguments::command(), "flipt", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
