//! Promise: server and sidecar answer bad input with the right status and a clear text, and go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_e2e::{
    PATIENCE, Server, ServerOptions, Sidecar, SidecarOptions,
    grpc::Grpc,
    http::{self, Answer},
    until,
};
use flipt_proto::{evaluation::EvaluationRequest, flipt as pb, ofrep::EvaluateFlagRequest};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A server with one boolean and one variant flag, and a sidecar with the same.
struct Ground {
    server: Server,
    sidecar: Sidecar,
    _folder: TempDir,
}

/// One of the two, asked alike.
struct Asked {
    name: &'static str,
    url: String,
    grpc: Grpc,
}

impl Ground {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("file://{}", folder.path().join("snapshots").display());
        let server = Server::start(ServerOptions::new().publish_to(&place)).await.unwrap();
        for (key, kind) in [("on", "BOOLEAN_FLAG_TYPE"), ("colour", "VARIANT_FLAG_TYPE")] {
            let flag = json!({ "key": key, "name": key, "type": kind, "enabled": true });
            server.change("POST", "/api/v1/namespaces/default/flags", flag).await.unwrap();
        }
        let sidecar = Sidecar::start(SidecarOptions::new(&place)).await.unwrap();
        until("both flags have arrived", PATIENCE, || async {
            sidecar.variant("colour", "e", json!({})).await.is_ok()
        })
        .await
        .unwrap();
        Self { server, sidecar, _folder: folder }
    }

    fn both(&self) -> [Asked; 2] {
        [
            Asked { name: "server", url: self.server.url(""), grpc: self.server.grpc().unwrap() },
            Asked { name: "sidecar", url: self.sidecar.url(""), grpc: self.sidecar.grpc().unwrap() },
        ]
    }

    /// Nothing has crashed, nor been restarted, and both still decide.
    async fn goes_on(mut self) {
        assert_eq!(self.server.boolean("on", "e").await, Ok(true));
        assert_eq!(self.sidecar.boolean("on", "e").await, Ok(true));
        assert_eq!(http::get(self.server.url("/health")).await.unwrap().status, 200);
        assert_eq!(self.sidecar.probe("/livez").await, Ok(200));
        assert_eq!(self.server.process().exit_status(), None);
        assert_eq!(self.sidecar.process().exit_status(), None);
        for logs in [self.server.logs(), self.sidecar.logs()] {
            assert!(!logs.contains("panicked"), "{logs}");
        }
    }
}

impl Asked {
    async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        http::request("POST", format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(body.into())
            .send()
            .await
            .unwrap_or_else(|failure| panic!("{}: {failure}", self.name))
    }

    /// Posts, and expects Flipt's error body with this code and text.
    async fn refuses(&self, path: &str, body: &str, status: u16, code: i32, text: &str) {
        let answer = self.post(path, body).await;
        let shown: String = body.chars().take(80).collect();
        let what = format!("{} {path} {shown}: {}", self.name, answer.text());
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
        let json = answer.json();
        assert_eq!(json["code"], code, "{what}");
        assert!(json["message"].as_str().unwrap_or_default().contains(text), "{text:?} is missing: {what}");
        let members: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "details", "message"], "{what}");
    }
}

const EVALUATIONS: [&str; 3] = ["/evaluate/v1/boolean", "/evaluate/v1/variant", "/api/v1/evaluate"];

#[tokio::test]
async fn an_unknown_flag_is_404_with_its_name() {
    let ground = Ground::new().await;
    for asked in ground.both() {
        let body = json!({ "flagKey": "nope", "entityId": "e" }).to_string();
        for path in EVALUATIONS {
            asked.refuses(path, &body, 404, 5, "flag \"default/nope\" not found").await;
        }
        let other = json!({ "namespaceKey": "nowhere", "flagKey": "on", "entityId": "e" }).to_string();
        asked.refuses("/evaluate/v1/boolean", &other, 404, 5, "nowhere").await;
        // In a batch, it is an entry of its own kind.
        let batch = json!({ "requests": [
            { "flagKey": "nope", "entityId": "e" }, { "flagKey": "on", "entityId": "e" },
        ] });
        let answer = asked.post("/evaluate/v1/batch", batch.to_string()).await.ok().unwrap();
        assert_eq!(answer["responses"][0]["errorResponse"]["reason"], "NOT_FOUND_ERROR_EVALUATION_REASON");
        assert_eq!(answer["responses"][1]["booleanResponse"]["enabled"], true);

        let many = json!({ "requests": vec![json!({ "flagKey": "on" }); 10_001] }).to_string();
        asked.refuses("/evaluate/v1/batch", &many, 400, 3, "at most 10000").await;

        let request = EvaluationRequest { flag_key: "nope".into(), ..Default::default() };
        let status = asked.grpc.evaluation().boolean(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert_eq!(status.message(), "flag \"default/nope\" not found");

        let answer = asked.post("/ofrep/v1/evaluate/flags/nope", "{}").await;
        assert_eq!((answer.status, &answer.json()["errorCode"]), (404, &json!("FLAG_NOT_FOUND")));
        assert_eq!(answer.json()["key"], "nope");
        let request = EvaluateFlagRequest { key: "nope".into(), ..Default::default() };
        let status = asked.grpc.ofrep().evaluate_flag(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
    let missing = http::get(ground.server.url("/api/v1/namespaces/default/flags/nope")).await.unwrap();
    assert_eq!((missing.status, &missing.json()["code"]), (404, &json!(5)));
    let mut client = ground.server.grpc().unwrap().flipt();
    let request = pb::GetFlagRequest { key: "nope".into(), ..Default::default() };
    assert_eq!(client.get_flag(request).await.unwrap_err().code(), tonic::Code::NotFound);
    ground.goes_on().await;
}

#[tokio::test]
async fn a_flag_of_the_other_type_is_400() {
    let ground = Ground::new().await;
    for asked in ground.both() {
        for (path, flag) in [("/evaluate/v1/boolean", "colour"), ("/evaluate/v1/variant", "on")] {
            let body = json!({ "flagKey": flag, "entityId": "e" }).to_string();
            asked.refuses(path, &body, 400, 3, flag_type(flag)).await;
        }
    }
    ground.goes_on().await;
}

/// What the text about a flag of the wrong type must name.
fn flag_type(flag: &str) -> &'static str {
    if flag == "on" { "BOOLEAN_FLAG_TYPE" } else { "VARIANT_FLAG_TYPE" }
}

#[tokio::test]
async fn malformed_json_is_400() {
    let ground = Ground::new().await;
    for asked in ground.both() {
        for path in EVALUATIONS.into_iter().chain(["/evaluate/v1/batch"]) {
            asked.refuses(path, "{\"flagKey\": \"on\"", 400, 3, "unexpected EOF").await;
            asked.refuses(path, "{flagKey: on}", 400, 3, "").await;
            asked.refuses(path, "not json", 400, 3, "").await;
            asked.refuses(path, "\u{0}\u{1}", 400, 3, "").await;
        }
        let answer = asked.post("/ofrep/v1/evaluate/flags/on", "{").await;
        assert_eq!((answer.status, &answer.json()["errorCode"]), (400, &json!("INVALID_CONTEXT")));
    }
    let [server, _] = ground.both();
    server.refuses("/api/v1/namespaces/default/flags", "{\"key\": ", 400, 3, "unexpected EOF").await;
    server.refuses("/api/v1/namespaces/default/flags", "{key}", 400, 3, "").await;
    ground.goes_on().await;
}

#[tokio::test]
async fn wrong_types_are_400_with_flipts_text() {
    const TEXT: &str = "invalid values for key(s) in json body";
    let ground = Ground::new().await;
    for asked in ground.both() {
        for path in EVALUATIONS {
            for body in [r#"{"flagKey":5}"#, r#"{"context":{"a":1}}"#, r#"{"context":[]}"#, "[]", "\"on\""] {
                asked.refuses(path, body, 400, 3, TEXT).await;
            }
        }
    }
    let [server, _] = ground.both();
    let flags = "/api/v1/namespaces/default/flags";
    for body in [r#"{"key":5}"#, r#"{"enabled":"yes"}"#, "[]", "5"] {
        server.refuses(flags, body, 400, 3, TEXT).await;
    }
    server.refuses(flags, r#"{"key":"k","name":"K","type":"NOPE"}"#, 400, 3, "NOPE").await;
    ground.goes_on().await;
}

#[tokio::test]
async fn an_oversized_body_is_413() {
    let ground = Ground::new().await;
    let body = json!({ "flagKey": "on", "entityId": "e", "context": { "x": "y".repeat(5 * 1024 * 1024) } });
    let body = body.to_string();
    for asked in ground.both() {
        for path in EVALUATIONS {
            asked.refuses(path, &body, 413, 8, "larger than").await;
        }
        let context = std::collections::HashMap::from([("x".to_owned(), "y".repeat(5 * 1024 * 1024))]);
        let request =
            EvaluationRequest { flag_key: "on".into(), entity_id: "e".into(), context, ..Default::default() };
        let status = asked.grpc.evaluation().boolean(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::OutOfRange, "{}: {status}", asked.name);
    }
    let [server, _] = ground.both();
    server.refuses("/api/v1/namespaces/default/flags", &body, 413, 8, "larger than").await;
    // Just below the limit it is read.
    let large = json!({ "flagKey": "on", "entityId": "e", "context": { "x": "y".repeat(4_000_000) } });
    for asked in ground.both() {
        assert_eq!(asked.post("/evaluate/v1/boolean", large.to_string()).await.status, 200);
    }
    ground.goes_on().await;
}

#[tokio::test]
async fn a_wrong_verb_is_501_and_an_unknown_path_404() {
    let ground = Ground::new().await;
    for asked in ground.both() {
        for (method, path) in [
            ("GET", "/evaluate/v1/boolean"),
            ("DELETE", "/evaluate/v1/batch"),
            ("PUT", "/api/v1/evaluate"),
            ("POST", "/ofrep/v1/configuration"),
        ] {
            let answer = http::request(method, format!("{}{path}", asked.url)).send().await.unwrap();
            assert_eq!(answer.status, 501, "{} {method} {path}", asked.name);
        }
        for path in ["/evaluate/v1/nonsense", "/ofrep/v1/nonsense"] {
            let answer = asked.post(path, "{}").await;
            assert_eq!(answer.status, 404, "{} {path}", asked.name);
            assert_eq!(answer.header("content-type"), Some("application/json"), "{} {path}", asked.name);
        }
        for path in ["/evaluated", "/nothing/here"] {
            let answer = asked.post(path, "{}").await;
            assert_eq!(answer.status, 404, "{} {path}", asked.name);
            let content_type = answer.header("content-type").unwrap();
            assert!(content_type.starts_with("text/plain"), "{} {path}: {content_type}", asked.name);
        }
    }
    let server = &ground.server;
    for (method, path) in [("PATCH", "/api/v1/namespaces"), ("POST", "/api/v1/namespaces/default/flags/on")] {
        let answer = server.call(method, path, &json!({})).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (501, &json!(12)), "{method} {path}");
    }
    for path in ["/api/v1/nonsense", "/internal/v1/nonsense"] {
        let answer = http::get(server.url(path)).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!(5)), "{path}");
    }
    ground.goes_on().await;
}

#[tokio::test]
async fn an_empty_namespace_in_a_path_is_the_default_one() {
    let ground = Ground::new().await;
    let flags = http::get(ground.server.url("/api/v1/namespaces//flags")).await.unwrap().ok().unwrap();
    assert_eq!(flags["totalCount"], 2, "{flags}");
    let flag = http::get(ground.server.url("/api/v1/namespaces//flags/on")).await.unwrap().ok().unwrap();
    assert_eq!((&flag["key"], &flag["namespaceKey"]), (&json!("on"), &json!("default")));
    for asked in ground.both() {
        let body = json!({ "flagKey": "colour", "entityId": "e" }).to_string();
        let answer = asked.post("/api/v1/namespaces//evaluate", body).await;
        assert_eq!(answer.status, 200, "{}: {}", asked.name, answer.text());
    }
    ground.goes_on().await;
}

#[tokio::test]
async fn invalid_values_of_fields_are_400_and_name_the_field() {
    let ground = Ground::new().await;
    let [server, _] = ground.both();
    let flags = "/api/v1/namespaces/default/flags";
    for (path, body, text) in [
        (flags, json!({ "name": "No key" }), "key"),
        (flags, json!({ "key": "a b", "name": "Spaces" }), "key"),
        (flags, json!({ "key": "on", "name": "Again" }), "is not unique"),
        ("/api/v1/namespaces", json!({ "key": "default", "name": "Again" }), "is not unique"),
    ] {
        server.refuses(path, &body.to_string(), 400, 3, text).await;
    }
    let body = json!({ "key": "v", "attachment": "{ no json" }).to_string();
    server.refuses(&format!("{flags}/colour/variants"), &body, 400, 3, "attachment").await;
    let rollout = json!({ "rank": 1, "threshold": { "percentage": 101, "value": true } }).to_string();
    server.refuses(&format!("{flags}/on/rollouts"), &rollout, 400, 3, "percentage").await;
    ground.goes_on().await;
}

#[tokio::test]
async fn garbage_on_the_wire_harms_nobody() {
    let ground = Ground::new().await;
    for url in [
        ground.server.url(""),
        ground.sidecar.url(""),
        ground.server.grpc_url(),
        ground.sidecar.grpc_url(),
        ground.sidecar.health_url(""),
    ] {
        let address = url.strip_prefix("http://").unwrap();
        for garbage in [
            b"\x00\xff\xfe\x00 nonsense\r\n\r\n".to_vec(),
            b"GET / HTTP/9.9\r\n\r\n".to_vec(),
            b"POST /evaluate/v1/boolean HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n".to_vec(),
            b"POST /evaluate/v1/boolean HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{".to_vec(),
            b"GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
            [b"GET /".as_slice(), &vec![b'a'; 2 * 1024 * 1024], b" HTTP/1.1\r\n\r\n"].concat(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // It may hang up on us at any moment.
            let _ = stream.write_all(&garbage).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let reading = stream.read_to_end(&mut answer);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(300), reading).await;
        }
    }
    ground.goes_on().await;
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_hold_up_others() {
    let ground = Ground::new().await;
    let mut stuck = Vec::new();
    for url in [ground.server.url(""), ground.sidecar.url("")] {
        for _ in 0..50 {
            let address = url.strip_prefix("http://").unwrap();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let head =
                "POST /evaluate/v1/boolean HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
            stream.write_all(head.as_bytes()).await.unwrap();
            stuck.push(stream);
        }
    }
    for asked in ground.both() {
        let body = json!({ "flagKey": "on", "entityId": "e" }).to_string();
        let asking = asked.post("/evaluate/v1/boolean", body);
        let answer = tokio::time::timeout(PATIENCE, asking).await.unwrap();
        assert_eq!(answer.json()["enabled"], Value::Bool(true), "{}", asked.name);
    }
    drop(stuck);
    ground.goes_on().await;
}
