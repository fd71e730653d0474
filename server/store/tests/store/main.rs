//! The promises of the store, on every database: real SQLite files, a real PostgreSQL, a real MariaDB, and
//! PostgreSQL in the dialect of CockroachDB.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod databases;
mod drivers;
mod faults;
mod lists;
mod ownership;
mod replicas;
mod revisions;
mod schema;
mod writes;
