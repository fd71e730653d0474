//! Promise: what an object of a cluster owns is what that object says, and nobody else changes it, but for what it
//! leaves to them, and for a while in an emergency.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use flipt_e2e::{PATIENCE, Server, ServerOptions, http::Answer, until};
use flipt_proto::{flipt, flipt::core, ownership as pb};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const OWNERSHIP: &str = "/ownership/v1/environments/default";
const FLAGS: &str = "/api/v1/namespaces/default/flags";
const RESOURCES: &str = "/api/v2/environments/default/namespaces/default/resources";

async fn server() -> Server {
    Server::start(ServerOptions::new()).await.unwrap()
}

fn owner(name: &str, uid: &str) -> Value {
    json!({ "cluster": "c1", "namespace": "shop", "name": name, "uid": uid })
}

fn banner() -> Value {
    json!({ "key": "banner", "name": "Banner", "type": "BOOLEAN_FLAG_TYPE", "enabled": false })
}

/// What an owner sends who wants this flag.
fn wish(name: &str, flag: &Value) -> Value {
    json!({ "namespaceKey": "default", "owner": owner(name, "1"), "generation": "1", "flag": flag })
}

fn with(mut value: Value, field: &str, other: Value) -> Value {
    value[field] = other;
    value
}

async fn apply(server: &Server, wish: &Value) -> Value {
    server.change("POST", &format!("{OWNERSHIP}/apply"), wish.clone()).await.unwrap()
}

async fn get(server: &Server, path: &str) -> Value {
    server.call("GET", path, &json!({})).await.unwrap().ok().unwrap()
}

async fn managed(server: &Server) -> Vec<Value> {
    let list = get(server, &format!("{OWNERSHIP}/managed")).await;
    list["managed"].as_array().cloned().unwrap_or_default()
}

async fn is_on(server: &Server) -> bool {
    let request = json!({ "flagKey": "banner", "entityId": "e", "context": {} });
    let answer = server.change("POST", "/evaluate/v1/boolean", request).await.unwrap();
    answer["enabled"].as_bool().unwrap()
}

fn is_refused(answer: &Answer) {
    let body = answer.json();
    assert_eq!((answer.status, body["code"].as_i64()), (409, Some(9)), "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("managed by kubernetes c1/shop/banner: change the object, or "), "{message}");
}

#[tokio::test]
async fn an_owner_creates_claims_adopts_and_takes_over() {
    let server = server().await;
    let created = apply(&server, &wish("banner", &banner())).await;
    assert_eq!(created["outcome"], "CREATED");
    let again = apply(&server, &wish("banner", &banner())).await;
    assert_eq!(again["outcome"], "UNCHANGED");
    assert_eq!((&again["revision"], &again["contentHash"]), (&created["revision"], &created["contentHash"]));
    let rival = apply(&server, &wish("rival", &banner())).await;
    assert_eq!((rival["outcome"].as_str(), &rival["owner"]), (Some("CONFLICT"), &owner("banner", "1")));
    let successor = with(wish("banner", &banner()), "owner", owner("banner", "2"));
    assert_eq!(apply(&server, &successor).await["outcome"], "CLAIMED");
    assert_eq!(managed(&server).await[0]["owner"], owner("banner", "2"));

    let free = json!({ "key": "free", "name": "Free", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
    server.change("POST", FLAGS, free.clone()).await.unwrap();
    let other = with(free.clone(), "description", json!("wanted"));
    let left = apply(&server, &wish("free", &other)).await;
    assert_eq!(left["outcome"], "NOT_ADOPTED");
    assert_eq!(left["difference"], r#"description: nothing → "wanted""#);
    assert_eq!(apply(&server, &wish("free", &free)).await["outcome"], "CLAIMED");
    let release =
        json!({ "kind": "FLAG", "namespaceKey": "default", "key": "free", "owner": owner("free", "1") });
    let released = server.change("POST", &format!("{OWNERSHIP}/release"), release).await.unwrap();
    assert_eq!((released["released"].as_bool(), released["deleted"].as_bool()), (Some(true), Some(false)));
    let force = with(wish("free", &other), "adoption", json!("FORCE"));
    assert_eq!(apply(&server, &force).await["outcome"], "ADOPTED");
    assert_eq!(get(&server, &format!("{FLAGS}/free")).await["description"], "wanted");
}

#[tokio::test]
async fn what_was_changed_in_the_database_is_corrected_or_reported() {
    let server = server().await;
    apply(&server, &wish("banner", &banner())).await;
    let document =
        "namespace: default\nflags:\n- {key: banner, name: Mine, type: BOOLEAN_FLAG_TYPE, enabled: true}\n";
    let file = server.folder().join("drift.yaml");
    std::fs::write(&file, document).unwrap();
    let import = ["import", "--drop", "--yes", file.to_str().unwrap()];
    server.cli().unwrap().run(&import).unwrap().success().unwrap();
    until("the server sees the import", PATIENCE, || is_on(&server)).await.unwrap();
    let report = with(wish("banner", &banner()), "drift", json!("REPORT"));
    let reported = apply(&server, &report).await;
    assert_eq!(reported["outcome"], "DRIFT_REPORTED");
    assert_eq!(reported["difference"], r#"enabled: true → false; name: "Mine" → "Banner""#);
    let listed = managed(&server).await;
    assert_ne!(listed[0]["contentHash"], listed[0]["writtenHash"]);
    assert_eq!(apply(&server, &wish("banner", &banner())).await["outcome"], "DRIFT_CORRECTED");
    assert!(!is_on(&server).await);
    // An import through the server is an edit like any other.
    let import = ["import", "--address", &server.url(""), file.to_str().unwrap()];
    let finished = server.cli().unwrap().run(&import).unwrap();
    assert_ne!(finished.code, 0);
    assert!(!is_on(&server).await);
}

#[tokio::test]
async fn edits_of_what_is_owned_are_refused_on_every_api() {
    let server = server().await;
    let editable = with(wish("banner", &banner()), "uiEditable", json!(["ENABLED"]));
    let before = apply(&server, &editable).await["revision"].clone();
    let flag = format!("{FLAGS}/banner");
    let renamed = json!({ "name": "Mine", "enabled": false });
    is_refused(&server.call("PUT", &flag, &renamed).await.unwrap());
    is_refused(&server.call("DELETE", &flag, &json!({})).await.unwrap());
    let rollout = json!({ "rank": 1, "threshold": { "percentage": 50, "value": true } });
    is_refused(&server.call("POST", &format!("{flag}/rollouts"), &rollout).await.unwrap());
    is_refused(&server.call("POST", &format!("{flag}/variants"), &json!({ "key": "v" })).await.unwrap());
    let path = format!("{RESOURCES}/flipt.core.Flag/banner");
    let mut whole = get(&server, &path).await["resource"].clone();
    is_refused(&server.call("DELETE", &path, &json!({})).await.unwrap());
    whole["payload"]["name"] = json!("Mine");
    is_refused(&server.call("PUT", RESOURCES, &whole).await.unwrap());
    let request = flipt::DeleteFlagRequest { key: "banner".to_owned(), ..Default::default() };
    let status = server.grpc().unwrap().flipt().delete_flag(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert_eq!(get(&server, &format!("{OWNERSHIP}/managed")).await["revision"], before);
    // The switch is left to them, also as part of a whole flag.
    server.change("PUT", &flag, json!({ "name": "Banner", "enabled": true })).await.unwrap();
    assert!(is_on(&server).await);
    whole["payload"]["name"] = json!("Banner");
    whole["payload"]["enabled"] = json!(false);
    server.change("PUT", RESOURCES, whole).await.unwrap();
    server.change("PUT", &flag, json!({ "name": "Banner", "enabled": true })).await.unwrap();
    assert_eq!(apply(&server, &editable).await["outcome"], "UNCHANGED");
    assert!(is_on(&server).await);
}

#[tokio::test]
async fn an_override_is_honoured_and_ends_by_itself() {
    let server = server().await;
    apply(&server, &wish("banner", &banner())).await;
    let path = format!("{OWNERSHIP}/namespaces/default/flags/banner/override");
    let switch = json!({ "enabled": true, "durationSeconds": "8", "reason": "incident 7" });
    let begun = Instant::now();
    let overridden = server.change("PUT", &path, switch).await.unwrap();
    assert_eq!(overridden["override"]["ownerEnabled"], false);
    assert!(is_on(&server).await);
    let honoured = apply(&server, &wish("banner", &banner())).await;
    assert_eq!(honoured["outcome"], "UNCHANGED");
    assert_eq!(honoured["override"]["reason"], "incident 7");
    is_refused(&server.call("DELETE", &format!("{FLAGS}/banner"), &json!({})).await.unwrap());
    until("the override ends", PATIENCE, || async { !is_on(&server).await }).await.unwrap();
    let took = begun.elapsed();
    assert!((Duration::from_millis(7_500)..Duration::from_millis(12_500)).contains(&took), "{took:?}");
    assert!(managed(&server).await[0].get("override").is_none_or(Value::is_null));
    for text in ["override begun", "override ended"] {
        server.says(text).await.unwrap();
    }
    // By hand.
    server.change("PUT", &path, json!({ "enabled": true })).await.unwrap();
    server.change("DELETE", &path, json!({})).await.unwrap();
    assert!(!is_on(&server).await);
    let forever = json!({ "enabled": true, "durationSeconds": "259201" });
    assert_eq!(server.call("PUT", &path, &forever).await.unwrap().status, 400);
}

#[tokio::test]
async fn whoever_waits_for_changes_is_woken_at_once() {
    let server = server().await;
    let start = get(&server, &format!("{OWNERSHIP}/changes")).await;
    assert_eq!(start["reset"], true);
    let since = start["revision"].as_str().unwrap();
    let path = format!("{OWNERSHIP}/changes?since={since}&waitSeconds=20");
    let waiting = async {
        let changed = get(&server, &path).await;
        (changed, Instant::now())
    };
    let writing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        apply(&server, &wish("banner", &banner())).await;
        Instant::now()
    };
    let ((changed, woken), written) = tokio::join!(waiting, writing);
    assert_eq!(changed["changes"], json!([{ "kind": "FLAG", "namespaceKey": "default", "key": "banner" }]));
    assert_eq!(changed["reset"], false);
    assert!(woken.saturating_duration_since(written) < Duration::from_secs(10));
    let now = changed["revision"].as_str().unwrap();
    let quiet = get(&server, &format!("{OWNERSHIP}/changes?since={now}&waitSeconds=1")).await;
    assert_eq!((quiet["changes"].as_array().map(Vec::len), &quiet["revision"]), (Some(0), &json!(now)));
}

fn big(on: bool) -> pb::ApplyRequest {
    let variant = |key: &str| core::Variant { key: key.to_owned(), ..Default::default() };
    let chosen = if on { "on" } else { "off" };
    pb::ApplyRequest {
        environment_key: "default".to_owned(),
        namespace_key: "default".to_owned(),
        owner: Some(pb::Owner {
            cluster: "c1".to_owned(),
            namespace: "shop".to_owned(),
            name: "banner".to_owned(),
            uid: "1".to_owned(),
        }),
        desired: Some(pb::apply_request::Desired::Flag(core::Flag {
            key: "big".to_owned(),
            name: chosen.to_owned(),
            enabled: true,
            variants: vec![variant("on"), variant("off")],
            // The one rule that decides and the default are always the same variant: half a flag would show.
            default_variant: Some(chosen.to_owned()),
            rules: vec![core::Rule {
                segments: vec!["all".to_owned()],
                distributions: vec![core::Distribution { variant: chosen.to_owned(), rollout: 100.0 }],
                ..Default::default()
            }],
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[tokio::test]
async fn nobody_ever_sees_half_a_flag() {
    let server = server().await;
    let all = json!({ "key": "all", "name": "All", "matchType": "ALL_MATCH_TYPE" });
    server.change("POST", "/api/v1/namespaces/default/segments", all).await.unwrap();
    let mut owners = server.grpc().unwrap().ownership();
    owners.apply(big(true)).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut watchers = JoinSet::new();
    for _ in 0..2 {
        let (url, stopped) = (server.url("/evaluate/v1/variant"), stopped.clone());
        watchers.spawn(async move {
            let mut seen = 0;
            while !*stopped.borrow() {
                let request = json!({ "flagKey": "big", "entityId": "e", "context": {} });
                let answer = flipt_e2e::http::post(url.clone(), &request).await.unwrap().ok().unwrap();
                assert_eq!(answer["match"], true, "{answer}");
                assert!(["on", "off"].contains(&answer["variantKey"].as_str().unwrap()), "{answer}");
                assert_eq!(answer["reason"], "MATCH_EVALUATION_REASON", "{answer}");
                seen += 1;
            }
            seen
        });
    }
    for round in 0..60 {
        let answer = owners.apply(big(round % 2 == 1)).await.unwrap().into_inner();
        assert_eq!(answer.outcome(), pb::Outcome::Updated);
    }
    stop.send_replace(true);
    while let Some(seen) = watchers.join_next().await {
        assert!(seen.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_thousand_flags_are_listed_in_one_call() {
    let server = server().await;
    let mut owners = server.grpc().unwrap().ownership();
    let start = Instant::now();
    for number in 0..1_000 {
        let mut request = big(true);
        let Some(pb::apply_request::Desired::Flag(flag)) = &mut request.desired else { unreachable!() };
        flag.key = format!("flag-{number}");
        flag.rules.clear();
        owners.apply(request).await.unwrap();
    }
    let applying = start.elapsed();
    let request = pb::ListManagedRequest {
        environment_key: "default".to_owned(),
        cluster: "c1".to_owned(),
        ..Default::default()
    };
    let start = Instant::now();
    let list = owners.list_managed(request.clone()).await.unwrap().into_inner();
    let listing = start.elapsed();
    // One by one, they would take about as long to list as to apply.
    assert!(listing < applying, "{listing:?} to list, {applying:?} to apply");
    assert_eq!(list.managed.len(), 1_000);
    assert!(list.managed.iter().all(|managed| managed.content_hash == managed.written_hash));
    let other = pb::ListManagedRequest { cluster: "c2".to_owned(), ..request };
    assert!(owners.list_managed(other).await.unwrap().into_inner().managed.is_empty());
}

#[tokio::test]
async fn what_a_flag_refers_to_must_be_there() {
    let server = server().await;
    let mut owners = server.grpc().unwrap().ownership();
    let status = owners.apply(big(true)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().starts_with(r#"references unknown segment "all""#), "{}", status.message());
    let lost = pb::ApplyRequest { namespace_key: "lost".to_owned(), ..big(true) };
    let status = owners.apply(lost).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::NotFound, r#"namespace "lost" not found"#));
}

#[tokio::test]
async fn the_service_is_closed_to_strangers_and_to_tokens_of_one_namespace() {
    let secret = "owners-secret-of-these-tests";
    let environment = [
        ("FLIPT_AUTHENTICATION_REQUIRED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", secret),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let server = Server::start(ServerOptions::new().with_env(environment)).await.unwrap();
    let list = |token: Option<String>| {
        let request = flipt_e2e::http::request("GET", server.url(&format!("{OWNERSHIP}/managed")));
        async move { request.bearer(token.as_deref()).send().await.unwrap().status }
    };
    assert_eq!(list(None).await, 401);
    assert_eq!(list(Some(secret.to_owned())).await, 200);
    let body = json!({ "name": "ci", "namespaceKey": "default" });
    let created = flipt_e2e::http::request("POST", server.url("/auth/v1/method/token"))
        .bearer(Some(secret))
        .json(&body)
        .send()
        .await
        .unwrap()
        .ok()
        .unwrap();
    let scoped = created["clientToken"].as_str().unwrap().to_owned();
    assert_eq!(list(Some(scoped)).await, 401);
}
