//! Snapshots of flag state: published to S3 or a folder, and followed from there.
//!
//! - [`format`](mod@format): the bytes. A small *pointer* names the current *object*; objects are immutable
//!   and named by the digest of their content.
//! - [`store`]: where the bytes are. S3 and a folder behind one trait, with conditional writes.
//! - [`publish`](mod@publish): the writer. It moves the pointer by compare-and-swap, so several may run.
//! - [`follow`]: the reader. Whatever goes wrong, it keeps what it has: a failed load is an error, never an
//!   empty set of flags.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod follow;
pub mod format;
pub mod publish;
pub mod store;

pub use follow::{Follower, Status};
pub use format::{Digest, Pointer};
pub use publish::publish;
pub use store::{Location, Store, open};
