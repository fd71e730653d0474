//! `make size`: size, memory and start-up of a sidecar program, measured on the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use flipt_e2e::{Failure, Result, S3, documents::usual_flags, free_port, http};
use flipt_snapshots::publish::{PublishOptions, Version};
use serde_json::json;
use tempfile::TempDir;

const FLAGS: usize = 1_000;
const STARTS: usize = 9;
const MIB: f64 = 1024.0 * 1024.0;
/// Targets: size in MiB, resident memory in MiB, milliseconds to the first answer from a cached snapshot.
const TARGETS: (f64, f64, f64) = (12.0, 16.0, 50.0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("Error: name the sidecar program to measure");
        return ExitCode::FAILURE;
    };
    match measure(&program).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(reason)) => {
            eprintln!("Error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(format!("{what}: {error}"))
}

struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(program: &Path, source: &str, cache: &Path, credentials: &[(String, String)]) -> Result<Self> {
        let (port, grpc, health) = (free_port(), free_port(), free_port());
        let child = Command::new(program)
            .args(["--source", source, "--poll-interval", "1s", "--auth-mode", "none"])
            .args(["--cache-dir".as_ref(), cache.as_os_str()])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--grpc-listen=127.0.0.1:{grpc}"))
            .arg(format!("--health-listen=127.0.0.1:{health}"))
            .envs(credentials.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed("starting the sidecar"))?;
        Ok(Self { child, port })
    }

    /// Waits for a decision.
    async fn first_answer(&self, since: Instant) -> Result<Duration> {
        let url = format!("http://127.0.0.1:{}/evaluate/v1/boolean", self.port);
        let body = json!({ "flagKey": "flag-0000", "entityId": "user-1", "context": { "country": "SE", "age": "40" } });
        loop {
            if http::post(url.clone(), &body).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(since.elapsed());
            }
            if since.elapsed() > Duration::from_secs(20) {
                return Err(Failure::new("the sidecar gives no answer"));
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }

    /// Resident memory in bytes, by this name of the kernel's: `VmRSS` now, `VmHWM` at most so far.
    fn resident(&self, name: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .map_err(failed("reading the sidecar's memory"))?;
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(name)?.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()
            })
            .map(|kib: f64| kib * 1024.0)
            .ok_or_else(|| Failure::new(format!("no {name} in the sidecar's status")))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn verdict(value: f64, target: f64, unit: &str) -> String {
    if value <= target {
        format!("within the target of {target} {unit}")
    } else {
        format!("MISSES the target of {target} {unit} by {:.1}", value - target)
    }
}

async fn measure(program: &Path) -> Result<()> {
    let size = std::fs::metadata(program).map_err(failed("reading the sidecar program"))?.len();
    let s3 = S3::start(&["flags"]).await?;
    let store = s3.store("flags/size").await?;
    let version = Version { epoch: "measure".to_owned(), revision: 1 };
    let published =
        flipt_snapshots::publish(&*store, "default", usual_flags(FLAGS), version, PublishOptions::default())
            .await
            .map_err(|error| Failure::new(error.to_string()))?;

    let folder = TempDir::new().map_err(failed("making a folder"))?;
    let (source, credentials) = (s3.at("flags/size"), s3.credentials());
    let start = Instant::now();
    let running = Running::start(program, &source, folder.path(), &credentials)?;
    let from_s3 = running.first_answer(start).await?;
    // Polls, and the writing of the cache, are part of a sidecar's life.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = running.resident("VmRSS")?;
    for _ in 0..2_000 {
        running.first_answer(Instant::now()).await?;
    }
    let (loaded, peak) = (running.resident("VmRSS")?, running.resident("VmHWM")?);
    drop(running);

    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let start = Instant::now();
        let running = Running::start(program, &source, folder.path(), &credentials)?;
        starts.push(running.first_answer(start).await?.as_secs_f64() * 1_000.0);
    }
    let from_cache = median(starts);

    let (size, idle, loaded, peak) = (size as f64 / MIB, idle / MIB, loaded / MIB, peak / MIB);
    println!(
        "Sidecar with {FLAGS} flags ({} bytes, {} compressed)",
        published.pointer.raw_size, published.pointer.size
    );
    println!("  program                  {size:>8.1} MiB   {}", verdict(size, TARGETS.0, "MiB"));
    println!("  resident memory, idle    {idle:>8.1} MiB   {}", verdict(idle, TARGETS.1, "MiB"));
    println!("  after 2,000 answers      {loaded:>8.1} MiB   {}", verdict(loaded, TARGETS.1, "MiB"));
    println!("  most so far              {peak:>8.1} MiB");
    println!(
        "  first answer, from cache {from_cache:>8.1} ms    {} (median of {STARTS})",
        verdict(from_cache, TARGETS.2, "ms")
    );
    println!("  first answer, from S3    {:>8.1} ms", from_s3.as_secs_f64() * 1_000.0);
    Ok(())
}
