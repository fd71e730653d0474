//! Snapshots of flag state: published to S3 or a folder, and followed from there or from a running server.
//!
//! - [`format`](mod@format): the bytes. A small *pointer* names the current *object*; objects are immutable
//!   and named by the digest of their content.
//! - [`signature`]: who vouches for a pointer.
//! - [`store`]: where the bytes are. S3 and a folder behind one trait, with conditional writes; a running server and
//!   a document to read from.
//! - [`publish`](mod@publish): the writer. It moves the pointer by compare-and-swap, so several may run.
//! - [`follow`]: the reader. Whatever goes wrong, it keeps what it has: a failed load is an error, never an
//!   empty set of flags.
//! - [`selection`]: a part of the namespaces.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod follow;
pub mod format;
pub mod publish;
pub mod selection;
pub mod signature;
pub mod store;

pub use follow::{Follower, Status};
pub use format::{Digest, Pointer};
pub use publish::publish;
pub use selection::Selection;
pub use signature::{SigningKey, VerifyKeys};
pub use store::{Location, Store, open};
