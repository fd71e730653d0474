//! Private database servers from Debian packages, for tests and benchmarks: each with a folder and a port of
//! its own, started in seconds, killed at will, and gone with the process that started it.
//!
//! A server runs without syncing to disk unless it is asked to: tests end processes, not machines.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod folder;
mod mariadb;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod redis;

pub use mariadb::MariaDb;
pub use pgbouncer::PgBouncer;
pub use port::free_port;
pub use postgres::Postgres;
pub use redis::{Redis, RedisCluster};

/// Whether a server may lose what it acknowledged when the machine fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Survives the end of its processes only; fast.
    #[default]
    Processes,
    /// Survives a power cut, as in production.
    Machine,
}
