//! `kubectl`, as a person uses it.

use std::{process::Stdio, time::Duration};

use flipt_e2e::{Failure, Result};
use tokio::process::Command;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What `kubectl` prints.
///
/// # Errors
/// If it is not there, does not end in time, or fails; then with what it says.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    let said = arguments.join(" ");
    let mut command = Command::new("kubectl");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(TIMEOUT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => {
            Err(Failure::new(format!("kubectl {said}: {}", String::from_utf8_lossy(&output.stderr).trim())))
        }
        Ok(Err(error)) => {
            Err(Failure::new(format!("kubectl cannot be run ({error}): `make e2e` provides it")))
        }
        Err(_) => Err(Failure::new(format!("kubectl {said}: no end within {} s", TIMEOUT.as_secs()))),
    }
}
