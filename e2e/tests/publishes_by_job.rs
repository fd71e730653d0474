//! Promise: a job publishes what a running server holds, and tells by exit code and receipt how that ended; sidecars
//! follow what it publishes, and turn to the server when they have nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flipt_e2e::{
    BEFORE_THE_KUBELET, Cli, Finished, PATIENCE, S3, Server, ServerOptions, Sidecar, SidecarOptions,
    http::{self, Answer},
    until, until_some,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const FLAGS: &str = "/api/v1/namespaces/default/flags";
const POINTER: &str = "/snapshots/v1/default/current.json";
const ROOT: &str = "root-token-of-the-tests";

/// A new pair of signing keys in a folder, as `openssl` writes them: the private file, then the public one.
fn signing_keys(folder: &TempDir) -> [String; 2] {
    let private = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.as_ref()).unwrap();
    let mut public = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    public.extend_from_slice(pair.public_key().as_ref());
    [("PRIVATE", private.as_ref()), ("PUBLIC", &public)].map(|(half, der)| {
        let path = folder.path().join(half);
        let body = STANDARD.encode(der);
        fs::write(&path, format!("-----BEGIN {half} KEY-----\n{body}\n-----END {half} KEY-----\n")).unwrap();
        path.display().to_string()
    })
}

/// A server with two flags in `default` and one in `team`, a bucket, and a place to run jobs in.
struct Ground {
    server: Server,
    s3: S3,
    folder: TempDir,
}

impl Ground {
    async fn new(options: ServerOptions) -> Self {
        let s3 = S3::start(&["flags"]).await.unwrap();
        let server = Server::start(options).await.unwrap();
        let ground = Self { server, s3, folder: tempfile::tempdir().unwrap() };
        ground
            .ask("POST", "/api/v1/namespaces", json!({ "key": "team", "name": "Team" }))
            .await
            .ok()
            .unwrap();
        for (namespace, key) in [("default", "checkout"), ("default", "banner"), ("team", "on")] {
            let flag = json!({ "key": key, "name": key, "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
            let path = format!("/api/v1/namespaces/{namespace}/flags");
            ground.ask("POST", &path, flag).await.ok().unwrap();
        }
        ground
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        http::request(method, self.server.url(path)).bearer(Some(ROOT)).json(&body).send().await.unwrap()
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        http::request("GET", self.server.url(path)).bearer(token).send().await.unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn receipt_file(&self) -> PathBuf {
        self.folder.path().join("receipt.json")
    }

    /// Publishes from this server to the bucket, with these options besides; gives the receipt, too.
    fn export_from(&self, server: &str, options: &[&str]) -> (Finished, Value) {
        let receipt = self.receipt_file();
        let _ = fs::remove_file(&receipt);
        let place = self.s3.at("flags/prod");
        let receipt_file = receipt.display().to_string();
        let all = ["export", "--server", server, "--output", &place, "--receipt-file", &receipt_file];
        let cli = Cli::new(self.folder.path()).unwrap().with_env(self.s3.credentials());
        let finished = cli.run(&[&all[..], options].concat()).unwrap();
        let line = fs::read_to_string(&receipt).unwrap_or_default();
        assert!(line.len() <= 4096 && line.lines().count() == 1, "{line}{}", finished.stderr);
        (finished, serde_json::from_str(&line).unwrap())
    }

    fn export(&self, options: &[&str]) -> (Finished, Value) {
        self.export_from(&self.server.url(""), options)
    }

    fn fails(&self, options: &[&str], code: i32, reason: &str) -> String {
        let (finished, receipt) = self.export(options);
        assert_eq!(finished.code, code, "{options:?}: {}", finished.stderr);
        assert_eq!(receipt["reason"], reason, "{options:?}: {receipt}");
        assert!(finished.stdout.is_empty(), "{}", finished.stdout);
        receipt["message"].as_str().unwrap().to_owned()
    }

    fn sidecar(&self) -> SidecarOptions {
        SidecarOptions::new(self.s3.at("flags/prod")).with_env(self.s3.credentials())
    }
}

fn with_tokens() -> ServerOptions {
    let settings = [
        ("FLIPT_AUTHENTICATION_REQUIRED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", ROOT),
    ];
    ServerOptions::new().with_env(settings.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

#[tokio::test]
async fn a_job_publishes_what_the_server_holds_and_says_when_nothing_changed() {
    let ground = Ground::new(ServerOptions::new()).await;
    let (first, receipt) = ground.export(&["--all-namespaces"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(serde_json::from_str::<Value>(&first.stdout).unwrap(), receipt);
    assert_eq!(
        (&receipt["changed"], &receipt["superseded"], &receipt["flags"], &receipt["namespaces"]),
        (&json!(true), &json!(false), &json!(3), &json!(2))
    );
    let pointer = ground.get(POINTER, None).await.ok().unwrap();
    for member in ["revision", "epoch", "digest", "size"] {
        assert_eq!(receipt[member], pointer[member], "{member}");
    }
    let object = receipt["objectKey"].as_str().unwrap();
    assert!(object.starts_with("prod/v1/default/objects/sha256/"), "{object}");
    assert!(ground.s3.folder().join("flags").join(object).is_file(), "{object}");
    assert!(ground.s3.folder().join("flags/prod/features/team/features.yaml").is_file());

    let sidecar = Sidecar::start(ground.sidecar()).await.unwrap();
    let verified = sidecar.status().await.unwrap()["verifiedAt"].clone();
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (again, receipt) = ground.export(&["--all-namespaces"]);
    assert_eq!((again.code, &receipt["changed"]), (0, &json!(false)), "{}", again.stderr);
    until("the confirmation has arrived", PATIENCE, || async {
        sidecar.status().await.unwrap()["verifiedAt"] != verified
    })
    .await
    .unwrap();

    let off = json!({ "name": "checkout", "enabled": false });
    ground.ask("PUT", &format!("{FLAGS}/checkout"), off).await.ok().unwrap();
    assert_eq!(ground.export(&["--all-namespaces", "--formats", "native"]).1["changed"], true);
    until("the change has arrived", PATIENCE, || async {
        sidecar.boolean("checkout", "e").await == Ok(false)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_part_of_the_namespaces_is_published_and_may_be_chosen_anew_at_the_same_revision() {
    let ground = Ground::new(ServerOptions::new()).await;
    let (part, receipt) = ground.export(&["--namespaces", "te*,gone"]);
    assert_eq!((part.code, &receipt["namespaces"]), (0, &json!(1)), "{}", part.stderr);
    assert!(part.stderr.contains("gone"), "{}", part.stderr);
    let (all, wider) = ground.export(&["--namespaces", "*"]);
    assert_eq!((all.code, &wider["namespaces"], &wider["changed"]), (0, &json!(2), &json!(true)));
    assert_eq!(wider["revision"], receipt["revision"]);
    ground.fails(&["--namespaces", "gone"], 3, "GuardRefused");

    // A sidecar keeps what it is told to keep, and knows nothing of the rest.
    let sidecar = Sidecar::start(ground.sidecar().with_arguments(&["--namespaces", "t*m"])).await.unwrap();
    let decided = |namespace: &str, flag: &str| {
        let body = json!({ "namespaceKey": namespace, "flagKey": flag, "entityId": "e" });
        let sidecar = &sidecar;
        async move { sidecar.post("/evaluate/v1/boolean", &body, None).await.unwrap() }
    };
    assert_eq!(decided("team", "on").await.ok().unwrap()["enabled"], true);
    let (other, unknown) = (decided("default", "checkout").await, decided("nowhere", "checkout").await);
    assert_eq!(other.status, 404);
    assert_eq!(other.text().replace("default", "nowhere"), unknown.text());
}

#[tokio::test]
async fn the_guard_refuses_with_3_and_leaves_what_is_published() {
    let ground = Ground::new(ServerOptions::new()).await;
    ground.export(&["--all-namespaces"]);
    for (namespace, flag) in [("default", "checkout"), ("default", "banner")] {
        let path = format!("/api/v1/namespaces/{namespace}/flags/{flag}");
        ground.ask("DELETE", &path, json!({})).await.ok().unwrap();
    }
    let message = ground.fails(&["--all-namespaces"], 3, "GuardRefused");
    assert!(message.contains("3 flags") && message.contains("only 1"), "{message}");
    let (finished, _) = ground.export(&["--all-namespaces", "--guard-max-shrink", "80"]);
    assert_eq!(finished.code, 0, "{}", finished.stderr);
}

#[tokio::test]
async fn callers_without_a_good_token_are_told_by_4() {
    let ground = Ground::new(with_tokens()).await;
    ground.fails(&["--all-namespaces"], 4, "Unauthorized");
    let wrong = ground.file("wrong", "some-other-token");
    let message = ground.fails(&["--all-namespaces", "--server-token-file", &wrong], 4, "Unauthorized");
    assert!(!message.contains("some-other-token"), "{message}");
    // A token of one namespace does not open all of them.
    let bound = json!({ "name": "team", "namespaceKey": "team" });
    let bound = ground.ask("POST", "/auth/v1/method/token", bound).await.ok().unwrap();
    let bound = bound["clientToken"].as_str().unwrap().to_owned();
    let file = ground.file("bound", &bound);
    ground.fails(&["--all-namespaces", "--server-token-file", &file], 4, "Unauthorized");
    assert_eq!(ground.get(POINTER, Some(&bound)).await.status, 401);

    let good = ground.file("good", &format!("{ROOT}\n"));
    let (finished, _) = ground.export(&["--all-namespaces", "--server-token-file", &good]);
    assert_eq!(finished.code, 0, "{}", finished.stderr);
}

#[tokio::test]
async fn trouble_with_s3_is_told_by_5_and_with_the_server_by_1() {
    let mut ground = Ground::new(ServerOptions::new()).await;
    let place = ground.s3.at("nothing-here");
    let message = ground.fails(&["--all-namespaces", "--output", &place], 5, "StoreFailed");
    assert!(message.contains("nothing-here"), "{message}");
    let cli = Cli::new(ground.folder.path()).unwrap().with_env(ground.s3.wrong_credentials());
    let url = ground.server.url("");
    let refused = cli
        .run(&["export", "--all-namespaces", "--server", &url, "--output", &ground.s3.at("flags")])
        .unwrap();
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    ground.s3.kill();
    ground.fails(&["--all-namespaces"], 5, "StoreFailed");
    ground.server.kill();
    let message = ground.fails(&["--all-namespaces", "--timeout", "12s"], 1, "ServerUnavailable");
    assert!(message.contains(&ground.server.url("")), "{message}");
}

#[tokio::test]
async fn another_database_and_a_restored_one_are_told_by_1() {
    let ground = Ground::new(ServerOptions::new()).await;
    ground.export(&["--all-namespaces"]);
    let other = Server::start(ServerOptions::new()).await.unwrap();
    let (finished, receipt) = ground.export_from(&other.url(""), &["--all-namespaces"]);
    assert_eq!((finished.code, &receipt["reason"]), (1, &json!("EpochMismatch")), "{}", finished.stderr);

    // What is published is ahead of the server, and stays so.
    let store = ground.s3.store("flags/prod").await.unwrap();
    let key = "v1/default/current.json";
    let published = flipt_snapshots::publish::current(&*store, "default").await.unwrap().unwrap();
    let ahead = flipt_snapshots::Pointer { revision: published.revision + 7, ..published };
    let headers =
        flipt_snapshots::store::Headers { content_type: "application/json", cache_control: "no-cache" };
    let precondition = flipt_snapshots::store::Precondition::None;
    store.put(key, ahead.to_bytes().unwrap(), precondition, headers).await.unwrap();
    let off = json!({ "name": "checkout", "enabled": false });
    ground.ask("PUT", &format!("{FLAGS}/checkout"), off).await.ok().unwrap();
    ground.fails(&["--all-namespaces"], 1, "RevisionRegressed");
}

/// A server that gives these pointers one after the other, the last one for ever, and this object.
fn scripted(pointers: Vec<Vec<u8>>, object: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut given = 0;
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && socket.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let body = if head.starts_with(b"GET /snapshots/v1/default/current.json ") {
                given += 1;
                pointers.get(given - 1).or(pointers.last()).unwrap()
            } else {
                &object
            };
            let start =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = socket.write_all(&[start.as_bytes(), body].concat());
        }
    });
    url
}

#[tokio::test]
async fn who_loses_the_race_to_a_newer_revision_is_told_by_6() {
    let ground = Ground::new(ServerOptions::new()).await;
    let old = ground.get(POINTER, None).await;
    let path = old.json()["path"].as_str().unwrap().to_owned();
    let object = ground.get(&format!("/snapshots/v1/default/{path}"), None).await;
    assert_eq!(object.status, 200);
    let off = json!({ "name": "checkout", "enabled": false });
    ground.ask("PUT", &format!("{FLAGS}/checkout"), off).await.ok().unwrap();
    ground.export(&["--all-namespaces"]);
    let new = ground.get(POINTER, None).await;

    let server = scripted(vec![old.body.to_vec(), new.body.to_vec()], object.body.to_vec());
    let (finished, receipt) = ground.export_from(&server, &["--all-namespaces"]);
    assert_eq!(finished.code, 6, "{}", finished.stderr);
    assert_eq!((&receipt["changed"], &receipt["superseded"]), (&json!(false), &json!(true)));
    assert_eq!((&receipt["revision"], &receipt["digest"]), (&new.json()["revision"], &new.json()["digest"]));
}

#[tokio::test]
async fn everything_can_be_said_in_environment_variables() {
    let ground = Ground::new(with_tokens()).await;
    let token = ground.file("token", ROOT);
    let receipt = ground.receipt_file();
    let settings = [
        ("FLIPT_EXPORT_SERVER", ground.server.url("")),
        ("FLIPT_EXPORT_SERVER_TOKEN_FILE", token),
        ("FLIPT_EXPORT_OUTPUT", ground.s3.at("flags/prod")),
        ("FLIPT_EXPORT_NAMESPACES", "default,te*".to_owned()),
        ("FLIPT_EXPORT_ENVIRONMENT", "default".to_owned()),
        ("FLIPT_EXPORT_FORMATS", "native".to_owned()),
        ("FLIPT_EXPORT_CONDITIONAL_WRITES", "on".to_owned()),
        ("FLIPT_EXPORT_KEEP_REVISIONS", "3".to_owned()),
        ("FLIPT_EXPORT_KEEP_AGE", "24h".to_owned()),
        ("FLIPT_EXPORT_GUARD_MAX_SHRINK", "10".to_owned()),
        ("FLIPT_EXPORT_TIMEOUT", "30s".to_owned()),
        ("FLIPT_EXPORT_RECEIPT_FILE", receipt.display().to_string()),
    ];
    let cli = Cli::new(ground.folder.path())
        .unwrap()
        .with_env(ground.s3.credentials())
        .with_env(settings.map(|(name, value)| (name.to_owned(), value)));
    cli.run(&["export"]).unwrap().success().unwrap();
    let receipt: Value = serde_json::from_str(&fs::read_to_string(&receipt).unwrap()).unwrap();
    assert_eq!((&receipt["flags"], &receipt["changed"]), (&json!(3), &json!(true)));
    assert!(!ground.s3.folder().join("flags/prod/features").exists());
}

#[tokio::test]
async fn the_server_offers_the_current_snapshot_and_the_ones_before() {
    let ground = Ground::new(ServerOptions::new()).await;
    let first = ground.get(POINTER, None).await;
    let etag = first.header("etag").unwrap().to_owned();
    let again = http::request("GET", ground.server.url(POINTER)).header("if-none-match", &etag);
    let again = again.send().await.unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_ne!(ground.get(POINTER, None).await.json()["verifiedAt"], first.json()["verifiedAt"]);

    let path = |pointer: &Value| format!("/snapshots/v1/default/{}", pointer["path"].as_str().unwrap());
    let off = json!({ "name": "checkout", "enabled": false });
    ground.ask("PUT", &format!("{FLAGS}/checkout"), off).await.ok().unwrap();
    let second = ground.get(POINTER, None).await;
    assert_ne!(second.header("etag"), Some(etag.as_str()));
    for pointer in [first.json(), second.json()] {
        let object = ground.get(&path(&pointer), None).await;
        assert_eq!(object.status, 200);
        assert_eq!(object.header("content-type"), Some("application/gzip"));
        assert_eq!(object.body.len() as u64, pointer["size"].as_u64().unwrap());
    }
    for missing in [
        "/snapshots/v1/nowhere/current.json".to_owned(),
        path(&first.json()).replace("/sha256/", "/sha256/x"),
        format!("/snapshots/v1/default/objects/sha256/ab/ab{}.json.gz", "0".repeat(62)),
        "/snapshots/v1/default/history/1.json".to_owned(),
    ] {
        assert_eq!(ground.get(&missing, None).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn a_pod_that_starts_while_s3_is_away_lives_on_the_server_until_s3_is_back() {
    let mut ground = Ground::new(with_tokens()).await;
    let token = ground.file("token", ROOT);
    let export = ["--all-namespaces", "--server-token-file", &token];
    assert_eq!(ground.export(&export).0.code, 0);
    ground.s3.kill();
    let sidecar = Sidecar::start(ground.sidecar().without_cache().with_arguments(&[
        "--source",
        &ground.server.url(""),
        "--source-token-file",
        &token,
    ]))
    .await
    .unwrap();
    let status = sidecar.status().await.unwrap();
    assert_eq!(
        (&status["source"], &status["upstream"]),
        (&json!("server"), &json!("unreachable")),
        "{status}"
    );
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    let loads = "flipt_snapshot_loads_total{result=\"ok\",source=\"server\"}";
    assert_eq!(sidecar.metric(loads).await, Ok(Some(1.0)), "{}", sidecar.logs());

    ground.s3.restart().await.unwrap();
    let status = until_some("S3 has taken over", Duration::from_secs(90), || async {
        Some(sidecar.status().await.unwrap()).filter(|status| status["source"] == "s3")
    })
    .await
    .unwrap_or_else(|failure| panic!("{failure}\n{}", sidecar.logs()));
    assert_eq!(status["upstream"], "ok");
}

#[tokio::test]
async fn a_pod_without_s3_and_server_lives_on_the_document_it_was_given() {
    let ground = Ground::new(ServerOptions::new()).await;
    let seed = ground
        .file("seed.yaml", "flags: [{key: checkout, name: C, type: BOOLEAN_FLAG_TYPE, enabled: true}]\n");
    let closed = format!("http://127.0.0.1:{}", flipt_e2e::free_port());
    let sources = format!("{} {closed} file://{seed}", ground.s3.at("flags/nothing-yet"));
    let options = SidecarOptions::new(sources).with_env(ground.s3.credentials());
    let sidecar = Sidecar::start(options).await.unwrap();
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    let status = sidecar.status().await.unwrap();
    assert_eq!((&status["source"], &status["upstream"]), (&json!("file"), &json!("missing")), "{status}");
}

#[tokio::test]
async fn a_sidecar_with_keys_follows_what_is_signed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let [private, public] = signing_keys(&folder);
    let signing = ("FLIPT_SNAPSHOTS_PUBLISH_SIGNING_KEY_FILE".to_owned(), private.clone());
    let ground = Ground::new(ServerOptions::new().with_env([signing])).await;

    // From the server itself, which signs what it offers.
    let options = SidecarOptions::new(ground.server.url("")).with_arguments(&["--verify-keys", &public]);
    let direct = Sidecar::start(options).await.unwrap();
    assert_eq!(direct.status().await.unwrap()["source"], "server");
    assert_eq!(direct.boolean("checkout", "e").await, Ok(true));

    let signed = ["--all-namespaces", "--signing-key-file", &private];
    assert_eq!(ground.export(&signed).0.code, 0);
    let sidecar = Sidecar::start(ground.sidecar().with_arguments(&["--verify-keys", &public])).await.unwrap();
    let off = json!({ "name": "checkout", "enabled": false });
    ground.ask("PUT", &format!("{FLAGS}/checkout"), off).await.ok().unwrap();
    assert_eq!(ground.export(&["--all-namespaces"]).0.code, 0);
    until("the unsigned snapshot is refused", PATIENCE, || async {
        sidecar.status().await.unwrap()["upstream"] == "unsigned"
    })
    .await
    .unwrap();
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    assert_eq!(ground.export(&signed).0.code, 0);
    until("the signed one is loaded", Duration::from_secs(60), || async {
        sidecar.boolean("checkout", "e").await == Ok(false)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_stopped_sidecar_ends_with_0_within_its_drain() {
    let ground = Ground::new(ServerOptions::new()).await;
    ground.export(&["--all-namespaces"]);
    let mut sidecar = Sidecar::start(ground.sidecar()).await.unwrap();
    let status = sidecar.process().terminate(BEFORE_THE_KUBELET).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!sidecar.logs().contains("cut off"), "{}", sidecar.logs());
}
