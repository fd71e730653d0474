//! The listener: serves the S3 operations over HTTP until told to stop.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::backend::{Backend, OneKey};

/// How long requests under way may take once shutdown began.
const DRAIN: Duration = Duration::from_secs(2);

/// Creates the bucket `name` in `root` unless it exists.
///
/// # Errors
///
/// `InvalidInput` if `name` is no bucket name (3 to 63 of `a-z`, `0-9`, `-`, `.`); otherwise what the file
/// system answers.
pub fn create_bucket(root: &Path, name: &str) -> io::Result<()> {
    let valid = (3..=63).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    if !valid {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no bucket name")));
    }
    std::fs::create_dir_all(root.join(name))
}

/// Serves the folder `root` as S3 on `listener` until `shutdown` completes; then lets requests under way
/// finish for at most two seconds.
///
/// Every first-level directory of `root` is a bucket. Requests must carry a signature (version 4) made with
/// the key pair; anything else is refused.
///
/// # Errors
///
/// If `root` is no directory.
pub async fn serve(
    listener: TcpListener,
    root: &Path,
    access_key: &str,
    secret_key: &str,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let root = root.canonicalize()?;
    let files = FileSystem::new(&root).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let service = {
        let mut builder = S3ServiceBuilder::new(Backend::new(files, root));
        builder.set_auth(OneKey::new(access_key, secret_key));
        builder.build()
    };
    let http = Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors, usually: do not spin until some are closed.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = shutdown.as_mut() => break,
        };
        let connection = http.serve_connection(TokioIo::new(socket), service.clone());
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests under way were cut off");
    }
    Ok(())
}
