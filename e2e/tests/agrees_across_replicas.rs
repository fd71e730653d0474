//! Promise: what is written through one replica is evaluated by every other within a second, and no request
//! fails while replicas come and go. `make bench` does the same for ten minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use flipt_dev_databases::{Durability, MariaDb, Postgres};
use flipt_e2e::fleet::{Fleet, Load, STALENESS};

/// Puts the load on three replicas, each time on a new database.
async fn agrees(create_database: impl Fn() -> String) {
    let load = Load {
        duration: Duration::from_secs(20),
        reads: 300,
        writes: 20,
        restart_every: Duration::from_millis(500),
    };
    // The best of three, as a busy machine makes answers late as well; it makes no request fail.
    for _ in 0..3 {
        let mut fleet = Fleet::start(3, &[("FLIPT_DB_URL".to_owned(), create_database())]).await.unwrap();
        let outcome = fleet.bear(load).await.unwrap();
        println!("{outcome}");
        assert!(outcome.failures.is_empty(), "{outcome}");
        let (terminated, killed) = outcome.restarts;
        assert!(terminated > 0 && killed > 0, "{outcome}");
        assert!(outcome.writes > 20 && outcome.reads > 300, "{outcome}");
        if outcome.stalest <= STALENESS {
            return;
        }
    }
    panic!("an answer was older than {STALENESS:?} under each of three loads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_on_postgresql_agree_while_they_are_restarted() {
    let server = Postgres::start(Durability::Processes);
    agrees(|| server.create_database()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_on_mariadb_agree_while_they_are_restarted() {
    let server = MariaDb::start(Durability::Processes);
    agrees(|| server.create_database()).await;
}
