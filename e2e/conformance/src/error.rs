//! Why a scenario could not be replayed at all.

use std::{io, path::PathBuf};

/// Failure of the replaying itself, as opposed to an answer that differs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Indicates that the `flipt` binary was not built.
    #[error("{0} does not exist; build it first: cargo build -p flipt")]
    NoBinary(PathBuf),
    /// Indicates a file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Indicates a case or list file in the wrong form.
    #[error("{path}: {reason}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Indicates that a process could not be run, or did not do what it was started for.
    #[error("{0}")]
    Process(String),
    /// Indicates a connection that could not be made or broke.
    #[error("connection: {0}")]
    Connection(#[from] io::Error),
    /// Indicates an answer that is not HTTP.
    #[error("not an HTTP answer: {0}")]
    NotHttp(String),
    /// Indicates a gRPC call that could not be made.
    #[error("grpc: {0}")]
    Grpc(String),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }
}
