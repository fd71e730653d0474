//! Outages of the cluster's own daemons. Only a cluster of `make e2e` can have them.

use std::{fs, path::PathBuf, time::Duration};

use flipt_e2e::{Failure, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Folder by which the daemons of the cluster are told to stay away.
///
/// # Errors
/// In a cluster of somebody else.
fn control() -> Result<PathBuf> {
    std::env::var_os("CLUSTER_CONTROL").map(PathBuf::from).ok_or_else(|| {
        Failure::new(
            "this cluster is not ours: its daemons cannot be stopped; `make e2e` starts one of its own",
        )
    })
}

/// Whether the cluster is one that `make e2e` started: pods can be reached by their addresses, and daemons stopped.
#[must_use]
pub fn cluster_is_ours() -> bool {
    control().is_ok()
}

/// A daemon that is away. It comes back with [`Outage::end`], or with the value.
#[derive(Debug)]
pub struct Outage {
    mark: PathBuf,
}

impl Outage {
    /// Kills a daemon, such as `kube-apiserver`, as a crash does, and keeps it away.
    ///
    /// # Errors
    /// If the cluster is not ours or has no such daemon.
    pub fn of(daemon: &str) -> Result<Self> {
        let control = control()?;
        let failed = |error: std::io::Error| Failure::new(format!("stopping {daemon}: {error}"));
        let mark = control.join(format!("{daemon}.stop"));
        fs::write(&mark, "").map_err(failed)?;
        let outage = Self { mark };
        let process = fs::read_to_string(control.join(format!("{daemon}.pid"))).map_err(failed)?;
        let process = process.trim().parse().ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| Failure::new(format!("{daemon} has no process")))?;
        kill_process(process, Signal::KILL)
            .map_err(|error| Failure::new(format!("stopping {daemon}: {error}")))?;
        Ok(outage)
    }

    /// Lets the daemon come back.
    pub fn end(self) {}
}

impl Drop for Outage {
    fn drop(&mut self) {
        // Whoever removed it already had the same in mind.
        let _ = fs::remove_file(&self.mark);
    }
}

/// How long a daemon may take to be back.
pub const DAEMON_PATIENCE: Duration = Duration::from_secs(60);
