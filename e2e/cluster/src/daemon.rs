//! Outages of the cluster's own daemons. Only a cluster of `make e2e` can have them.

use std::{fs, io::Write as _, path::PathBuf};

use flipt_e2e::{Failure, Result};
use k8s_openapi::jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use crate::{kubectl, wait::until};

/// File with the outages that are over: when each began and ended.
const OVER: &str = "outages";

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
    began: Timestamp,
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
        let outage = Self { mark, began: Timestamp::now() };
        let process = fs::read_to_string(control.join(format!("{daemon}.pid"))).map_err(failed)?;
        let process = process.trim().parse().ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| Failure::new(format!("{daemon} has no process")))?;
        kill_process(process, Signal::KILL)
            .map_err(|error| Failure::new(format!("stopping {daemon}: {error}")))?;
        Ok(outage)
    }

    /// Lets the daemon come back, and waits until the API server is ready.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn end(self) -> Result<()> {
        let began = self.began;
        drop(self);
        until("the API server is ready", || async { kubectl(&["get", "--raw", "/readyz"]).await.is_ok() })
            .await?;
        let failed = |error: std::io::Error| Failure::new(format!("writing down an outage: {error}"));
        let over = fs::OpenOptions::new().create(true).append(true).open(control()?.join(OVER));
        writeln!(over.map_err(failed)?, "{began} {}", Timestamp::now()).map_err(failed)
    }
}

/// When daemons were away, also for test programs before this one. An API server that comes back answers a moment before
/// it knows all roles, and refuses what it does not know of.
///
/// # Panics
/// If what was written down is not readable.
#[must_use]
pub fn outages() -> Vec<(Timestamp, Timestamp)> {
    let over = control().and_then(|control| {
        fs::read_to_string(control.join(OVER)).map_err(|error| Failure::new(error.to_string()))
    });
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    over.unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(from, to)| (time(from), time(to)))
        .collect()
}

impl Drop for Outage {
    fn drop(&mut self) {
        // Whoever removed it already had the same in mind.
        let _ = fs::remove_file(&self.mark);
    }
}
