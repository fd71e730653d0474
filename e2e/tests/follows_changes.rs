//! Promise: who follows a namespace sees every change at once, over HTTP and gRPC, and needs no second look.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_e2e::{BEFORE_THE_KUBELET, Server, ServerOptions, http};
use flipt_proto::client::{
    EvaluationNamespaceSnapshotStreamRequest, client_evaluation_service_client::ClientEvaluationServiceClient,
};
use serde_json::{Value, json};

const STREAM: &str = "/client/v2/environments/default/namespaces/default/stream";
const SNAPSHOT: &str = "/client/v2/environments/default/namespaces/default/snapshot";

async fn flag(server: &Server, key: &str) {
    let flag = json!({ "key": key, "name": key, "type": "BOOLEAN_FLAG_TYPE" });
    server.change("POST", "/api/v1/flags", flag).await.unwrap();
}

fn keys(line: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(line).unwrap();
    let flags = document["result"]["flags"].as_array().unwrap();
    flags.iter().map(|flag| flag["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_change_is_one_line_and_the_first_line_is_the_state_now() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    flag(&server, "a").await;
    let mut lines = http::request("GET", server.url(STREAM)).open().await.unwrap();
    assert_eq!(keys(&lines.next().await.unwrap()), ["a"]);
    for (key, expected) in [("b", vec!["a", "b"]), ("c", vec!["a", "b", "c"])] {
        flag(&server, key).await;
        assert_eq!(keys(&lines.next().await.unwrap()), expected);
    }
    // A change elsewhere is none here.
    server.change("POST", "/api/v1/namespaces", json!({ "key": "other", "name": "Other" })).await.unwrap();
    server
        .change("POST", "/api/v1/namespaces/other/flags", json!({ "key": "x", "name": "X" }))
        .await
        .unwrap();
    flag(&server, "d").await;
    assert_eq!(keys(&lines.next().await.unwrap()), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn events_name_the_tag_under_which_the_snapshot_is_then_found() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    flag(&server, "a").await;
    let open = || http::request("GET", server.url(STREAM)).header("accept", "text/event-stream").open();
    let mut events = open().await.unwrap();
    assert_eq!(events.next().await.unwrap(), "retry: 1000");
    let id = events.next().await.unwrap();
    let data = events.next().await.unwrap();
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["type"], "refetchEvaluation");
    let tag = data["etag"].as_str().unwrap();
    assert_eq!(id, format!("id: {}", &tag[..9]));
    let snapshot = http::get(server.url(SNAPSHOT)).await.unwrap();
    assert_eq!(snapshot.header("etag"), Some(tag));
    assert_eq!(snapshot.json()["digest"], tag);
    let again = http::request("GET", server.url(SNAPSHOT)).header("if-none-match", tag);
    let again = again.send().await.unwrap();
    assert_eq!((again.status, again.header("etag"), again.body.len()), (304, Some(tag), 0));
    // Who comes back with the last event it saw hears only what is new.
    let mut resumed = http::request("GET", server.url(STREAM))
        .header("accept", "text/event-stream")
        .header("last-event-id", &tag[..9])
        .open()
        .await
        .unwrap();
    assert_eq!(resumed.next().await.unwrap(), "retry: 1000");
    flag(&server, "b").await;
    let next = resumed.next().await.unwrap();
    assert!(next.starts_with("id: ") && next != id, "{next}");
}

#[tokio::test]
async fn a_known_digest_leaves_the_first_state_out_and_a_wrong_one_is_refused() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    flag(&server, "a").await;
    let digest = http::get(server.url(SNAPSHOT)).await.unwrap().json()["digest"].as_str().unwrap().to_owned();
    let mut lines =
        http::request("GET", server.url(&format!("{STREAM}?digest={digest}"))).open().await.unwrap();
    flag(&server, "b").await;
    assert_eq!(keys(&lines.next().await.unwrap()), ["a", "b"]);
    let refused = http::get(server.url(&format!("{STREAM}?digest=abc"))).await.unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["message"], "invalid field digest: must be a 40-character string");
}

#[tokio::test]
async fn grpc_streams_the_same_states() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    flag(&server, "a").await;
    let channel = tonic::transport::Endpoint::new(server.grpc_url()).unwrap().connect().await.unwrap();
    let request =
        EvaluationNamespaceSnapshotStreamRequest { key: "default".to_owned(), ..Default::default() };
    let mut client = ClientEvaluationServiceClient::new(channel);
    let mut stream = client.evaluation_snapshot_namespace_stream(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.flags.len(), 1);
    flag(&server, "b").await;
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!(second.flags.len(), 2);
    assert_eq!(second.digest, http::get(server.url(SNAPSHOT)).await.unwrap().json()["digest"]);
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_yet_can_be_waited_for() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    let stream = "/client/v2/environments/default/namespaces/later/stream";
    let mut lines = http::request("GET", server.url(stream)).open().await.unwrap();
    let missing = http::get(server.url(&stream.replace("stream", "snapshot"))).await.unwrap();
    assert_eq!(missing.status, 404);
    server.change("POST", "/api/v1/namespaces", json!({ "key": "later", "name": "Later" })).await.unwrap();
    assert_eq!(keys(&lines.next().await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn a_follower_does_not_keep_the_server_from_ending() {
    let mut server = Server::start(ServerOptions::new()).await.unwrap();
    flag(&server, "a").await;
    let mut lines = http::request("GET", server.url(STREAM)).open().await.unwrap();
    lines.next().await.unwrap();
    assert!(server.process().terminate(BEFORE_THE_KUBELET).await.unwrap().success());
    assert!(!server.logs().contains("cut off"), "{}", server.logs());
}

#[tokio::test]
async fn a_snapshot_is_compressed_for_who_takes_it_so() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    for number in 0..50 {
        flag(&server, &format!("flag-{number}")).await;
    }
    for path in [SNAPSHOT, "/internal/v1/evaluation/snapshot/namespace/default"] {
        let plain = http::get(server.url(path)).await.unwrap();
        let packed = http::request("GET", server.url(path)).header("accept-encoding", "gzip");
        let packed = packed.send().await.unwrap();
        assert_eq!(
            (plain.header("content-encoding"), packed.header("content-encoding")),
            (None, Some("gzip"))
        );
        assert_eq!(plain.header("etag"), packed.header("etag"));
        assert!(packed.body.len() * 3 < plain.body.len(), "{} {}", packed.body.len(), plain.body.len());
        let mut unpacked = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&packed.body[..]);
        std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body);
    }
}
