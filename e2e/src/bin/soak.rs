//! `make soak`: a sidecar's memory over many changes of many flags. It must not grow with their number.

use std::{
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use flipt_e2e::{Failure, Result, documents::usual_flags, free_port, http};
use flipt_snapshots::{
    Location,
    publish::{PublishOptions, Version},
};
use serde_json::Value;
use tempfile::TempDir;

const FLAGS: usize = 10_000;
const MIB: f64 = 1024.0 * 1024.0;
/// By how much the last tenth may lie above the second, when all buffers had been made.
const GROWTH: f64 = 1.10;
/// How long a change may take to be in force: polls come every second.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: soak SIDECAR [SWAPS]");
        return ExitCode::from(2);
    };
    let swaps = arguments.next().and_then(|swaps| swaps.parse().ok()).unwrap_or(1_000);
    match soak(&PathBuf::from(program), swaps).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(reason)) => {
            eprintln!("Error: {reason}");
            ExitCode::FAILURE
        }
    }
}

struct Running {
    child: Child,
    status: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(format!("{what}: {error}"))
}

impl Running {
    fn start(program: &PathBuf, source: &str, cache: &TempDir) -> Result<Self> {
        let port = free_port();
        let child = Command::new(program)
            .args(["--source", source, "--poll-interval", "1s", "--auth-mode", "none", "--log-level", "warn"])
            .args(["--cache-dir".as_ref(), cache.path().as_os_str()])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--grpc-listen=127.0.0.1:{}", free_port()))
            .arg(format!("--health-listen=127.0.0.1:{}", free_port()))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed("starting the sidecar"))?;
        Ok(Self { child, status: format!("http://127.0.0.1:{port}/status") })
    }

    /// Waits until a revision is in force.
    async fn follows(&self, revision: u64) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Ok(answer) = http::get(self.status.clone()).await
                && let Ok(status) = serde_json::from_slice::<Value>(&answer.body)
                && status["revision"].as_u64() == Some(revision)
            {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Failure::new(format!("revision {revision} is not in force in time")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Resident memory in MiB.
    fn resident(&self) -> Result<f64> {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).map_err(failed("reading the sidecar's memory"))?;
        let pages: Option<f64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        let pages = pages.ok_or_else(|| Failure::new(format!("unexpected: {text}")))?;
        Ok(pages * rustix::param::page_size() as f64 / MIB)
    }
}

/// The largest of a part of all measurements.
fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

async fn soak(program: &PathBuf, swaps: usize) -> Result<()> {
    let (place, cache) = (
        TempDir::new().map_err(failed("making a folder"))?,
        TempDir::new().map_err(failed("making a folder"))?,
    );
    let source = format!("file://{}", place.path().display());
    let location: Location = source.parse().map_err(|error| Failure::new(format!("{source}: {error}")))?;
    let store = flipt_snapshots::open(&location).await.map_err(|error| Failure::new(error.to_string()))?;
    let mut state = usual_flags(FLAGS);
    let mut running = None;
    let mut resident = Vec::with_capacity(swaps);
    let began = Instant::now();
    for revision in 1..=u64::try_from(swaps).unwrap_or(u64::MAX) {
        // Another flag each time, and a text of another length.
        if let Some(namespace) = state.namespaces.first_mut() {
            let at = usize::try_from(revision).unwrap_or_default() * 7 % FLAGS;
            if let Some(flag) = namespace.flags.get_mut(at) {
                flag.enabled = !flag.enabled;
                flag.description = "changed ".repeat(at % 11 + 1);
            }
        }
        let version = Version { epoch: "soak".to_owned(), revision };
        let options =
            PublishOptions { keep_revisions: 3, min_age: Duration::ZERO, ..PublishOptions::default() };
        flipt_snapshots::publish(&*store, "default", state.clone(), version, options)
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        let running = match &running {
            Some(running) => running,
            None => running.insert(Running::start(program, &source, &cache)?),
        };
        running.follows(revision).await?;
        resident.push(running.resident()?);
    }
    let tenth = (swaps / 10).max(1);
    let (early, late) =
        (most(resident.get(tenth..2 * tenth).unwrap_or(&resident)), most(&resident[swaps - tenth..]));
    println!(
        "Sidecar with {FLAGS} flags, {swaps} swaps in {:.0} s: resident memory at most {early:.1} MiB in the second \
         tenth, {late:.1} MiB in the last ({:.2} x)",
        began.elapsed().as_secs_f64(),
        late / early
    );
    if late > early * GROWTH {
        return Err(Failure::new(format!("the memory grows: more than {GROWTH} x")));
    }
    Ok(())
}
