//! What a change of one flag costs the server that makes it, and another one that follows, with 100 flags and
//! with 10,000, each with ten rules; and how long a start takes.
//!
//! The floor is the same change with 100 flags, in the same run. Fails if the ratio or the start is worse than
//! promised.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use flipt_dev_databases::{Durability, Postgres};
use flipt_e2e::{Cli, PATIENCE, Server, ServerOptions, http, until};
use serde_json::json;

/// Flags that are compared.
const SIZES: [usize; 2] = [100, 10_000];
const RULES: usize = 10;
/// Changes that are measured, after some that are not.
const CHANGES: usize = 400;
const WARM_UP: usize = 40;
/// Creations, each followed by a deletion.
const CREATIONS: usize = 200;
/// Most that a change may cost with many flags, as a multiple of its cost with few.
const RATIO: f64 = 2.0;
/// Longest start with many flags.
const START: Duration = Duration::from_secs(3);

fn document(flags: usize) -> String {
    let mut text = String::from("namespace: default\nflags:\n");
    for flag in 0..flags {
        writeln!(text, "- key: flag-{flag}\n  name: Flag {flag}\n  enabled: true\n  type: VARIANT_FLAG_TYPE\n  variants:\n  - key: a\n  - key: b\n  rules:").unwrap();
        for rule in 0..RULES {
            writeln!(text, "  - segment: segment-{rule}\n    distributions:\n    - variant: a\n      rollout: 50\n    - variant: b\n      rollout: 50").unwrap();
        }
    }
    text.push_str("segments:\n");
    for segment in 0..RULES {
        writeln!(text, "- key: segment-{segment}\n  name: S\n  match_type: ALL_MATCH_TYPE\n  constraints:\n  - type: STRING_COMPARISON_TYPE\n    property: group\n    operator: eq\n    value: g{segment}").unwrap();
    }
    text
}

/// CPU time and statements of a server so far.
async fn spent(server: &mut Server) -> (f64, u64) {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.process().id())).unwrap();
    // After the name in brackets come the fields from the third one on; times are in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let metrics = http::get(server.url("/metrics")).await.unwrap().text();
    let line = metrics.lines().find(|line| line.starts_with("flipt_database_statements_total")).unwrap();
    (ticks * 10.0, line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Cost of one change: milliseconds of CPU and statements, of the writer and of a follower; without what both
/// spend when nothing changes.
struct Cost {
    start: Duration,
    writer: (f64, f64),
    follower: (f64, f64),
    /// CPU of the writer for creating a flag and deleting it again, in milliseconds.
    creation: f64,
}

async fn change(server: &Server, number: usize) {
    let body = json!({ "name": format!("change {number}"), "enabled": number.is_multiple_of(2) });
    server.change("PUT", "/api/v1/namespaces/default/flags/flag-50", body).await.unwrap();
}

async fn measure(url: &str, flags: usize) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let database = [("FLIPT_DB_URL".to_owned(), url.to_owned())];
    let cli = Cli::new(folder.path()).unwrap().with_env(database.clone());
    let imported = cli.run_with_input(&["import", "--stdin"], &document(flags)).unwrap();
    imported.success().unwrap();
    let options = || ServerOptions::new().with_env(database.clone());
    let begin = Instant::now();
    let mut writer = Server::start(options()).await.unwrap();
    let start = begin.elapsed();
    let mut follower = Server::start(options()).await.unwrap();
    for number in 0..WARM_UP {
        change(&writer, number).await;
    }
    // What a second of doing nothing costs.
    let before = (spent(&mut writer).await, spent(&mut follower).await);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = (spent(&mut writer).await, spent(&mut follower).await);
    let idle = |before: (f64, u64), after: (f64, u64)| {
        ((after.0 - before.0) / 4.0, (after.1 - before.1) as f64 / 4.0)
    };
    let idle = (idle(before.0, after.0), idle(before.1, after.1));
    let before = after;
    let begin = Instant::now();
    for number in 0..CHANGES {
        change(&writer, number).await;
    }
    let body = json!({ "name": "the last one", "enabled": false });
    writer.change("PUT", "/api/v1/namespaces/default/flags/flag-50", body).await.unwrap();
    until("the follower has seen the last change", PATIENCE, || async {
        let evaluation = json!({ "flagKey": "flag-50", "entityId": "e", "context": {} });
        let answer = follower.call("POST", "/evaluate/v1/variant", &evaluation).await.unwrap();
        answer.json()["reason"] == "FLAG_DISABLED_EVALUATION_REASON"
    })
    .await
    .unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let after = (spent(&mut writer).await, spent(&mut follower).await);
    let cost = |before: (f64, u64), after: (f64, u64), idle: (f64, f64)| {
        let changes = (CHANGES + 1) as f64;
        let cpu = (after.0 - before.0 - idle.0 * seconds) / changes;
        (cpu, ((after.1 - before.1) as f64 - idle.1 * seconds) / changes)
    };
    let (writer_cost, follower_cost) = (cost(before.0, after.0, idle.0), cost(before.1, after.1, idle.1));
    let before = spent(&mut writer).await;
    let begin = Instant::now();
    for number in 0..CREATIONS {
        let key = format!("new-{number}");
        let body = json!({ "key": key, "name": key, "type": "BOOLEAN_FLAG_TYPE" });
        writer.change("POST", "/api/v1/namespaces/default/flags", body).await.unwrap();
        let path = format!("/api/v1/namespaces/default/flags/{key}");
        writer.change("DELETE", &path, json!({})).await.unwrap();
    }
    let after = spent(&mut writer).await;
    let creation = (after.0 - before.0 - idle.0.0 * begin.elapsed().as_secs_f64()) / CREATIONS as f64;
    Cost { start, writer: writer_cost, follower: follower_cost, creation }
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` starts benchmarks too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let postgres = Postgres::start(Durability::Processes);
    let folder = tempfile::tempdir().unwrap();
    let mut broken = Vec::new();
    for kind in ["SQLite", "PostgreSQL"] {
        let mut costs = Vec::new();
        for flags in SIZES {
            let url = match kind {
                "SQLite" => format!("file:{}/{flags}.db", folder.path().display()),
                _ => postgres.create_database(),
            };
            let cost = measure(&url, flags).await;
            println!(
                "{kind:<10} {flags:>6} flags x {RULES} rules   start {:>6.2} s   a change: writer {:.2} ms CPU, {:.1} statements; follower {:.2} ms CPU, {:.1} statements",
                cost.start.as_secs_f64(),
                cost.writer.0,
                cost.writer.1,
                cost.follower.0,
                cost.follower.1
            );
            costs.push(cost);
        }
        let [few, many] = costs.as_slice() else { continue };
        // Told, not promised: whoever creates or deletes copies the index of keys.
        println!(
            "{kind:<10} creation and deletion  {:.2} x   ({:.2} ms and {:.2} ms CPU)",
            many.creation / few.creation,
            few.creation,
            many.creation
        );
        let mut ratios = vec![
            ("writer, CPU", many.writer.0 / few.writer.0),
            ("writer, statements", many.writer.1 / few.writer.1),
        ];
        // Nobody follows on SQLite but a command now and then; it catches up with many changes at once, and what a
        // single one costs is less than can be measured.
        if kind != "SQLite" {
            ratios.push(("follower, CPU", many.follower.0 / few.follower.0));
            ratios.push(("follower, statements", many.follower.1 / few.follower.1));
        }
        for (name, ratio) in ratios {
            println!("{kind:<10} {name:<22} {ratio:.2} x");
            if ratio >= RATIO {
                broken.push(format!("{kind}: {name}: {ratio:.2}"));
            }
        }
        if many.start >= START {
            broken.push(format!("{kind}: start after {:?}", many.start));
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}
