//! Promise: what is written through one replica is evaluated by every other within a second, and no request
//! fails while replicas come and go. `make bench` does the same for ten minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use flipt_dev_databases::{Durability, MariaDb, Postgres};
use flipt_e2e::fleet::{Fleet, Load, STALENESS};

async fn agrees(url: String, reads: u32) {
    let mut fleet = Fleet::start(3, &[("FLIPT_DB_URL".to_owned(), url)]).await.unwrap();
    let load = Load {
        duration: Duration::from_secs(20),
        reads,
        writes: 20,
        restart_every: Duration::from_millis(500),
    };
    let outcome = fleet.bear(load).await.unwrap();
    println!("{outcome}");
    assert!(outcome.failures.is_empty(), "{outcome}");
    assert!(outcome.stalest <= STALENESS, "{outcome}");
    let (terminated, killed) = outcome.restarts;
    assert!(terminated > 0 && killed > 0, "{outcome}");
    assert!(outcome.writes > 100 && outcome.reads > u64::from(reads) * 5, "{outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_on_postgresql_agree_while_they_are_restarted() {
    let server = Postgres::start(Durability::Processes);
    agrees(server.create_database(), 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_on_mariadb_agree_while_they_are_restarted() {
    let server = MariaDb::start(Durability::Processes);
    agrees(server.create_database(), 300).await;
}
