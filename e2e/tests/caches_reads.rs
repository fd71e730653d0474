//! Promise: a cache saves the database work, and never shows itself in an answer: not after a write, not on
//! another server, and not when it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use flipt_dev_databases::{Durability, Postgres, Redis, RedisCluster, free_port};
use flipt_e2e::{PATIENCE, Server, ServerOptions, http, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

const ROOT: &str = "root-token-of-the-tests";
const PASSWORD: &str = "s3cret-of-redis";

/// How soon servers on one database agree.
const AGREEMENT: Duration = Duration::from_secs(1);

/// How soon they do under a load that takes all of a machine. An answer that the cache kept would live on for minutes.
const AGREEMENT_UNDER_LOAD: Duration = Duration::from_secs(10);

/// What a server says when Redis does not answer in time.
const OUTAGE: &str = "redis does not answer";

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (format!("FLIPT_{name}"), (*value).to_owned())).collect()
}

fn memory() -> Vec<(String, String)> {
    variables(&[("CACHE_ENABLED", "true"), ("CACHE_TTL", "10m")])
}

fn redis(port: u16) -> Vec<(String, String)> {
    let port = port.to_string();
    let pairs = [("CACHE_BACKEND", "redis"), ("CACHE_REDIS_HOST", "127.0.0.1"), ("CACHE_REDIS_PORT", &port)];
    [memory(), variables(&pairs)].concat()
}

/// Callers need credentials; the first token is known.
fn authenticated() -> Vec<(String, String)> {
    variables(&[
        ("AUTHENTICATION_REQUIRED", "true"),
        ("AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
        ("AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", ROOT),
    ])
}

async fn start(folder: &Path, environment: &[&[(String, String)]]) -> Server {
    let options = ServerOptions::new().in_folder(folder).with_env(environment.concat());
    Server::start(options).await.unwrap()
}

/// Changes what is stored without any server's knowledge.
async fn behind_their_backs(folder: &Path, sql: &str) {
    let url = format!("sqlite:{}", folder.join("flipt.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let changed = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql}");
    connection.close().await.unwrap();
}

async fn get(server: &Server, path: &str) -> Value {
    let answer = http::request("GET", server.url(path)).bearer(Some(ROOT)).send().await.unwrap();
    answer.ok().unwrap_or_else(|failure| panic!("{path}: {failure}"))
}

async fn change(server: &Server, method: &str, path: &str, body: Value) -> Value {
    let request = http::request(method, server.url(path)).bearer(Some(ROOT)).json(&body);
    request.send().await.unwrap().ok().unwrap_or_else(|failure| panic!("{method} {path}: {failure}"))
}

/// Hits, misses and errors.
async fn counts(server: &Server, cache: &str) -> [f64; 3] {
    let metrics = http::get(server.url("/metrics")).await.unwrap();
    ["hit", "miss", "error"].map(|kind| {
        let name = format!("flipt_cache_{kind}_total{{cache=\"{cache}\"}}");
        metrics.metric(&name).unwrap_or_else(|| panic!("{name} is missing"))
    })
}

/// Whether Redis was late once, which takes no more than a machine that is busy for half a second. Until it has
/// answered again, the database answers, and the counts are others.
fn had_an_outage(server: &Server) -> bool {
    server.logs().contains(OUTAGE)
}

/// Plays a round until there was no outage in it, at most three times. It tells whether there was none.
async fn undisturbed<F: Future<Output = bool>>(mut round: impl FnMut() -> F) {
    for _ in 0..3 {
        if round().await {
            return;
        }
    }
    panic!("redis was late in each of three rounds");
}

async fn create_flag(server: &Server, key: &str, kind: &str) -> Value {
    let flag = json!({ "key": key, "name": key, "type": kind, "enabled": true });
    change(server, "POST", "/api/v1/namespaces/default/flags", flag).await
}

/// Everything that reads can show of a namespace.
fn everything() -> Vec<String> {
    let mut paths = vec![
        "/api/v1/namespaces".to_owned(),
        "/api/v1/namespaces?limit=1".to_owned(),
        "/api/v2/environments/default/namespaces".to_owned(),
    ];
    for namespace in ["default", "team"] {
        let v1 = format!("/api/v1/namespaces/{namespace}");
        let v2 = format!("/api/v2/environments/default/namespaces/{namespace}/resources");
        paths.push(v1.clone());
        for list in ["flags", "flags?limit=1", "segments", "flags/v", "flags/b", "segments/s"] {
            paths.push(format!("{v1}/{list}"));
        }
        for list in ["flags/v/rules", "flags/b/rules", "flags/b/rollouts", "flags/b/rollouts?limit=1"] {
            paths.push(format!("{v1}/{list}"));
        }
        for resource in ["flipt.core.Flag", "flipt.core.Segment", "flipt.core.Flag/v", "flipt.core.Segment/s"]
        {
            paths.push(format!("{v2}/{resource}"));
        }
    }
    paths
}

/// What a server answers to each path, whatever it is.
async fn answers(server: &Server, paths: &[String]) -> Vec<(String, u16, Value)> {
    let mut all = Vec::new();
    for path in paths {
        let answer = http::get(server.url(path)).await.unwrap();
        all.push((path.clone(), answer.status, answer.json()));
    }
    all
}

#[tokio::test]
async fn what_is_cached_is_not_read_from_the_database_and_a_write_ends_that() {
    let server = Redis::start();
    for (name, cache) in [("memory", memory()), ("redis", redis(server.port()))] {
        undisturbed(|| is_read_from_the_cache_until_a_write(name, &cache)).await;
    }
}

/// A round with one cache.
async fn is_read_from_the_cache_until_a_write(name: &str, cache: &[(String, String)]) -> bool {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path(), &[cache, &authenticated()]).await;
    let other = json!({ "key": "other", "name": "other" });
    change(&server, "POST", "/api/v1/namespaces", other).await;
    create_flag(&server, "v", "VARIANT_FLAG_TYPE").await;
    let segment = json!({ "key": "s", "name": "s", "matchType": "ALL_MATCH_TYPE" });
    change(&server, "POST", "/api/v1/namespaces/default/segments", segment).await;
    let rule = json!({ "segmentKey": "s", "rank": 1 });
    let rule = change(&server, "POST", "/api/v1/namespaces/default/flags/v/rules", rule).await;
    create_flag(&server, "b", "BOOLEAN_FLAG_TYPE").await;
    let rollout = json!({ "rank": 1, "description": "before", "threshold": { "percentage": 50 } });
    let rollout = change(&server, "POST", "/api/v1/namespaces/default/flags/b/rollouts", rollout).await;
    let v1 = "/api/v1/namespaces/default";
    let v2 = "/api/v2/environments/default/namespaces/default/resources";
    let paths = [
        "/auth/v1/self".to_owned(),
        "/api/v1/namespaces".to_owned(),
        v1.to_owned(),
        format!("{v1}/flags/v"),
        format!("{v1}/flags"),
        format!("{v1}/segments/s"),
        format!("{v1}/segments"),
        format!("{v1}/flags/v/rules/{}", rule["id"].as_str().unwrap()),
        format!("{v1}/flags/v/rules"),
        format!("{v1}/flags/b/rollouts/{}", rollout["id"].as_str().unwrap()),
        format!("{v1}/flags/b/rollouts"),
        "/api/v2/environments/default/namespaces".to_owned(),
        format!("{v2}/flipt.core.Flag/v"),
        format!("{v2}/flipt.core.Flag"),
        format!("{v2}/flipt.core.Segment/s"),
        format!("{v2}/flipt.core.Segment"),
        "/internal/v1/evaluation/snapshot/namespace/default".to_owned(),
    ];
    let mut before = Vec::new();
    for path in &paths {
        before.push(get(&server, path).await);
    }
    for table in ["namespaces", "flags", "segments"] {
        behind_their_backs(folder.path(), &format!("UPDATE {table} SET name = 'changed'")).await;
    }
    for (table, column) in [("rules", "rank"), ("rollouts", "rank")] {
        behind_their_backs(folder.path(), &format!("UPDATE {table} SET {column} = 7")).await;
    }
    behind_their_backs(folder.path(), "UPDATE authentications SET metadata = '{\"changed\":\"yes\"}'").await;

    let [hits, misses, _] = counts(&server, name).await;
    let mut again = Vec::new();
    for path in &paths {
        again.push(get(&server, path).await);
    }
    let [more_hits, more_misses, errors] = counts(&server, name).await;
    if had_an_outage(&server) {
        return false;
    }
    for (path, (again, before)) in paths.iter().zip(again.iter().zip(&before)) {
        assert_eq!(again, before, "{name} {path}");
    }
    // Each request also looks up its credentials. The last path is answered from what the process has encoded.
    let lookups = paths.len() * 2 - 1 - 1;
    assert!(more_hits - hits >= f64::from(u32::try_from(lookups).unwrap()), "{name}: {}", more_hits - hits);
    assert_eq!((more_misses - misses, errors), (0.0, 0.0), "{name}");

    // A write elsewhere changes nothing of that, but the list of namespaces.
    let flag = json!({ "key": "x", "name": "x" });
    change(&server, "POST", "/api/v1/namespaces/other/flags", flag).await;
    assert_ne!(get(&server, "/api/v1/namespaces").await, before[1], "{name}");
    // One in the namespace shows all that is stored.
    change(&server, "PUT", &format!("{v1}/flags/b"), json!({ "name": "b", "enabled": true })).await;
    let expired = change(&server, "POST", "/auth/v1/method/token", json!({ "name": "t" })).await;
    let id = expired["authentication"]["id"].as_str().unwrap();
    change(&server, "DELETE", &format!("/auth/v1/tokens/{id}"), json!({})).await;
    for (path, before) in paths.iter().zip(&before) {
        let now = get(&server, path).await;
        assert_ne!(now, *before, "{name} {path}");
    }
    true
}

/// One write of each kind, by the path that it goes to and with the identifiers that earlier ones answered.
async fn write(server: &Server, step: usize, ids: &mut Vec<String>) -> bool {
    let namespace = if step < 100 { "default" } else { "team" };
    let v1 = format!("/api/v1/namespaces/{namespace}");
    let v2 = "/api/v2/environments/default/namespaces/default/resources";
    let id = |ids: &[String], number: usize| ids[number].clone();
    let (method, path, body) = match step {
        0 => ("POST", "/api/v1/namespaces".to_owned(), json!({ "key": "team", "name": "Team" })),
        1 => ("PUT", "/api/v1/namespaces/team".to_owned(), json!({ "name": "New team" })),
        2 => ("POST", format!("{v1}/flags"), json!({ "key": "v", "name": "V", "enabled": true })),
        3 => ("POST", format!("{v1}/flags"), json!({ "key": "b", "name": "B", "type": "BOOLEAN_FLAG_TYPE" })),
        4 => ("PUT", format!("{v1}/flags/v"), json!({ "name": "VV", "description": "d", "enabled": true })),
        5 => ("POST", format!("{v1}/flags/v/variants"), json!({ "key": "a", "attachment": "{\"x\":1}" })),
        6 => ("PUT", format!("{v1}/flags/v/variants/{}", id(ids, 5)), json!({ "key": "aa" })),
        7 => (
            "POST",
            format!("{v1}/segments"),
            json!({ "key": "s", "name": "S", "matchType": "ANY_MATCH_TYPE" }),
        ),
        8 => ("PUT", format!("{v1}/segments/s"), json!({ "name": "SS", "matchType": "ALL_MATCH_TYPE" })),
        9 => {
            let constraint =
                json!({ "type": "STRING_COMPARISON_TYPE", "property": "p", "operator": "eq", "value": "1" });
            ("POST", format!("{v1}/segments/s/constraints"), constraint)
        }
        10 => {
            let constraint =
                json!({ "type": "STRING_COMPARISON_TYPE", "property": "p", "operator": "eq", "value": "2" });
            ("PUT", format!("{v1}/segments/s/constraints/{}", id(ids, 9)), constraint)
        }
        11 | 12 => ("POST", format!("{v1}/flags/v/rules"), json!({ "segmentKey": "s", "rank": step - 10 })),
        13 => ("PUT", format!("{v1}/flags/v/rules/order"), json!({ "ruleIds": [id(ids, 12), id(ids, 11)] })),
        14 => {
            let distribution = json!({ "variantId": id(ids, 5), "rollout": 60 });
            ("POST", format!("{v1}/flags/v/rules/{}/distributions", id(ids, 11)), distribution)
        }
        15 => {
            let path = format!("{v1}/flags/v/rules/{}/distributions/{}", id(ids, 11), id(ids, 14));
            ("PUT", path, json!({ "variantId": id(ids, 5), "rollout": 70 }))
        }
        16 | 17 => {
            let rollout = json!({ "rank": step - 15, "threshold": { "percentage": step, "value": true } });
            ("POST", format!("{v1}/flags/b/rollouts"), rollout)
        }
        18 => {
            let rollout = json!({ "threshold": { "percentage": 33, "value": false } });
            ("PUT", format!("{v1}/flags/b/rollouts/{}", id(ids, 16)), rollout)
        }
        19 => (
            "PUT",
            format!("{v1}/flags/b/rollouts/order"),
            json!({ "rolloutIds": [id(ids, 17), id(ids, 16)] }),
        ),
        20 => {
            let payload = json!({ "@type": "flipt.core.Segment", "key": "s2", "name": "Second", "matchType": "ALL_MATCH_TYPE" });
            ("POST", v2.to_owned(), json!({ "key": "s2", "payload": payload, "revision": "" }))
        }
        21 => ("DELETE", format!("{v1}/flags/b/rollouts/{}", id(ids, 17)), json!({})),
        22 => {
            let path = format!(
                "{v1}/flags/v/rules/{}/distributions/{}?variantId={}",
                id(ids, 11),
                id(ids, 14),
                id(ids, 5)
            );
            ("DELETE", path, json!({}))
        }
        23 => ("DELETE", format!("{v1}/flags/v/rules/{}", id(ids, 12)), json!({})),
        24 => ("DELETE", format!("{v1}/segments/s/constraints/{}", id(ids, 9)), json!({})),
        25 => ("DELETE", format!("{v1}/flags/v/variants/{}", id(ids, 5)), json!({})),
        26 => ("DELETE", format!("{v1}/flags/v/rules/{}", id(ids, 11)), json!({})),
        27 => ("DELETE", format!("{v1}/segments/s"), json!({})),
        28 => ("DELETE", format!("{v1}/flags/v"), json!({})),
        29 => ("DELETE", "/api/v1/namespaces/team".to_owned(), json!({})),
        _ => return false,
    };
    let answer = change(server, method, &path, body).await;
    ids.push(answer["id"].as_str().unwrap_or_default().to_owned());
    true
}

#[tokio::test]
async fn after_every_kind_of_write_a_server_answers_what_is_stored() {
    let (single, cluster) = (Redis::start(), RedisCluster::start());
    let node = cluster.nodes()[0].port();
    let clustered = [redis(node), variables(&[("CACHE_REDIS_MODE", "cluster")])].concat();
    for (name, cache) in [("memory", memory()), ("redis", redis(single.port())), ("redis", clustered)] {
        let folder = TempDir::new().unwrap();
        let cached = start(folder.path(), &[&cache]).await;
        // Reads the same database, and everything of it each time.
        let plain = start(folder.path(), &[]).await;
        let paths = everything();
        let mut ids = Vec::new();
        let mut seen = Vec::new();
        for step in 0.. {
            if !write(&cached, step, &mut ids).await {
                break;
            }
            let stored = answers(&plain, &paths).await;
            // The second time, from the cache.
            for _ in 0..2 {
                assert_eq!(answers(&cached, &paths).await, stored, "{name}, after write {step}");
            }
            assert_ne!(stored, seen, "write {step} did nothing");
            seen = stored;
        }
        assert_eq!(ids.len(), 30);
        let [hits, misses, errors] = counts(&cached, name).await;
        println!("{name}: {hits} hits, {misses} misses");
        assert!(hits > 500.0, "{name}: {hits} hits");
        assert!(errors == 0.0 || had_an_outage(&cached), "{name}: {errors} errors");
    }
}

#[tokio::test]
async fn servers_on_one_database_and_one_redis_agree_within_a_second() {
    let (cache, postgres) = (Redis::start(), Postgres::start(Durability::Processes));
    for name in ["SQLite", "PostgreSQL"] {
        undisturbed(|| async {
            let database = match name {
                "SQLite" => Vec::new(),
                _ => variables(&[("DB_URL", &postgres.create_database())]),
            };
            let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
            // The log of the second server goes elsewhere; the database does not.
            let folder_of_second = if database.is_empty() { &folders[0] } else { &folders[1] };
            let environment = [redis(cache.port()), authenticated(), database].concat();
            let first = start(folders[0].path(), &[&environment]).await;
            let second = start(folder_of_second.path(), &[&environment]).await;
            agree(name, &first, &second).await;
            // What one of them has read, the other does not read again.
            let segments = "/api/v1/namespaces/default/segments";
            assert_eq!(get(&first, segments).await["totalCount"], 0);
            let [hits, misses, _] = counts(&second, "redis").await;
            assert_eq!(get(&second, segments).await["totalCount"], 0);
            let [more_hits, more_misses, _] = counts(&second, "redis").await;
            if had_an_outage(&first) || had_an_outage(&second) {
                return false;
            }
            let more = (more_hits - hits, more_misses - misses);
            assert_eq!(more, (2.0, 0.0), "{name}: credentials and segments");
            true
        })
        .await;
    }
}

/// Most of these waits are short: a mechanism that is broken makes all of them long, a busy machine only some.
fn are_within_agreement(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    println!("{what}: {waits:?}");
    assert!(waits[waits.len() / 2] < AGREEMENT, "{what}: {waits:?}");
}

/// Changes a flag on one server after the other and waits until both show it.
async fn agree(name: &str, first: &Server, second: &Server) {
    create_flag(first, "f", "BOOLEAN_FLAG_TYPE").await;
    let path = "/api/v1/namespaces/default/flags/f";
    let snapshot = "/internal/v1/evaluation/snapshot/namespace/default";
    let list = "/api/v1/namespaces/default/flags";
    let mut waits = Vec::new();
    for number in 0..12 {
        let (writer, reader) = if number % 2 == 0 { (first, second) } else { (second, first) };
        let description = format!("number {number}");
        let flag = json!({ "name": "f", "description": description, "enabled": true });
        change(writer, "PUT", path, flag).await;
        let written = Instant::now();
        assert_eq!(get(writer, path).await["description"], description);
        until("the other server shows it", PATIENCE, || async {
            get(reader, path).await["description"] == description
                && get(reader, snapshot).await["flags"][0]["description"] == description
                && get(reader, list).await["flags"][0]["description"] == description
        })
        .await
        .unwrap();
        waits.push(written.elapsed());
        // Once seen, never the past again.
        for server in [first, second] {
            assert_eq!(get(server, path).await["description"], description);
        }
    }
    are_within_agreement(&format!("shown by the other server, {name}"), waits);
}

async fn create_token(server: &Server, body: Value) -> (String, String) {
    let answer = change(server, "POST", "/auth/v1/method/token", body).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["clientToken"]), text(&answer["authentication"]["id"]))
}

async fn status_with(server: &Server, token: &str) -> u16 {
    let path = "/api/v1/namespaces/default/flags";
    http::request("GET", server.url(path)).bearer(Some(token)).send().await.unwrap().status
}

#[tokio::test]
async fn a_token_that_has_ended_is_refused_although_it_is_cached() {
    let server = Redis::start();
    for cache in [memory(), redis(server.port())] {
        let folder = TempDir::new().unwrap();
        let shared = cache.iter().any(|(_, value)| value == "redis");
        let first = start(folder.path(), &[&cache, &authenticated()]).await;
        let second = start(folder.path(), &[&cache, &authenticated()]).await;
        let mut waits = Vec::new();
        for number in 0..6 {
            let (token, id) = create_token(&first, json!({ "name": "t" })).await;
            for server in [&first, &second, &first, &second] {
                assert_eq!(status_with(server, &token).await, 200);
            }
            let removed = if number % 2 == 0 {
                let path = format!("/auth/v1/tokens/{id}");
                change(&first, "DELETE", &path, json!({})).await;
                Instant::now()
            } else {
                let request = http::request("PUT", first.url("/auth/v1/self/expire")).bearer(Some(&token));
                request.json(&json!({})).send().await.unwrap().ok().unwrap();
                Instant::now()
            };
            assert_eq!(status_with(&first, &token).await, 401, "shared: {shared}");
            until("the other server refuses it", PATIENCE, || async {
                status_with(&second, &token).await == 401
            })
            .await
            .unwrap();
            waits.push(removed.elapsed());
        }
        are_within_agreement(&format!("refused by the other server, shared: {shared}"), waits);

        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = now() + Duration::from_secs(5);
        let expires_at = format_time(end);
        let (token, _) = create_token(&first, json!({ "name": "short", "expiresAt": expires_at })).await;
        assert_eq!([status_with(&first, &token).await, status_with(&first, &token).await], [200, 200]);
        tokio::time::sleep(end.saturating_sub(now()) + Duration::from_millis(100)).await;
        assert_eq!(status_with(&first, &token).await, 401);
    }
}

/// An instant of the test's own time as RFC 3339 writes it.
fn format_time(since_epoch: Duration) -> String {
    let stamp = prost_types::Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).unwrap(),
        nanos: i32::try_from(since_epoch.subsec_nanos()).unwrap(),
    };
    stamp.to_string()
}

#[tokio::test]
async fn redis_must_answer_at_the_start_and_its_password_is_told_nobody() {
    let port = free_port();
    let open = Redis::start_with(&["--requirepass", "the-right-word"]);
    for (environment, problem) in [
        (redis(port), format!("connecting to redis: 127.0.0.1:{port}: ")),
        (
            [redis(open.port()), variables(&[("CACHE_REDIS_PASSWORD", PASSWORD)])].concat(),
            format!("connecting to redis: 127.0.0.1:{}: ", open.port()),
        ),
    ] {
        let mut server = Server::spawn(ServerOptions::new().with_env(environment)).unwrap();
        let status = server.process().wait(PATIENCE).await.unwrap();
        let logs = server.logs();
        assert_eq!(status.code(), Some(1), "{logs}");
        assert!(logs.contains(&problem), "{logs}");
        assert!(!logs.contains(PASSWORD), "{logs}");
        println!("{}", logs.lines().last().unwrap_or_default());
    }
    let right = variables(&[("CACHE_REDIS_PASSWORD", "the-right-word"), ("LOG_LEVEL", "DEBUG")]);
    let folder = TempDir::new().unwrap();
    let server = start(folder.path(), &[&redis(open.port()), &right]).await;
    get(&server, "/api/v1/namespaces/default/flags").await;
    assert!(!server.logs().contains("the-right-word"));
}

#[tokio::test]
async fn keys_stand_below_the_prefix_and_not_below_that_of_flipt() {
    let cache = Redis::start();
    for prefix in ["", "mine"] {
        undisturbed(|| async {
            cache.cli(&["flushall"]);
            let folder = TempDir::new().unwrap();
            let environment = [redis(cache.port()), variables(&[("CACHE_REDIS_PREFIX", prefix)])].concat();
            let server = start(folder.path(), &[&environment]).await;
            get(&server, "/api/v1/namespaces/default/flags").await;
            let keys = cache.cli(&["keys", "*"]);
            if had_an_outage(&server) {
                return false;
            }
            let expected = if prefix.is_empty() { "flipt-kubernetes:1:default:" } else { "mine:1:default:" };
            assert!(!keys.is_empty() && keys.lines().all(|key| key.starts_with(expected)), "{keys}");
            true
        })
        .await;
    }
}

/// What is counted under load.
#[derive(Default)]
struct Tally {
    evaluations: AtomicU64,
    reads: AtomicU64,
    elsewhere: AtomicU64,
    writes: AtomicU64,
    credentials: AtomicU64,
    slowest_evaluation_us: AtomicU64,
    slowest_us: AtomicU64,
}

/// Two servers under load, and what is known about their state.
struct Load {
    /// The server that is written to.
    base: String,
    /// The other one.
    other: String,
    /// When the writes were answered, and their numbers.
    history: Mutex<Vec<(Instant, u64)>>,
    /// Number of the last write that was begun, and of the last that was answered.
    begun: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
    tally: Tally,
}

impl Load {
    async fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> http::Answer {
        self.ask_at(&self.base, method, path, token, body).await
    }

    async fn ask_at(&self, base: &str, method: &str, path: &str, token: &str, body: &Value) -> http::Answer {
        let request = http::request(method, format!("{base}{path}")).bearer(Some(token)).json(body);
        let start = Instant::now();
        let answer = request.send().await.unwrap_or_else(|failure| panic!("no answer: {failure}"));
        let took = u64::try_from(start.elapsed().as_micros()).unwrap();
        self.tally.slowest_us.fetch_max(took, Ordering::Relaxed);
        if path.starts_with("/evaluate") {
            self.tally.slowest_evaluation_us.fetch_max(took, Ordering::Relaxed);
        }
        answer
    }

    async fn must(&self, method: &str, path: &str, token: &str, body: &Value) -> Value {
        let answer = self.ask(method, path, token, body).await;
        answer.ok().unwrap_or_else(|failure| panic!("{method} {path}: {failure}"))
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Writes one number after the other into the flag.
    async fn write(&self) {
        let path = "/api/v1/namespaces/default/flags/moving";
        while self.goes_on() {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let body =
                json!({ "name": "moving", "description": number.to_string(), "enabled": number % 2 == 1 });
            self.must("PUT", path, ROOT, &body).await;
            self.answered.store(number, Ordering::SeqCst);
            self.history.lock().unwrap().push((Instant::now(), number));
            self.tally.writes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// The numbers that an answer may show: no older than the last write that was answered before the question.
    async fn within(&self, what: &str, asking: impl Future<Output = Option<u64>>) {
        let least = self.answered.load(Ordering::SeqCst);
        let shown = asking.await.unwrap_or_else(|| panic!("{what} shows no number"));
        let most = self.begun.load(Ordering::SeqCst);
        assert!((least..=most).contains(&shown), "{what} shows {shown}, not {least} to {most}");
        self.tally.reads.fetch_add(1, Ordering::Relaxed);
    }

    async fn read(&self) {
        let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let moving = |value: &Value| {
            let flags = value["flags"].as_array()?;
            number(&flags.iter().find(|flag| flag["key"] == "moving")?["description"])
        };
        while self.goes_on() {
            let path = "/api/v1/namespaces/default/flags/moving";
            let flag = async { number(&self.must("GET", path, ROOT, &json!({})).await["description"]) };
            self.within("the flag", flag).await;
            let path = "/api/v1/namespaces/default/flags";
            let list = async { moving(&self.must("GET", path, ROOT, &json!({})).await) };
            self.within("the list", list).await;
            let path = "/internal/v1/evaluation/snapshot/namespace/default";
            let snapshot = async { moving(&self.must("GET", path, ROOT, &json!({})).await) };
            self.within("the snapshot", snapshot).await;
            let path = "/api/v2/environments/default/namespaces/default/resources/flipt.core.Flag/moving";
            let resource = async {
                number(&self.must("GET", path, ROOT, &json!({})).await["resource"]["payload"]["description"])
            };
            self.within("the resource", resource).await;
            // Another namespace changes never: always from the cache, while there is one.
            let still = self.must("GET", "/api/v1/namespaces/still/flags/f", ROOT, &json!({})).await;
            assert_eq!(still["name"], "Still");
            self.tally.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same questions to the other server, which may be behind, but not for long.
    async fn read_elsewhere(&self) {
        let paths = [
            ("/api/v1/namespaces/default/flags/moving", "/description"),
            ("/api/v1/namespaces/default/flags", "/flags/0/description"),
            ("/internal/v1/evaluation/snapshot/namespace/default", "/flags/0/description"),
            (
                "/api/v2/environments/default/namespaces/default/resources/flipt.core.Flag/moving",
                "/resource/payload/description",
            ),
        ];
        while self.goes_on() {
            for (path, place) in paths {
                let start = Instant::now();
                let answer = self.ask_at(&self.other, "GET", path, ROOT, &json!({})).await.ok();
                let answer = answer.unwrap_or_else(|failure| panic!("{path} elsewhere: {failure}"));
                let shown = answer.pointer(place).and_then(Value::as_str).and_then(|text| text.parse().ok());
                let shown: u64 = shown.unwrap_or_else(|| panic!("{path} shows no number: {answer}"));
                let history = self.history.lock().unwrap();
                let known = history.iter().rev().find(|(when, _)| *when + AGREEMENT_UNDER_LOAD <= start);
                let least = known.map_or(0, |(_, number)| *number);
                assert!(shown >= least, "{path} elsewhere shows {shown}, long after {least}");
                assert!(shown <= self.begun.load(Ordering::SeqCst));
                drop(history);
                self.tally.elsewhere.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn evaluate(&self) {
        while self.goes_on() {
            let least = self.answered.load(Ordering::SeqCst);
            let body = json!({ "flagKey": "moving", "entityId": "e" });
            let moving = self.must("POST", "/evaluate/v1/boolean", ROOT, &body).await;
            let most = self.begun.load(Ordering::SeqCst);
            // If nothing was written meanwhile, it is known what it must be.
            if least == most {
                assert_eq!(moving["enabled"], least % 2 == 1, "evaluated at {least}: {moving}");
            }
            let body = json!({ "namespaceKey": "still", "flagKey": "f", "entityId": "e" });
            assert_eq!(self.must("POST", "/evaluate/v1/boolean", ROOT, &body).await["enabled"], true);
            let elsewhere = self.ask_at(&self.other, "POST", "/evaluate/v1/boolean", ROOT, &body).await;
            assert_eq!(elsewhere.ok().unwrap()["enabled"], true);
            self.tally.evaluations.fetch_add(3, Ordering::Relaxed);
        }
    }

    /// Makes tokens, uses them, and takes them away again.
    async fn revoke(&self) {
        let path = "/api/v1/namespaces/still/flags/f";
        while self.goes_on() {
            let created = self.must("POST", "/auth/v1/method/token", ROOT, &json!({ "name": "t" })).await;
            let token = created["clientToken"].as_str().unwrap();
            for base in [&self.base, &self.other, &self.base, &self.other] {
                assert_eq!(
                    self.ask_at(base, "GET", path, token, &json!({})).await.status,
                    200,
                    "a good token"
                );
            }
            let id = created["authentication"]["id"].as_str().unwrap();
            self.must("DELETE", &format!("/auth/v1/tokens/{id}"), ROOT, &json!({})).await;
            for _ in 0..2 {
                assert_eq!(self.ask("GET", path, token, &json!({})).await.status, 401, "a revoked token");
            }
            let revoked = Instant::now();
            while self.ask_at(&self.other, "GET", path, token, &json!({})).await.status != 401 {
                assert!(revoked.elapsed() < AGREEMENT_UNDER_LOAD, "a revoked token is good elsewhere");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.tally.credentials.fetch_add(7, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Stops a process where it stands, or lets it go on.
fn signal(redis: &Redis, signal: Signal) {
    kill_process(redis.pid().and_then(Pid::from_raw).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_restarted_under_load_makes_no_answer_wrong_and_none_fail() {
    // It remembers what it had: what it brings back from the past must not be found.
    let mut cache = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let postgres = Postgres::start(Durability::Processes);
    let shared = variables(&[("DB_URL", &postgres.create_database())]);
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let server = start(folders[0].path(), &[&redis(cache.port()), &authenticated(), &shared]).await;
    let other = start(folders[1].path(), &[&redis(cache.port()), &authenticated(), &shared]).await;
    create_flag(&server, "moving", "BOOLEAN_FLAG_TYPE").await;
    let flag = json!({ "name": "moving", "description": "0", "enabled": false });
    change(&server, "PUT", "/api/v1/namespaces/default/flags/moving", flag).await;
    change(&server, "POST", "/api/v1/namespaces", json!({ "key": "still", "name": "still" })).await;
    let flag = json!({ "key": "f", "name": "Still", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
    change(&server, "POST", "/api/v1/namespaces/still/flags", flag).await;

    let evaluation = json!({ "namespaceKey": "still", "flagKey": "f", "entityId": "e" });
    until("the other server knows the flags", PATIENCE, || async {
        let request = http::request("POST", other.url("/evaluate/v1/boolean")).bearer(Some(ROOT));
        request.json(&evaluation).send().await.unwrap().status == 200
    })
    .await
    .unwrap();

    let load = Arc::new(Load {
        base: server.url(""),
        other: other.url(""),
        history: Mutex::default(),
        begun: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        tally: Tally::default(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    let spawned = |load: &Arc<Load>| Arc::clone(load);
    let load_of = spawned(&load);
    tasks.spawn(async move { load_of.write().await });
    for _ in 0..2 {
        let load_of = spawned(&load);
        tasks.spawn(async move { load_of.read().await });
        let load_of = spawned(&load);
        tasks.spawn(async move { load_of.read_elsewhere().await });
        let load_of = spawned(&load);
        tasks.spawn(async move { load_of.evaluate().await });
        let load_of = spawned(&load);
        tasks.spawn(async move { load_of.revoke().await });
    }

    let pause = |seconds: f64| tokio::time::sleep(Duration::from_secs_f64(seconds));
    let mut hits_after = Vec::new();
    for round in 0..3 {
        pause(1.5).await;
        if round == 1 {
            // Takes connections and says nothing.
            signal(&cache, Signal::STOP);
            let before = load.tally.reads.load(Ordering::Relaxed);
            pause(3.0).await;
            // The hang costs a lookup's patience once, not once per lookup.
            let answered = load.tally.reads.load(Ordering::Relaxed) - before;
            assert!(answered > 30, "only {answered} reads while the cache hung");
        }
        cache.kill();
        pause(1.5).await;
        let [hits, ..] = counts(&server, "redis").await;
        tokio::task::block_in_place(|| cache.restart());
        until("the cache is used again", PATIENCE, || async { counts(&server, "redis").await[0] > hits })
            .await
            .unwrap();
        hits_after.push(counts(&server, "redis").await[0]);
    }
    let tally = &load.tally;
    // Otherwise this would test nothing.
    until("enough was asked", PATIENCE, || async {
        let made = |count: &AtomicU64, least| count.load(Ordering::Relaxed) > least;
        made(&tally.evaluations, 500)
            && made(&tally.reads, 500)
            && made(&tally.elsewhere, 300)
            && made(&tally.writes, 100)
            && made(&tally.credentials, 100)
            && counts(&server, "redis").await[0] > 500.0
    })
    .await
    .unwrap();
    pause(1.5).await;
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        // A wrong answer, or none, has ended one of them.
        ended.unwrap();
    }

    let [evaluations, reads, elsewhere, writes, credentials, slowest_evaluation, slowest] = [
        &tally.evaluations,
        &tally.reads,
        &tally.elsewhere,
        &tally.writes,
        &tally.credentials,
        &tally.slowest_evaluation_us,
        &tally.slowest_us,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    let [hits, misses, errors] = counts(&server, "redis").await;
    println!(
        "2 servers, 3 kills, 1 hang: {evaluations} evaluations, {reads} reads, {elsewhere} on the other server, \
         {writes} writes, {credentials} calls with tokens that come and go: 0 failed, 0 wrong; slowest answer {} ms, slowest evaluation {} ms; \
         {hits} hits, {misses} misses, {errors} lookups unanswered",
        slowest / 1_000,
        slowest_evaluation / 1_000,
    );
    assert!(errors > 100.0 && hits_after.is_sorted());
    let outages = server.logs().matches(OUTAGE).count();
    assert!((3..=20).contains(&outages), "{outages} records of outages\n{}", server.logs());
}
