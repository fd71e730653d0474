//! How long after a write a follower of the stream sees it, against the time of the write itself.
//!
//! The floor is what nobody can beat: the API's own answer to the write, on the same connection pattern, in
//! the same run. Prints both medians with their ratio, and fails if the follower waits longer than promised.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use flipt_e2e::{Server, ServerOptions, http};
use serde_json::json;

/// Writes that are measured, after some that are not.
const ROUNDS: usize = 200;
const WARM_UP: usize = 20;
/// Flags in the namespace: each change sends the whole snapshot.
const FLAGS: usize = 200;
/// Longest median from the write's request to the follower's line.
const PROMISE: Duration = Duration::from_millis(200);

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[at]
}

fn told(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let (median, high) = (quantile(&times, 0.5), quantile(&times, 0.99));
    println!("{name:<44} median {median:>10.2?}   p99 {high:>10.2?}");
    median
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` starts benchmarks too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let server = Server::start(ServerOptions::new()).await.unwrap();
    for number in 0..FLAGS {
        let flag = json!({ "key": format!("flag-{number}"), "name": "F", "type": "BOOLEAN_FLAG_TYPE" });
        server.change("POST", "/api/v1/flags", flag).await.unwrap();
    }
    let stream = server.url("/client/v2/environments/default/namespaces/default/stream");
    let mut lines = http::request("GET", stream).open().await.unwrap();
    lines.next().await.unwrap();
    let (mut answers, mut seen) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let change = json!({ "name": format!("round {round}"), "enabled": round % 2 == 0 });
        let start = Instant::now();
        let writing = async {
            server.change("PUT", "/api/v1/flags/flag-0", change).await.unwrap();
            start.elapsed()
        };
        let following = async {
            lines.next().await.unwrap();
            start.elapsed()
        };
        let (answer, line) = tokio::join!(writing, following);
        if round >= WARM_UP {
            answers.push(answer);
            seen.push(line);
        }
    }
    println!("{ROUNDS} changes, {FLAGS} flags in the namespace, loopback");
    let floor = told("floor: the API answers the write", answers);
    let median = told("the follower has the new state", seen);
    println!("ratio to the floor: {:.2}", median.as_secs_f64() / floor.as_secs_f64());
    assert!(median <= PROMISE, "a follower waits {median:?} (median), promised: {PROMISE:?}");
}
