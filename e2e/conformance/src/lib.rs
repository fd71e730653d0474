//! Replays recorded scenarios against the `flipt` binary: over HTTP, over gRPC and on its command line.
//!
//! The scenarios are answers of a Flipt v1.61.1 server; `README.md` beside this crate describes their format.
//! What is known to differ stands in `deviations.toml`, with the reason.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod binary;
mod command;
mod compare;
mod deviations;
mod error;
mod evaluations;
mod grpc;
pub mod http;
mod instead;
mod pattern;
mod process;
mod replay;
mod report;
mod scenario;
mod variables;
mod workspace;

pub use binary::flipt;
pub use command::{Finished, Input, run as run_command};
pub use deviations::{Deviations, Verdict};
pub use error::Error;
pub use evaluations::{Endpoint, Evaluation, document, evaluations};
pub use process::Server;
pub use replay::{Outcome, replay};
pub use report::{Areas, Line, judge};
pub use scenario::{Scenario, areas, files_of};
pub use workspace::Workspace;

use std::path::{Path, PathBuf};

/// The folder of this crate: `cases`, `evaluations` and `databases` are in it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
