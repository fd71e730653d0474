//! Promise: `kill -9` of the server, or of its database, in the middle of writes loses nothing that was
//! acknowledged, and leaves nothing half made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use flipt_dev_databases::{Durability, Postgres};
use flipt_e2e::{PATIENCE, Server, ServerOptions, http, until};
use serde_json::{Value, json};

const WRITERS: usize = 4;

/// The life of a flag: every step is one request, and needs the ones before.
const STEPS: [&str; 7] =
    ["nothing", "flag", "variant", "rule", "distribution", "description", "deletion of the flag"];
const DESCRIBED: usize = 5;
const DELETED: usize = 6;

/// How far a writer came with a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    namespace: String,
    key: String,
    /// Steps that the server acknowledged.
    acknowledged: usize,
    /// Steps that it was asked for; at most one more.
    attempted: usize,
}

/// Where writers write to.
#[derive(Clone)]
struct Target {
    base: Arc<str>,
    namespace: Arc<str>,
    /// Whether the server itself lives on, so that it must answer whatever happens.
    must_answer: bool,
    /// Steps that were acknowledged, of all writers together.
    acknowledged: Arc<AtomicUsize>,
}

/// Posts or puts; `None` if no answer came, which is what a kill of the server looks like, or 503: the database is
/// gone, or the machine so busy that it did not answer in time. Any other answer than 200 is a failure of the server.
async fn change(target: &Target, method: &str, url: String, body: Value) -> Option<Value> {
    let answer = match http::request(method, url).json(&body).send().await {
        Ok(answer) => answer,
        Err(failure) => {
            assert!(!target.must_answer, "{failure}");
            return None;
        }
    };
    if answer.status == 503 {
        assert!(answer.text().contains("failed to connect to database"), "{}", answer.text());
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    Some(answer.json())
}

fn attachment(key: &str) -> String {
    json!({ "of": key }).to_string()
}

/// Brings one flag as far as the server lives.
async fn write_flag(target: &Target, key: &str, delete: bool) -> Written {
    let Target { base, namespace, .. } = target;
    let mut written =
        Written { namespace: namespace.to_string(), key: key.into(), acknowledged: 0, attempted: 0 };
    let flags = format!("{base}/api/v1/namespaces/{namespace}/flags");
    let flag = format!("{flags}/{key}");
    let (mut variant, mut rule) = (String::new(), String::new());
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    for step in 1..=if delete { DELETED } else { DESCRIBED } {
        written.attempted = step;
        let answer = match step {
            1 => {
                let body = json!({ "key": key, "name": format!("Name of {key}"), "enabled": true });
                change(target, "POST", flags.clone(), body).await
            }
            2 => {
                let body = json!({ "key": "a", "name": "A", "attachment": attachment(key) });
                change(target, "POST", format!("{flag}/variants"), body)
                    .await
                    .inspect(|answer| variant = id(answer))
            }
            3 => {
                let body = json!({ "segmentKeys": ["everyone"], "rank": 1 });
                change(target, "POST", format!("{flag}/rules"), body)
                    .await
                    .inspect(|answer| rule = id(answer))
            }
            4 => {
                let body = json!({ "variantId": variant, "rollout": 100 });
                change(target, "POST", format!("{flag}/rules/{rule}/distributions"), body).await
            }
            DESCRIBED => {
                let body =
                    json!({ "name": format!("Name of {key}"), "description": "complete", "enabled": true });
                change(target, "PUT", flag.clone(), body).await
            }
            _ => change(target, "DELETE", flag.clone(), json!({})).await,
        };
        if answer.is_none() {
            break;
        }
        written.acknowledged = step;
        target.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    written
}

/// Writes flags until a write is not acknowledged, or there is enough.
async fn write_until_death(target: Target, writer: usize, enough: Arc<AtomicBool>) -> Vec<Written> {
    let mut all = Vec::new();
    for number in 0.. {
        if enough.load(Ordering::SeqCst) {
            break;
        }
        let written = write_flag(&target, &format!("w{writer}-{number}"), (writer + number) % 3 == 2).await;
        let died = written.acknowledged < written.attempted;
        all.push(written);
        if died {
            break;
        }
    }
    all
}

/// How far a flag came, by what the API shows. Anything half made fails here.
async fn seen(server: &Server, written: &Written) -> usize {
    let path = format!("/api/v1/namespaces/{}/flags/{}", written.namespace, written.key);
    let answer = http::get(server.url(&path)).await.unwrap();
    let evaluation = json!({ "namespaceKey": written.namespace, "flagKey": written.key, "entityId": "e" });
    let evaluated = server.call("POST", "/evaluate/v1/variant", &evaluation).await.unwrap();
    if answer.status == 404 {
        assert_eq!(evaluated.status, 404, "evaluation knows a flag that the API does not: {written:?}");
        return if written.attempted == DELETED { DELETED } else { 0 };
    }
    let flag = answer.ok().unwrap();
    let decision = evaluated.ok().unwrap();
    assert_eq!(flag["name"], format!("Name of {}", written.key));
    assert_eq!((&flag["enabled"], &flag["type"]), (&json!(true), &json!("VARIANT_FLAG_TYPE")));
    let rules = http::get(server.url(&format!("{path}/rules"))).await.unwrap().ok().unwrap()["rules"].clone();
    let (variants, rules) = (flag["variants"].as_array().unwrap(), rules.as_array().unwrap());
    let mut step = 1;
    if let [variant] = variants.as_slice() {
        assert_eq!((&variant["key"], &variant["name"]), (&json!("a"), &json!("A")));
        assert_eq!(variant["attachment"], attachment(&written.key));
        step = 2;
    }
    if let [rule] = rules.as_slice() {
        assert_eq!((step, &rule["segmentKey"]), (2, &json!("everyone")), "{rule}");
        step = 3;
        if let [distribution] = rule["distributions"].as_array().unwrap().as_slice() {
            assert_eq!(
                (&distribution["variantId"], &distribution["rollout"]),
                (&variants[0]["id"], &json!(100))
            );
            step = 4;
        }
    }
    if flag["description"] == "complete" {
        assert_eq!(step, 4, "{flag}");
        step = DESCRIBED;
    }
    assert!(variants.len() <= 1 && rules.len() <= 1, "{flag}");
    if step >= 4 {
        assert_eq!((&decision["match"], &decision["variantKey"]), (&json!(true), &json!("a")), "{decision}");
        assert_eq!(decision["variantAttachment"], attachment(&written.key));
    } else {
        assert_eq!(decision["variantKey"], "");
    }
    step
}

async fn assert_nothing_acknowledged_is_lost(server: &Server, all: &[Written]) {
    for written in all {
        let step = seen(server, written).await;
        assert!(
            (written.acknowledged..=written.attempted).contains(&step),
            "{}/{}: acknowledged up to {}, attempted up to {}, seen up to {}\n{}",
            written.namespace,
            written.key,
            STEPS[written.acknowledged],
            STEPS[written.attempted],
            STEPS[step],
            server.logs(),
        );
    }
}

/// Numbers without a pattern (splitmix64); the seed is printed, to run a failure again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A server with its database, of which one is killed.
struct Scene {
    server: Server,
    postgres: Option<Postgres>,
    /// Whether the database is killed rather than the server.
    kills_database: bool,
}

impl Scene {
    async fn new(postgres: Option<Postgres>, kills_database: bool) -> Self {
        let url = postgres.as_ref().map(|postgres| ("FLIPT_DB_URL".to_owned(), postgres.create_database()));
        let server = Server::start(ServerOptions::new().with_env(url)).await.unwrap();
        Self { server, postgres, kills_database }
    }

    /// Kills, and shows that evaluations go on if the server is alive.
    async fn kill(&mut self) {
        if !self.kills_database {
            self.server.kill();
            return;
        }
        self.postgres.as_mut().unwrap().kill();
        let evaluation = json!({ "flagKey": "steady", "entityId": "e" });
        let answer = self.server.call("POST", "/evaluate/v1/boolean", &evaluation).await.unwrap();
        assert_eq!((answer.status, &answer.json()["enabled"]), (200, &json!(true)), "{}", answer.text());
    }

    /// Brings back what was killed, and waits until a write succeeds.
    async fn revive(&mut self, round: usize) {
        if self.kills_database {
            self.postgres.as_mut().unwrap().restart();
        } else {
            self.server.restart().await.unwrap();
        }
        let namespace = format!("after-{round}");
        let server = &self.server;
        until("a write succeeds again", PATIENCE, || async {
            let body = json!({ "key": namespace, "name": namespace });
            let answer = server.call("POST", "/api/v1/namespaces", &body).await.unwrap();
            // An attempt before, of which nobody knew, may have succeeded.
            answer.status == 200 || answer.text().contains("is not unique")
        })
        .await
        .unwrap();
    }
}

/// Kills in the middle of writes, again and again.
async fn kill_again_and_again(mut scene: Scene, rounds: usize) -> Scene {
    let start = Instant::now();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let base: Arc<str> = scene.server.url("").into();
    let body = json!({ "key": "steady", "name": "Steady", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
    scene.server.change("POST", "/api/v1/namespaces/default/flags", body).await.unwrap();
    let (mut all, mut interrupted) = (Vec::new(), 0);
    for round in 0..rounds {
        let namespace: Arc<str> = format!("round-{round}").into();
        // Also shows that what was brought back takes writes.
        let body = json!({ "key": &*namespace, "name": &*namespace });
        scene.server.change("POST", "/api/v1/namespaces", body).await.unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/segments");
        let body = json!({ "key": "everyone", "name": "Everyone", "matchType": "ALL_MATCH_TYPE" });
        scene.server.change("POST", &path, body).await.unwrap();

        let enough = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let target = Target {
                    base: base.clone(),
                    namespace: namespace.clone(),
                    must_answer: scene.kills_database,
                    acknowledged: acknowledged.clone(),
                };
                write_until_death(target, writer, enough.clone())
            })
            .map(tokio::spawn)
            .collect();
        // After so many acknowledgements, and then at any time within a write. On a busy machine that takes longer.
        let some = usize::try_from(1 + random.below(8 * WRITERS as u64)).unwrap();
        until("some writes are acknowledged", PATIENCE, || async {
            acknowledged.load(Ordering::SeqCst) >= some
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
        scene.kill().await;
        let mut written = Vec::new();
        if scene.kills_database {
            // Who was not in the middle of a write waits for the database, and goes on.
            scene.revive(round).await;
            enough.store(true, Ordering::SeqCst);
        }
        for writer in writers {
            written.extend(writer.await.unwrap());
        }
        if !scene.kills_database {
            scene.revive(round).await;
        }
        interrupted += usize::from(written.iter().any(|flag| flag.acknowledged < flag.attempted));
        assert_nothing_acknowledged_is_lost(&scene.server, &written).await;
        all.extend(written);
    }
    // Later rounds have not harmed earlier ones, in which deletions are final by now.
    assert_nothing_acknowledged_is_lost(&scene.server, &all).await;
    let acknowledged: usize = all.iter().map(|flag| flag.acknowledged).sum();
    let deletions = all.iter().filter(|flag| flag.acknowledged == DELETED).count();
    println!(
        "{rounds} kills, {interrupted} with writes under way, {acknowledged} acknowledged writes on {} flags, {deletions} \
         deletions, {} s",
        all.len(),
        start.elapsed().as_secs()
    );
    // Otherwise this would have tested nothing. The database may die between two writes.
    assert!(interrupted == rounds || (scene.kills_database && interrupted > rounds / 2), "{interrupted}");
    assert!(deletions > 0 && deletions < all.len() / 2, "{deletions}");
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_of_the_server_on_sqlite_lose_nothing_acknowledged() {
    let scene = kill_again_and_again(Scene::new(None, false).await, 100).await;
    // The whole state can still be read, exported and imported.
    let exported =
        scene.server.cli().unwrap().run(&["export", "--all-namespaces"]).unwrap().success().unwrap();
    let other = Server::start(ServerOptions::new()).await.unwrap();
    let imported = other.cli().unwrap().run_with_input(&["import", "--stdin"], &exported).unwrap();
    assert_eq!(imported.code, 0, "{}", imported.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_of_the_server_on_postgresql_lose_nothing_acknowledged() {
    let postgres = Postgres::start(Durability::Processes);
    kill_again_and_again(Scene::new(Some(postgres), false).await, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_of_postgresql_lose_nothing_acknowledged() {
    let postgres = Postgres::start(Durability::Processes);
    kill_again_and_again(Scene::new(Some(postgres), true).await, 100).await;
}
