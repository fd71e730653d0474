//! Three replicas on one PostgreSQL under a mixed load, while they are ended and started again one after the
//! other: for ten minutes, or for `LOAD_SECONDS`.
//!
//! Prints what came of it, and fails if an answer was more than a second behind, a request failed, or a write was
//! lost or made twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use flipt_dev_databases::{Durability, Postgres};
use flipt_e2e::fleet::{Fleet, Load, STALENESS};

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` starts benchmarks too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let seconds = std::env::var("LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let postgres = Postgres::start(Durability::Machine);
    let mut fleet =
        Fleet::start(3, &[("FLIPT_DB_URL".to_owned(), postgres.create_database())]).await.unwrap();
    let load = Load {
        duration: Duration::from_secs(seconds),
        reads: 2_000,
        writes: 20,
        restart_every: Duration::from_secs(8),
    };
    let revision = || -> u64 {
        let sql = "SELECT revision FROM environments WHERE key = 'default'";
        postgres.psql("test_0", sql).parse().unwrap()
    };
    let outcome = fleet.bear(load).await.unwrap();
    println!("three replicas on PostgreSQL, {seconds} s, 2,000 evaluations/s, 20 writes/s\n{outcome}");
    // Every write is one revision; before them were three for each of the twenty counters, and the first.
    let made = revision() - 61;
    println!("revisions    {made:>9}   of {} acknowledged writes", outcome.writes);
    assert!(outcome.failures.is_empty() && outcome.stalest <= STALENESS, "{outcome}");
    // A try that broke off may have been made, and is then made again: the same change, with a revision of its own.
    assert!(made >= outcome.writes && made <= outcome.writes + outcome.retries, "{made} revisions");
}
