//! Promise: clients that go away in the middle of a request take nothing with them: no connection to the database is
//! lost, and no write is half made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use flipt_dev_databases::{Durability, MariaDb, Postgres};
use flipt_e2e::{Server, ServerOptions, http};
use serde_json::json;

/// Requests that are given up, in rounds of as many as the server has connections, and more.
const ROUNDS: u64 = 60;
const AT_ONCE: u64 = 8;

async fn survives(url: String, prepared: &str) {
    let settings = [
        ("FLIPT_DB_URL".to_owned(), url),
        ("FLIPT_DB_MAX_OPEN_CONN".to_owned(), "3".to_owned()),
        ("FLIPT_DB_PREPARED_STATEMENTS_ENABLED".to_owned(), prepared.to_owned()),
    ];
    let server = Server::start(ServerOptions::new().with_env(settings)).await.unwrap();
    let flags = "/api/v1/namespaces/default/flags";
    for number in 0..20 {
        let body = json!({ "key": format!("f{number}"), "name": "F", "type": "BOOLEAN_FLAG_TYPE" });
        server.change("POST", flags, body).await.unwrap();
    }
    let (list, one) = (server.url(flags), server.url(&format!("{flags}/f1")));
    let mut given_up = 0;
    for round in 0..ROUNDS {
        let requests = (0..AT_ONCE).map(|number| {
            let (list, one) = (list.clone(), one.clone());
            // From "not even read" to "almost answered".
            let patience = Duration::from_micros((round * 97 + number * 613) % 12_000);
            tokio::spawn(async move {
                let request = match number % 3 {
                    0 => http::request("PUT", one).json(&json!({ "name": "F", "enabled": round % 2 == 0 })),
                    1 => http::request("GET", list),
                    _ => http::request("GET", one),
                };
                tokio::time::timeout(patience, request.send()).await.is_err()
            })
        });
        for request in requests.collect::<Vec<_>>() {
            given_up += u64::from(request.await.unwrap());
        }
    }
    assert!(given_up > ROUNDS, "{given_up}");
    let known = server.errors().await.unwrap();
    // Every connection is asked: more requests at once than there are. On a busy machine one may be late, but not always.
    let all_answer = async || {
        let requests = (0..12).map(|number| {
            let (list, one) = (list.clone(), one.clone());
            tokio::spawn(async move {
                let request = match number % 2 {
                    0 => http::request("GET", list),
                    _ => http::request("PUT", one).json(&json!({ "name": "F", "enabled": true })),
                };
                request.send().await.unwrap().status
            })
        });
        let mut all = true;
        for request in requests.collect::<Vec<_>>() {
            let status = request.await.unwrap();
            assert!(matches!(status, 200 | 503), "{status}");
            all &= status == 200;
        }
        all
    };
    assert!(all_answer().await || all_answer().await || all_answer().await, "{}", server.logs());
    // A broken connection is no reason to be late.
    assert_eq!(server.errors().await.unwrap(), known);
    assert!(server.boolean("f1", "e").await.unwrap());
    println!("{given_up} requests given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_give_up_cost_no_connection_to_postgresql() {
    let server = Postgres::start(Durability::Processes);
    survives(server.create_database(), "true").await;
    survives(server.create_database(), "false").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_give_up_cost_no_connection_to_mariadb() {
    let server = MariaDb::start(Durability::Processes);
    survives(server.create_database(), "true").await;
    survives(server.create_database(), "false").await;
}
