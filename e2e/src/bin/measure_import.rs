//! `make bench`, second part: how long imports and exports of the real program take.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use flipt_e2e::{Failure, Result, documents::many_flags, free_port, http};
use tempfile::TempDir;

const FLAGS: usize = 1_200;
const RUNS: usize = 5;
/// Target for the import of [`FLAGS`] flags into SQLite.
const TARGET: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("Error: name the flipt program to measure");
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

fn failed(error: std::io::Error) -> Failure {
    Failure::new(format!("measuring: {error}"))
}

fn command(program: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env("FLIPT_DB_URL", format!("file:{}", folder.join("flipt.db").display()))
        .env("FLIPT_LOG_LEVEL", "error")
        .stdout(Stdio::null());
    command
}

fn timed(program: &Path, folder: &Path, arguments: &[&str]) -> Result<Duration> {
    let start = Instant::now();
    let status = command(program, folder, arguments).status().map_err(failed)?;
    if !status.success() {
        return Err(Failure::new(format!("flipt {arguments:?} ended with {status}")));
    }
    Ok(start.elapsed())
}

fn print(what: &str, mut times: Vec<Duration>, target: Option<Duration>) {
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let verdict = match target {
        Some(target) if median <= target => format!("within the target of {} ms", target.as_millis()),
        Some(target) => format!("MISSES the target of {} ms", target.as_millis()),
        None => String::new(),
    };
    println!("  {what:<24} {:>6} ms   {verdict}", median.as_millis());
}

async fn measure(program: &Path) -> Result<()> {
    let document = many_flags(FLAGS);
    println!("{FLAGS} flags ({} bytes of YAML), {}, medians of {RUNS}", document.len(), program.display());
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let folder = TempDir::new().map_err(failed)?;
        std::fs::write(folder.path().join("in.yaml"), &document).map_err(failed)?;
        imports.push(timed(program, folder.path(), &["import", "in.yaml"])?);
        exports.push(timed(program, folder.path(), &["export", "-o", "out.yaml"])?);
    }
    print("import, new database", imports, Some(TARGET));
    print("export", exports, None);

    let folder = TempDir::new().map_err(failed)?;
    std::fs::write(folder.path().join("in.yaml"), &document).map_err(failed)?;
    let (rest, grpc) = (free_port(), free_port());
    let mut server = command(program, folder.path(), &[])
        .env("FLIPT_SERVER_HOST", "127.0.0.1")
        .env("FLIPT_SERVER_HTTP_PORT", rest.to_string())
        .env("FLIPT_SERVER_GRPC_PORT", grpc.to_string())
        .spawn()
        .map_err(failed)?;
    let measured = remotely(program, folder.path(), rest, grpc).await;
    // Whatever happened, the server goes with us.
    let _ = server.kill();
    let _ = server.wait();
    measured
}

async fn remotely(program: &Path, folder: &Path, rest: u16, grpc: u16) -> Result<()> {
    let health = format!("http://127.0.0.1:{rest}/health");
    let start = Instant::now();
    while !http::get(health.clone()).await.is_ok_and(|answer| answer.status == 200) {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(Failure::new("the server gives no answer"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for address in [format!("http://127.0.0.1:{rest}"), format!("grpc://127.0.0.1:{grpc}")] {
        let protocol = address.split(':').next().unwrap_or_default();
        let import = timed(program, folder, &["import", "--drop", "--address", &address, "in.yaml"])?;
        print(&format!("import over {protocol}"), vec![import], None);
        let export = timed(program, folder, &["export", "--address", &address])?;
        print(&format!("export over {protocol}"), vec![export], None);
    }
    Ok(())
}
