//! Promise: browsers get what they need and no more: answers to pages of other origins, compressed and tagged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read as _;

use flate2::read::{GzDecoder, ZlibDecoder};
use flipt_e2e::{
    Cli, PATIENCE, Server, ServerOptions, Sidecar, SidecarOptions,
    http::{self, Answer},
    until,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo.yaml");
const BULK: &str = "/ofrep/v1/evaluate/flags";
const FLAGS: &str = "/api/v1/namespaces/default/flags";

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn server(pairs: &[(&str, &str)]) -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    Cli::new(folder.path()).unwrap().run(&["import", DOCUMENT]).unwrap().success().unwrap();
    let options = ServerOptions::new()
        .in_folder(folder.path())
        .publish_to(&format!("file://{}", folder.path().join("snapshots").display()))
        .with_env(environment(pairs));
    let server = Server::start(options).await.unwrap();
    (folder, server)
}

/// A server that publishes, and a sidecar that follows it.
async fn both() -> (TempDir, Server, Sidecar) {
    let (folder, server) = server(&[]).await;
    let place = format!("file://{}", folder.path().join("snapshots").display());
    let sidecar = Sidecar::start(SidecarOptions::new(place)).await.unwrap();
    (folder, server, sidecar)
}

/// What a page asks before a request that is not simple.
async fn preflight(url: String, origin: &str, method: &str, headers: &str) -> Answer {
    http::request("OPTIONS", url)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn one_setting_lets_the_sdks_for_browsers_work() {
    let (_folder, server) = server(&[("FLIPT_CORS_ENABLED", "true")]).await;
    let page = "https://shop.example";
    let sent = "authorization,if-none-match,x-flipt-accept-server-version,x-flipt-environment";
    let path = "/internal/v1/evaluation/snapshot/namespace/default";
    let allowed = preflight(server.url(path), page, "GET", sent).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        Some("Authorization, If-None-Match, X-Flipt-Accept-Server-Version, X-Flipt-Environment")
    );
    let answer = http::request("GET", server.url(path)).header("origin", page).send().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-expose-headers"), Some("Link, ETag"));
    assert!(answer.header("etag").is_some());
    // Failures, too, are for the page to read.
    let missing = format!("{FLAGS}/missing");
    let failed = http::request("GET", server.url(&missing)).header("origin", page).send().await.unwrap();
    assert_eq!((failed.status, failed.header("access-control-allow-origin")), (404, Some("*")));
}

#[tokio::test]
async fn pages_of_other_origins_learn_nothing_unless_somebody_lets_them() {
    let (_folder, server) = server(&[]).await;
    let answer = preflight(server.url(FLAGS), "https://shop.example", "GET", "authorization").await;
    assert_eq!(answer.status, 501);
    assert!(answer.header("access-control-allow-origin").is_none());
    let asking = http::request("GET", server.url(FLAGS)).header("origin", "https://shop.example");
    assert!(asking.send().await.unwrap().header("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn the_sidecar_answers_no_page_of_any_origin() {
    let (_folder, _server, sidecar) = both().await;
    let answer = preflight(sidecar.url(BULK), "http://localhost:3000", "POST", "content-type").await;
    assert_eq!(answer.status, 501);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{answer:?}");
    let body = json!({ "flagKey": "new-checkout", "entityId": "someone" });
    let asking = http::request("POST", sidecar.url("/evaluate/v1/boolean")).json(&body);
    let answer = asking.header("origin", "http://localhost:3000").send().await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{answer:?}");
}

#[tokio::test]
async fn answers_are_compressed_for_who_asks() {
    let (_folder, server) = server(&[]).await;
    let ask =
        |coding: &'static str| http::request("GET", server.url(FLAGS)).header("accept-encoding", coding);
    let plain = http::get(server.url(FLAGS)).await.unwrap();
    assert!(plain.header("content-encoding").is_none());
    assert!(plain.body.len() > 1024, "the example is too small: {}", plain.body.len());

    let gzip = ask("gzip, deflate").send().await.unwrap();
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(gzip.header("content-type"), Some("application/json"));
    assert_eq!(gzip.header("vary"), Some("Accept-Encoding"));
    let mut text = Vec::new();
    GzDecoder::new(&*gzip.body).read_to_end(&mut text).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), plain.json());

    let deflate = ask("deflate").send().await.unwrap();
    assert_eq!(deflate.header("content-encoding"), Some("deflate"));
    let mut text = Vec::new();
    ZlibDecoder::new(&*deflate.body).read_to_end(&mut text).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), plain.json());

    for coding in ["br", "identity", "gzip;q=0"] {
        let answer = ask(coding).send().await.unwrap();
        assert!(answer.header("content-encoding").is_none(), "{coding}");
        assert_eq!(answer.json(), plain.json(), "{coding}");
    }
}

/// The head of a stream's answer with its content up to a part, which must come although the stream goes on.
async fn start_of_stream(server: &Server, accept: &str, part: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.http_port())).await.unwrap();
    let path = "/client/v2/environments/default/namespaces/default/stream";
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n");
    stream.write_all(format!("{head}Accept-Encoding: gzip\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains(part) {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "the stream ended");
        }
    };
    if tokio::time::timeout(PATIENCE, reading).await.is_err() {
        panic!("{part} is held back: {}", String::from_utf8_lossy(&text));
    }
    String::from_utf8_lossy(&text).to_lowercase()
}

#[tokio::test]
async fn streams_are_neither_compressed_nor_held_back() {
    let (_folder, server) = server(&[]).await;
    for (accept, part) in [("text/event-stream", "refetchEvaluation"), ("application/json", "button-colour")]
    {
        let text = start_of_stream(&server, accept, part).await;
        assert!(text.starts_with("http/1.1 200"), "{text}");
        assert!(!text.contains("content-encoding"), "{text}");
    }
}

fn bulk(url: String, context: &Value) -> http::Request {
    http::request("POST", url).json(&json!({ "context": context }))
}

/// The tag of a bulk evaluation, which must be answered.
async fn tag(url: String, context: &Value) -> String {
    let answer = bulk(url, context).send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("etag").unwrap_or_else(|| panic!("no tag: {answer:?}")).to_owned()
}

async fn assert_bulk_is_tagged(url: &str) {
    let someone = json!({ "targetingKey": "someone", "plan": "pro" });
    let known = tag(url.to_owned(), &someone).await;
    assert!(known.starts_with("W/\""), "{known}");
    for condition in [known.clone(), format!("\"other\", {known}")] {
        let answer = bulk(url.to_owned(), &someone).header("if-none-match", &condition).send().await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{condition}");
        assert_eq!(answer.header("etag"), Some(known.as_str()));
    }
    // Another context may be another answer.
    for other in [
        json!({ "targetingKey": "else", "plan": "pro" }),
        json!({ "targetingKey": "someone", "plan": "free" }),
        json!({ "targetingKey": "someone" }),
    ] {
        let answer = bulk(url.to_owned(), &other).header("if-none-match", &known).send().await.unwrap();
        assert_eq!(answer.status, 200, "{other}");
        assert_ne!(answer.header("etag").unwrap(), known, "{other}");
    }
    // So may another namespace.
    let mobile = bulk(url.to_owned(), &someone).header("x-flipt-namespace", "mobile");
    let answer = mobile.header("if-none-match", &known).send().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["flags"][0]["key"], "offline-maps", "{}", answer.text());
    // Without a targeting key the entity is made up anew each time.
    let nobody = bulk(url.to_owned(), &json!({})).header("if-none-match", "*").send().await.unwrap();
    assert_eq!((nobody.status, nobody.header("etag")), (200, None));
    // Failures are no state.
    let unknown = json!({ "targetingKey": "someone", "flags": "missing" });
    let failed = bulk(url.to_owned(), &unknown).send().await.unwrap();
    assert_eq!((failed.status, failed.header("etag")), (404, None));
    assert_eq!(failed.json()["errorCode"], "FLAG_NOT_FOUND");
    let numbers = bulk(url.to_owned(), &json!({ "targetingKey": "someone", "age": 5 })).send().await.unwrap();
    assert_eq!((numbers.status, numbers.header("etag")), (400, None));
    assert_eq!(numbers.json()["errorCode"], "INVALID_CONTEXT");
}

#[tokio::test]
async fn bulk_evaluation_over_ofrep_is_answered_only_if_something_changed() {
    let (_folder, server, sidecar) = both().await;
    assert_bulk_is_tagged(&server.url(BULK)).await;
    assert_bulk_is_tagged(&sidecar.url(BULK)).await;

    let someone = json!({ "targetingKey": "someone" });
    let before = (tag(server.url(BULK), &someone).await, tag(sidecar.url(BULK), &someone).await);
    let flag = json!({ "name": "Maintenance banner", "enabled": true });
    server.change("PUT", &format!("{FLAGS}/maintenance-banner"), flag).await.unwrap();
    let answer = bulk(server.url(BULK), &someone).header("if-none-match", &before.0).send().await.unwrap();
    assert_eq!(answer.status, 200);
    until("the sidecar answers anew", PATIENCE, || {
        let asking = bulk(sidecar.url(BULK), &someone).header("if-none-match", &before.1).send();
        async move { asking.await.is_ok_and(|answer| answer.status == 200) }
    })
    .await
    .unwrap_or_else(|failure| panic!("{failure}\n{}", sidecar.logs()));
}
