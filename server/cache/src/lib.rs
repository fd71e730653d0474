//! Reads answered from a cache instead of the database: management, snapshots for client-side engines,
//! credentials (storage spec, section 8). Evaluations need none, because their state is in memory anyway.
//!
//! # Guarantees
//! - What is cached is named by the revision of what it is a part of, which is taken from memory before the
//!   database is read. A write moves the revision before it is answered: on the replica that wrote, nothing
//!   older can be found any more. Other replicas follow when they learn the revision, whatever the `ttl`.
//! - A cache that fails is passed over: the database answers, a little later.
//! - Nothing but answers is cached: neither errors nor the absence of something.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod authentications;
mod cache;
mod environment;
mod key;
mod memory;
mod metrics;
mod ownership;
mod redis;
mod store;
mod value;

pub use authentications::CachedAuthentications;
pub use cache::Cache;
pub use environment::Cached;
pub use redis::ConnectError;
