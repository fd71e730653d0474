//! Promise: `kill -9` of the server in the middle of writes loses nothing that was acknowledged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use flipt_e2e::{Server, ServerOptions, http};
use serde_json::{Value, json};

const ROUNDS: usize = 100;
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

/// Posts or puts; `None` if no answer came, which is what a kill looks like. Any other answer than 200 is a
/// failure of the server.
async fn change(method: &str, url: String, body: Value) -> Option<Value> {
    let answer = http::request(method, url).json(&body).send().await.ok()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Some(answer.json())
}

fn attachment(key: &str) -> String {
    json!({ "of": key }).to_string()
}

/// Brings one flag as far as the server lives.
async fn write_flag(base: &str, namespace: &str, key: &str, delete: bool) -> Written {
    let mut written = Written { namespace: namespace.into(), key: key.into(), acknowledged: 0, attempted: 0 };
    let flags = format!("{base}/api/v1/namespaces/{namespace}/flags");
    let flag = format!("{flags}/{key}");
    let (mut variant, mut rule) = (String::new(), String::new());
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    for step in 1..=if delete { DELETED } else { DESCRIBED } {
        written.attempted = step;
        let answer = match step {
            1 => {
                let body = json!({ "key": key, "name": format!("Name of {key}"), "enabled": true });
                change("POST", flags.clone(), body).await
            }
            2 => {
                let body = json!({ "key": "a", "name": "A", "attachment": attachment(key) });
                change("POST", format!("{flag}/variants"), body).await.inspect(|answer| variant = id(answer))
            }
            3 => {
                let body = json!({ "segmentKeys": ["everyone"], "rank": 1 });
                change("POST", format!("{flag}/rules"), body).await.inspect(|answer| rule = id(answer))
            }
            4 => {
                let body = json!({ "variantId": variant, "rollout": 100 });
                change("POST", format!("{flag}/rules/{rule}/distributions"), body).await
            }
            DESCRIBED => {
                let body =
                    json!({ "name": format!("Name of {key}"), "description": "complete", "enabled": true });
                change("PUT", flag.clone(), body).await
            }
            _ => change("DELETE", flag.clone(), json!({})).await,
        };
        if answer.is_none() {
            break;
        }
        written.acknowledged = step;
    }
    written
}

/// Writes flags until the server dies.
async fn write_until_death(base: Arc<str>, namespace: Arc<str>, writer: usize) -> Vec<Written> {
    let mut all = Vec::new();
    for number in 0.. {
        let written = write_flag(&base, &namespace, &format!("w{writer}-{number}"), number % 3 == 2).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_in_the_middle_of_writes_lose_nothing_acknowledged() {
    let start = Instant::now();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut server = Server::start(ServerOptions::new()).await.unwrap();
    let base: Arc<str> = server.url("").into();
    let (mut all, mut interrupted) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let namespace: Arc<str> = format!("round-{round}").into();
        // Also shows that the restarted server takes writes.
        let body = json!({ "key": &*namespace, "name": &*namespace });
        server.change("POST", "/api/v1/namespaces", body).await.unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/segments");
        let body = json!({ "key": "everyone", "name": "Everyone", "matchType": "ALL_MATCH_TYPE" });
        server.change("POST", &path, body).await.unwrap();

        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_until_death(base.clone(), namespace.clone(), writer)))
            .collect();
        tokio::time::sleep(Duration::from_micros(5_000 + random.below(95_000))).await;
        server.kill();
        let mut written = Vec::new();
        for writer in writers {
            written.extend(writer.await.unwrap());
        }
        server.restart().await.unwrap();
        interrupted += usize::from(written.iter().any(|flag| flag.acknowledged < flag.attempted));
        assert_nothing_acknowledged_is_lost(&server, &written).await;
        all.extend(written);
    }
    // Later rounds have not harmed earlier ones, in which deletions are final by now.
    assert_nothing_acknowledged_is_lost(&server, &all).await;
    let acknowledged: usize = all.iter().map(|flag| flag.acknowledged).sum();
    println!(
        "{ROUNDS} kills, {interrupted} with writes under way, {acknowledged} acknowledged writes on {} flags, {} s",
        all.len(),
        start.elapsed().as_secs()
    );
    // Otherwise this would have tested nothing.
    assert_eq!(interrupted, ROUNDS);
    assert!(acknowledged > 10 * ROUNDS, "{acknowledged}");
    // The whole state can still be read, exported and imported.
    let exported = server.cli().unwrap().run(&["export", "--all-namespaces"]).unwrap().success().unwrap();
    let other = Server::start(ServerOptions::new()).await.unwrap();
    let imported = other.cli().unwrap().run_with_input(&["import", "--stdin"], &exported).unwrap();
    assert_eq!(imported.code, 0, "{}", imported.stderr);
}
