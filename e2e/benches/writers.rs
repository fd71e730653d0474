//! How many writes a server takes when 64 clients write at once, on each database.
//!
//! The floor is a single client in the same run. Every acknowledged write must be there at the end, and none may
//! fail (Flipt on SQLite: with eight clients half of the writes fail with "database is locked").

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use flipt_dev_databases::{Durability, MariaDb, Postgres};
use flipt_e2e::{Server, ServerOptions, http};
use serde_json::json;
use tokio::task::JoinSet;

const DURATION: Duration = Duration::from_secs(8);
const CLIENTS: usize = 64;

/// Writes per second of this many clients, each of which creates flags; with how many failed.
async fn rate(server: &Server, clients: usize, name: &str) -> (f64, u64) {
    let (written, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let url = server.url("/api/v1/namespaces/default/flags");
        let (written, failed) = (Arc::clone(&written), Arc::clone(&failed));
        let name = format!("{name}-{client}");
        tasks.spawn(async move {
            for number in 0.. {
                if start.elapsed() > DURATION {
                    return;
                }
                let key = format!("{name}-{number}");
                let body = json!({ "key": key, "name": key, "type": "BOOLEAN_FLAG_TYPE" });
                match http::request("POST", url.clone()).json(&body).send().await {
                    Ok(answer) if answer.status == 200 => written.fetch_add(1, Ordering::Relaxed),
                    other => {
                        eprintln!("{other:?}");
                        failed.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
        });
    }
    tasks.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    let written = written.load(Ordering::Relaxed);
    let list = http::get(server.url("/api/v1/namespaces/default/flags")).await.unwrap().json();
    let listed = list["flags"].as_array().unwrap();
    let prefix = format!("{name}-");
    let there = listed.iter().filter(|flag| flag["key"].as_str().unwrap().starts_with(&prefix)).count();
    assert_eq!(there as u64, written, "acknowledged writes that are there");
    (written as f64 / seconds, failed.load(Ordering::Relaxed))
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` starts benchmarks too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let postgres = Postgres::start(Durability::Machine);
    let mariadb = MariaDb::start(Durability::Machine);
    let folder = tempfile::tempdir().unwrap();
    let databases = [
        ("SQLite", format!("file:{}/flipt.db", folder.path().display())),
        ("PostgreSQL", postgres.create_database()),
        ("MariaDB", mariadb.create_database()),
    ];
    for (name, url) in databases {
        let options = ServerOptions::new().with_env([("FLIPT_DB_URL".to_owned(), url)]);
        let server = Server::start(options).await.unwrap();
        let (alone, failed_alone) = rate(&server, 1, "alone").await;
        let (together, failed) = rate(&server, CLIENTS, "together").await;
        println!(
            "{name:<10} one client {alone:>6.0} writes/s, {CLIENTS} clients {together:>6.0} writes/s ({:.2} x), {failed} failed",
            together / alone
        );
        assert_eq!(failed + failed_alone, 0, "failed writes");
    }
}
