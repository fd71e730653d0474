//! The server process of a scenario.

use std::{
    fs::File,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error, Workspace,
    http::{Connection, Request},
};

const START: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// A running server; ends with this value.
pub struct Server(Child);

impl Server {
    /// Starts the server and waits until it is healthy.
    ///
    /// # Errors
    /// [`Error::Process`] with what it printed, if it ends or does not become healthy.
    pub fn start(binary: &Path, workspace: &Workspace, arguments: &[String]) -> Result<Self, Error> {
        let log = workspace.folder().join("server.log");
        let output = File::create(&log).map_err(Error::file(&log))?;
        let child = workspace
            .command(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut server = Self(child);
        let start = Instant::now();
        while !is_healthy(workspace.http_port) {
            let ended = server.0.try_wait()?;
            if ended.is_some() || start.elapsed() > START {
                let printed = std::fs::read_to_string(&log).unwrap_or_default();
                let what =
                    ended.map_or("did not become healthy".to_owned(), |status| format!("ended: {status}"));
                return Err(Error::Process(format!("the server {what}\n{printed}")));
            }
            thread::sleep(PAUSE);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a server answers on this port.
pub(crate) fn is_healthy(port: u16) -> bool {
    Connection::open(port)
        .and_then(|mut connection| {
            connection.send(&Request { method: "GET", path: "/health", ..Request::default() })
        })
        .is_ok_and(|response| response.status == 200)
}
