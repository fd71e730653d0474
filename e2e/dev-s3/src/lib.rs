//! S3-compatible server over a folder, for tests and the demo.
//!
//! It answers conditional requests the way S3 does, which is what the snapshot protocol rests on: of several
//! racing `If-Match` writes exactly one wins, and `If-None-Match` reads are answered with 304. It is no
//! storage for production.

#![forbid(unsafe_code)]

mod backend;
mod serve;

pub use serve::{create_bucket, serve};
