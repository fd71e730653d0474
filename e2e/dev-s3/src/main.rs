//! Command line of the S3 server for tests and the demo.

#![forbid(unsafe_code)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// S3-compatible server over a folder, for tests and the demo.
#[derive(Parser)]
#[command(name = "dev-s3", version)]
struct Options {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Folder with the data; created if missing.
    #[arg(long)]
    root: PathBuf,
    /// Access key that requests must be signed with.
    #[arg(long, env = "DEV_S3_ACCESS_KEY")]
    access_key: String,
    /// Secret key that requests must be signed with.
    #[arg(long, env = "DEV_S3_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
    /// Bucket to create if missing; may be given several times.
    #[arg(long)]
    bucket: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "dev-s3 failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> std::io::Result<()> {
    std::fs::create_dir_all(&options.root)?;
    for bucket in &options.bucket {
        flipt_dev_s3::create_bucket(&options.root, bucket)?;
    }
    let listener = TcpListener::bind(options.listen).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Whoever started us waits for this line.
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    flipt_dev_s3::serve(listener, &options.root, &options.access_key, &options.secret_key, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}
