//! Promises of publishing and following, kept on a folder and on S3 alike.
//!
//! S3 is the real protocol: the SDK's client against the server of `flipt-dev-s3` on the loopback.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod place;
mod cache;
mod canonical;
mod damage;
mod failures;
mod follow;
mod garbage;
mod publish;
mod race;
mod selection;
mod server;
mod signed;
mod sources;
