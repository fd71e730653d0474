//! Programs of the cluster's tools, run to their end.

use std::{process::Stdio, time::Duration};

use flipt_e2e::{Failure, Result};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Runs a program on an input, and gives what it prints.
pub(crate) async fn run(program: &str, arguments: &[&str], input: &str, timeout: Duration) -> Result<String> {
    run_loudly(program, arguments, input, timeout).await.map(|(printed, _)| printed)
}

/// Runs a program on an input, and gives what it prints, and what it says on standard error.
pub(crate) async fn run_loudly(
    program: &str,
    arguments: &[&str],
    input: &str,
    timeout: Duration,
) -> Result<(String, String)> {
    let said = arguments.join(" ");
    let failed = |error: std::io::Error| {
        Failure::new(format!("{program} cannot be run ({error}): `make e2e` provides it"))
    };
    let running = async {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input has its reasons, and says them.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await.map_err(failed)
    };
    match tokio::time::timeout(timeout, running).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok((text(&output.stdout), text(&output.stderr)))
        }
        Ok(Ok(output)) => {
            Err(Failure::new(format!("{program} {said}: {}", String::from_utf8_lossy(&output.stderr).trim())))
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(format!("{program} {said}: no end within {} s", timeout.as_secs()))),
    }
}
