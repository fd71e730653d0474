//! The real programs, started, killed and asked: what end-to-end tests and the demo stand on.
//!
//! Nothing here imitates a part of the product. [`Server`] is the `flipt` program on a SQLite file, [`Sidecar`]
//! is `flipt-sidecar`, [`S3`] is an S3-compatible server over a folder; each is a process of its own on free
//! ports, with a folder of its own, and ends with its value. [`Signer`] stands for the cluster that signs
//! service account tokens.
//!
//! ```no_run
//! # async fn example() -> flipt_e2e::Result<()> {
//! use flipt_e2e::{S3, Server, ServerOptions, Sidecar, SidecarOptions};
//!
//! let s3 = S3::start(&["flags"]).await?;
//! let server = Server::start(ServerOptions::new().publish_to(&s3.at("flags/prod")).with_env(s3.credentials())).await?;
//! let sidecar = Sidecar::start(SidecarOptions::new(s3.at("flags/prod")).with_env(s3.credentials())).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_server;
mod binaries;
mod cli;
mod clients;
pub mod documents;
mod failure;
pub mod fleet;
pub mod grpc;
pub mod http;
mod process;
mod s3;
mod server;
mod sidecar;
mod signer;
mod wait;

pub use api_server::ApiServer;
pub use binaries::Binaries;
pub use cli::{Cli, Finished};
pub use clients::Client;
pub use failure::{Failure, Result};
pub use flipt_dev_databases::free_port;
pub use process::Process;
pub use s3::S3;
pub use server::{Server, ServerOptions};
pub use sidecar::{Auth, Sidecar, SidecarOptions};
pub use signer::{Claims, Signer, jwks, write_jwks};
pub use wait::{BEFORE_THE_KUBELET, PATIENCE, look_until, until, until_some};
