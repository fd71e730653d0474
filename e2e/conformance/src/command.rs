//! Runs of the binary that end by themselves.

use std::{
    io::{Read, Write},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Workspace, process::is_healthy};

const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// How often a run that lasts is asked whether it has become a server.
const PROBE: Duration = Duration::from_millis(200);

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code.
    pub exit_code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What a run is given.
#[derive(Debug, Default)]
pub struct Input<'a> {
    /// Arguments.
    pub arguments: Vec<String>,
    /// Environment, besides that of the workspace.
    pub environment: Vec<(String, String)>,
    /// Standard input.
    pub stdin: &'a str,
    /// Whether a server runs in the workspace already. If not, a run that turns into one is ended.
    pub beside_server: bool,
}

/// Runs the binary to its end.
///
/// # Errors
/// [`Error::Process`] if it lasts too long, or serves instead of ending.
pub fn run(binary: &Path, workspace: &Workspace, input: &Input<'_>) -> Result<Finished, Error> {
    let mut child = workspace
        .command(binary)
        .args(&input.arguments)
        .envs(input.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let readers = (child.stdout.take().map(collect), child.stderr.take().map(collect));
    let text = input.stdin.to_owned();
    let writer = child.stdin.take().map(|mut stdin| {
        // A process that does not read its input closes it; that is its right.
        thread::spawn(move || drop(stdin.write_all(text.as_bytes())))
    });
    let start = Instant::now();
    let mut probed = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let serves = !input.beside_server && probed.elapsed() > PROBE && {
            probed = Instant::now();
            is_healthy(workspace.http_port)
        };
        if serves || start.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            let what = if serves { "it started serving" } else { "it did not end" };
            return Err(Error::Process(format!("{what}: flipt {}", input.arguments.join(" "))));
        }
        thread::sleep(PAUSE);
    };
    drop(writer.map(thread::JoinHandle::join));
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ok(Finished { exit_code: status.code().unwrap_or(-1), stdout: text(readers.0), stderr: text(readers.1) })
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read before an error is still the best there is.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
