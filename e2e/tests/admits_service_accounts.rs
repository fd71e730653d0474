//! Promise: a server admits service accounts of its cluster by their tokens, for what its allow-list says, and
//! nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use flipt_e2e::{
    ApiServer, Claims, PATIENCE, Server, ServerOptions, Signer,
    grpc::with_token,
    http::{self, Answer},
    jwks, until, write_jwks,
};
use flipt_proto::{
    auth::VerifyServiceAccountRequest, evaluation::EvaluationRequest, flipt as pb, ofrep::EvaluateFlagRequest,
};
use serde_json::{Value, json};
use tonic::Code;

const ROOT: &str = "root-token-of-the-tests";
const ALLOW: &str = "ops/operator=write;ops/viewer=read;shop/*=evaluate;team/*=write:team|team-*";
const METHOD: &str = "FLIPT_AUTHENTICATION_METHODS_KUBERNETES";
const EXCHANGE: &str = "/auth/v1/method/kubernetes/serviceaccount";

/// A cluster with a server in it that requires authentication.
struct Ground {
    key: Signer,
    cluster: ApiServer,
    server: Server,
}

impl Ground {
    async fn new(more: &[(&str, &str)]) -> Self {
        let key = Signer::rsa("key-1");
        let cluster = ApiServer::start(&[&key]).await.unwrap();
        let server = Server::start(options(&cluster, more)).await.unwrap();
        for namespace in ["team", "other"] {
            let body = json!({ "key": namespace, "name": namespace });
            let answer = ask(&server, "POST", "/api/v1/namespaces", Some(ROOT), body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        for namespace in ["default", "team", "other"] {
            let flag = json!({ "key": "on", "name": "On", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
            let path = format!("/api/v1/namespaces/{namespace}/flags");
            assert_eq!(ask(&server, "POST", &path, Some(ROOT), flag).await.status, 200);
        }
        until_keys_are_known(&server).await;
        Self { key, cluster, server }
    }

    fn token(&self, namespace: &str, account: &str) -> String {
        self.key.token(&caller(namespace, account))
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        ask(&self.server, method, path, Some(token), body).await
    }

    /// How a caller fares over REST, OFREP and gRPC when it evaluates.
    async fn evaluation(&self, token: &str, namespace: &str) -> (u16, u16, Code, Code) {
        let body = json!({ "namespaceKey": namespace, "flagKey": "on", "entityId": "e" });
        let rest = self.ask("POST", "/evaluate/v1/boolean", token, body).await.status;
        let ofrep = http::request("POST", self.server.url("/ofrep/v1/evaluate/flags/on"))
            .json(&json!({ "context": { "targetingKey": "e" } }))
            .header("x-flipt-namespace", namespace)
            .bearer(Some(token))
            .send()
            .await
            .unwrap()
            .status;
        let grpc = self.server.grpc().unwrap();
        let request = EvaluationRequest {
            namespace_key: namespace.to_owned(),
            flag_key: "on".to_owned(),
            entity_id: "e".to_owned(),
            ..Default::default()
        };
        let over_grpc = code(grpc.evaluation().boolean(with_token(request, Some(token))).await);
        let context = [("targetingKey".to_owned(), "e".to_owned())].into();
        let mut request = with_token(EvaluateFlagRequest { key: "on".into(), context }, Some(token));
        request.metadata_mut().insert("x-flipt-namespace", namespace.parse().unwrap());
        (rest, ofrep, over_grpc, code(grpc.ofrep().evaluate_flag(request).await))
    }

    /// Statuses of a read, a write and a look at the tokens of all callers, in a namespace.
    async fn management(&self, token: &str, namespace: &str) -> (u16, u16, u16) {
        let flags = format!("/api/v1/namespaces/{namespace}/flags");
        let flag = json!({ "key": "on", "name": "On", "enabled": true });
        (
            self.ask("GET", &flags, token, json!({})).await.status,
            self.ask("PUT", &format!("{flags}/on"), token, flag).await.status,
            self.ask("GET", "/auth/v1/tokens", token, json!({})).await.status,
        )
    }
}

const ADMITTED: (u16, u16, Code, Code) = (200, 200, Code::Ok, Code::Ok);
const UNKNOWN: (u16, u16, Code, Code) = (401, 401, Code::Unauthenticated, Code::Unauthenticated);
const FORBIDDEN: (u16, u16, Code, Code) = (403, 403, Code::PermissionDenied, Code::PermissionDenied);
const UNAVAILABLE: (u16, u16, Code, Code) = (503, 503, Code::Unavailable, Code::Unavailable);

fn options(cluster: &ApiServer, more: &[(&str, &str)]) -> ServerOptions {
    let always = [
        ("FLIPT_AUTHENTICATION_REQUIRED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", ROOT),
        ("FLIPT_AUTHENTICATION_METHODS_KUBERNETES_ALLOW", ALLOW),
    ];
    let more = always.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ServerOptions::new().with_env(cluster.environment().into_iter().chain(more))
}

fn caller(namespace: &str, account: &str) -> Claims {
    Claims::of(namespace, account, "a-pod").audience("flipt-server")
}

/// Waits until the server has read the keys, for which requests do not wait long.
async fn until_keys_are_known(server: &Server) {
    let readings = r#"flipt_auth_key_refreshes_total{result="ok"}"#;
    until("the keys are known", PATIENCE, || async { server.metric(readings).await.unwrap() >= Some(1.0) })
        .await
        .unwrap();
}

async fn ask(server: &Server, method: &str, path: &str, token: Option<&str>, body: Value) -> Answer {
    http::request(method, server.url(path)).bearer(token).json(&body).send().await.unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_service_account_may_do_what_its_entry_says_and_no_more() {
    let ground = Ground::new(&[]).await;
    for (namespace, account, management) in [
        ("ops", "operator", (200, 200, 403)),
        ("ops", "viewer", (200, 403, 403)),
        ("shop", "checkout", (403, 403, 403)),
    ] {
        let token = ground.token(namespace, account);
        assert_eq!(ground.evaluation(&token, "default").await, ADMITTED, "{account}");
        assert_eq!(ground.management(&token, "default").await, management, "{account}");
        for path in ["/internal/v1/evaluation/snapshot/namespace/default", "/auth/v1/self"] {
            assert_eq!(ground.ask("GET", path, &token, json!({})).await.status, 200, "{account} {path}");
        }
        let reads = "/api/v2/environments/default/namespaces/default/resources/flipt.core.Flag";
        assert_eq!(ground.ask("GET", reads, &token, json!({})).await.status, management.0, "{account}");
        assert_eq!(ground.ask("GET", "/meta/info", &token, json!({})).await.status, management.0);
        let published = ground.ask("GET", "/snapshots/v1/default/current.json", &token, json!({})).await;
        assert_eq!(published.status, 200, "{account}");
        let owned = "/ownership/v1/environments/default";
        let listed = ground.ask("GET", &format!("{owned}/managed"), &token, json!({})).await;
        assert_eq!(listed.status, management.0, "{account}");
        // Nothing to release is what a caller hears who may release.
        let released = ground.ask("POST", &format!("{owned}/release"), &token, json!({})).await;
        assert_eq!(released.status == 403, management.1 == 403, "{account}");
        // Nobody makes tokens that live longer than its own.
        let new = ground.ask("POST", "/auth/v1/method/token", &token, json!({ "name": "x" })).await;
        assert_eq!(new.status, 403, "{account}");
        let list = pb::ListFlagRequest::default();
        let listed = ground.server.grpc().unwrap().flipt().list_flags(with_token(list, Some(&token))).await;
        let expected = if management.0 == 200 { Code::Ok } else { Code::PermissionDenied };
        assert_eq!(code(listed), expected, "{account}");
    }
    for (namespace, account) in [("stock", "checkout"), ("ops", "operator2"), ("shops", "checkout")] {
        let token = ground.token(namespace, account);
        assert_eq!(ground.evaluation(&token, "default").await, FORBIDDEN, "{namespace}/{account}");
    }
    // The static token is still as good as ever.
    assert_eq!(ground.evaluation(ROOT, "default").await, ADMITTED);
}

#[tokio::test]
async fn an_entry_with_namespaces_is_about_those_only() {
    let ground = Ground::new(&[]).await;
    let token = ground.token("team", "app");
    assert_eq!(ground.evaluation(&token, "team").await, ADMITTED);
    assert_eq!(ground.evaluation(&token, "other").await, FORBIDDEN);
    assert_eq!(ground.evaluation(&token, "default").await, FORBIDDEN);
    assert_eq!(ground.management(&token, "team").await, (200, 200, 403));
    assert_eq!(ground.management(&token, "other").await, (403, 403, 403));
    for (method, path, body, status) in [
        ("GET", "/api/v1/namespaces", json!({}), 403),
        ("GET", "/api/v2/environments/default/namespaces", json!({}), 403),
        ("GET", "/api/v1/namespaces/team", json!({}), 200),
        ("GET", "/api/v2/environments/default/namespaces/team", json!({}), 200),
        ("GET", "/api/v2/environments/default/namespaces/other", json!({}), 403),
        ("GET", "/internal/v1/evaluation/snapshot/namespace/team", json!({}), 200),
        ("GET", "/internal/v1/evaluation/snapshot/namespace/other", json!({}), 403),
        ("GET", "/client/v2/environments/default/namespaces/other/snapshot", json!({}), 403),
        ("GET", "/snapshots/v1/default/current.json", json!({}), 403),
        ("GET", "/ownership/v1/environments/default/managed", json!({}), 403),
        ("GET", "/ownership/v1/environments/default/managed?namespaceKey=team", json!({}), 200),
        ("GET", "/ownership/v1/environments/default/managed?namespaceKey=other", json!({}), 403),
        ("GET", "/ownership/v1/environments/default/changes", json!({}), 403),
        ("POST", "/api/v1/namespaces", json!({ "key": "team-2", "name": "Two" }), 200),
        ("POST", "/api/v1/namespaces", json!({ "key": "mine", "name": "Mine" }), 403),
        ("GET", "/ofrep/v1/configuration", json!({}), 200),
        ("GET", "/auth/v1/self", json!({}), 200),
    ] {
        assert_eq!(ground.ask(method, path, &token, body).await.status, status, "{method} {path}");
    }
    let entry = |namespace: &str| json!({ "namespaceKey": namespace, "flagKey": "on", "entityId": "e" });
    for (namespaces, status) in [(["team", "team"], 200), (["team", "other"], 403)] {
        let batch = json!({ "requests": namespaces.map(entry) });
        assert_eq!(ground.ask("POST", "/evaluate/v1/batch", &token, batch).await.status, status);
    }
}

#[tokio::test]
async fn every_kind_of_forged_or_foreign_token_is_refused_and_none_is_written_down() {
    let ground = Ground::new(&[]).await;
    let (key, good) = (&ground.key, || caller("shop", "checkout"));
    let mut tokens = vec![
        ("expired", key.token(&good().expired(3600))),
        ("for another audience", key.token(&good().audience("flipt"))),
        ("for the API server", key.token(&good().audience(Claims::ISSUER))),
        ("of another issuer", key.token(&good().issuer("https://elsewhere.example"))),
        ("issuer with a slash", key.token(&good().issuer(&format!("{}/", Claims::ISSUER)))),
        ("legacy", key.token(&good().with("exp", json!(null)).issuer("kubernetes/serviceaccount"))),
        ("alg none", good().unsigned("key-1")),
        ("unknown key", Signer::rsa("key-9").token(&good())),
        ("known id, other key", Signer::rsa("key-1").token(&good())),
        ("lives for two days", key.token(&good().with("exp", json!(4_000_000_000_u64)))),
        ("subject of another", key.token(&good().with("sub", json!("system:serviceaccount:ops:operator")))),
    ];
    for forged in key.tokens_with_public_key_as_secret(&good()) {
        tokens.push(("HS256 with the public key", forged));
    }
    for (what, token) in &tokens {
        assert_eq!(ground.evaluation(token, "default").await, UNKNOWN, "{what}");
        let body = json!({ "serviceAccountToken": token });
        let exchanged = ask(&ground.server, "POST", EXCHANGE, None, body).await;
        assert_eq!(exchanged.status, 401, "{what}");
        let refused = ground.ask("GET", "/api/v1/flags", token, json!({})).await;
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{what}: {challenge}");
    }
    let token = key.token(&good());
    assert_eq!(ground.evaluation(&token, "default").await, ADMITTED);
    assert!(ground.server.metric("flipt_auth_total{result=\"expired\"}").await.unwrap() >= Some(1.0));
    let (logs, metrics) =
        (ground.server.logs(), http::get(ground.server.url("/metrics")).await.unwrap().text());
    tokens.push(("good", token));
    for part in tokens.iter().flat_map(|(_, token)| token.split('.').skip(1)).filter(|part| part.len() > 16) {
        assert!(!logs.contains(part) && !metrics.contains(part), "a part of a token is written down: {part}");
    }
}

#[tokio::test]
async fn the_exchange_gives_the_token_back_as_clients_expect() {
    let ground = Ground::new(&[]).await;
    let token = ground.token("shop", "checkout");
    for field in ["serviceAccountToken", "service_account_token"] {
        let answer = ask(&ground.server, "POST", EXCHANGE, None, json!({ field: token })).await.ok().unwrap();
        assert_eq!(answer["clientToken"], token.as_str());
        let authentication = &answer["authentication"];
        assert_eq!(authentication["method"], "METHOD_KUBERNETES");
        assert!(authentication["expiresAt"].as_str().unwrap().ends_with('Z'));
        let metadata = &authentication["metadata"];
        assert_eq!(metadata["io.flipt.auth.k8s.namespace"], "shop");
        assert_eq!(metadata["io.flipt.auth.k8s.serviceaccount.name"], "checkout");
        assert_eq!(metadata["io.flipt.auth.k8s.pod.uid"], "a-pod");
        assert_eq!(metadata.as_object().unwrap().len(), 5);
    }
    let mine = ground.ask("GET", "/auth/v1/self", &token, json!({})).await.ok().unwrap();
    assert_eq!(mine["metadata"]["io.flipt.auth.k8s.namespace"], "shop");
    let grpc = ground.server.grpc().unwrap();
    let request = VerifyServiceAccountRequest { service_account_token: token.clone() };
    let over_grpc = grpc.service_accounts().verify_service_account(request).await.unwrap().into_inner();
    assert_eq!(over_grpc.client_token, token);
    assert_eq!(over_grpc.authentication.unwrap().id, mine["id"].as_str().unwrap());
    let stranger = VerifyServiceAccountRequest { service_account_token: "nonsense".into() };
    let refused = grpc.service_accounts().verify_service_account(stranger).await;
    assert_eq!(code(refused), Code::Unauthenticated);
    let methods = http::get(ground.server.url("/auth/v1/method")).await.unwrap().json();
    assert_eq!(methods["methods"][3]["method"], "METHOD_KUBERNETES");
    assert_eq!(methods["methods"][3]["enabled"], true);
    // It ends by itself.
    assert_eq!(ground.ask("PUT", "/auth/v1/self/expire", &token, json!({})).await.status, 400);
}

#[tokio::test]
async fn tokens_for_the_api_server_are_accepted_only_where_that_is_wanted() {
    let accepts = format!("{METHOD}_ACCEPT_API_AUDIENCE");
    let ground = Ground::new(&[(&accepts, "true")]).await;
    for audience in [Claims::ISSUER, "https://kubernetes.default.svc", "flipt-server"] {
        let token = ground.key.token(&caller("shop", "checkout").audience(audience));
        assert_eq!(ground.evaluation(&token, "default").await, ADMITTED, "{audience}");
    }
    let year = caller("shop", "checkout").audience(Claims::ISSUER).with("exp", json!(4_000_000_000_u64));
    assert_eq!(ground.evaluation(&ground.key.token(&year), "default").await, ADMITTED);
    let other = ground.key.token(&caller("shop", "checkout").audience("vault"));
    assert_eq!(ground.evaluation(&other, "default").await, UNKNOWN);
}

#[tokio::test]
async fn rotated_keys_are_learned_and_a_flood_of_unknown_ones_asks_the_api_server_rarely() {
    let ground = Ground::new(&[]).await;
    let token = ground.token("shop", "checkout");
    assert_eq!(ground.evaluation(&token, "default").await, ADMITTED);
    let (start, before) = (Instant::now(), ground.cluster.readings());
    for number in 0..50 {
        let stranger = Signer::p256(&format!("unknown-{number}")).token(&caller("shop", "checkout"));
        let body = json!({ "flagKey": "on", "entityId": "e" });
        assert_eq!(ground.ask("POST", "/evaluate/v1/boolean", &stranger, body).await.status, 401);
    }
    let readings = ground.cluster.readings() - before;
    let seconds = start.elapsed().as_secs();
    assert!(readings as u64 <= 2 + seconds / 10, "{readings} readings within {seconds} s");
    let new = Signer::p256("key-2");
    ground.cluster.publish(&[&ground.key, &new]);
    let fresh = new.token(&caller("shop", "checkout"));
    until("the new key is known", PATIENCE, || async {
        ground.evaluation(&fresh, "default").await == ADMITTED
    })
    .await
    .unwrap();
    assert_eq!(ground.evaluation(&token, "default").await, ADMITTED);
}

#[tokio::test]
async fn an_api_server_that_is_away_stops_neither_callers_nor_the_start() {
    let mut ground = Ground::new(&[]).await;
    assert_eq!(ground.evaluation(&ground.token("shop", "checkout"), "default").await, ADMITTED);
    ground.cluster.stop().await;
    let fresh = ground.key.token(&caller("shop", "checkout").with("jti", json!("new")));
    assert_eq!(ground.evaluation(&fresh, "default").await, ADMITTED);
    // A server that starts now knows no keys: it says "later", not "no".
    ground.server.kill();
    ground.server.restart().await.unwrap();
    assert_eq!(ground.evaluation(&fresh, "default").await, UNAVAILABLE);
    assert_eq!(ground.evaluation(ROOT, "default").await, ADMITTED);
    ground.cluster.begin().await.unwrap();
    until("the keys are known", PATIENCE, || async {
        ground.evaluation(&fresh, "default").await == ADMITTED
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn keys_older_than_max_stale_are_used_no_longer() {
    let max_stale = format!("{METHOD}_KEYS_MAX_STALE");
    let mut ground = Ground::new(&[(&max_stale, "1s")]).await;
    let token = ground.token("shop", "checkout");
    assert_eq!(ground.evaluation(&token, "default").await, ADMITTED);
    ground.cluster.stop().await;
    until("the keys are too old", PATIENCE, || async {
        ground.evaluation(&token, "default").await == UNAVAILABLE
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn keys_come_from_a_file_or_an_address_if_one_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let key = Signer::rsa("file-key");
    write_jwks(&file, &[&key]).unwrap();
    let file_key = format!("{METHOD}_KEYS_FILE");
    let ground = Ground::new(&[(&file_key, file.to_str().unwrap())]).await;
    let token = key.token(&caller("shop", "checkout"));
    assert_eq!(ground.evaluation(&token, "default").await, ADMITTED);
    let theirs = ground.token("shop", "checkout");
    assert_eq!(ground.evaluation(&theirs, "default").await, UNKNOWN);
    assert_eq!(ground.cluster.readings(), 0);
    assert_eq!(jwks(&[&key])["keys"][0]["kid"], "file-key");

    // An address gets no token; the stand-in refuses who shows one.
    let address = format!("{METHOD}_KEYS_URL");
    let url = ground.cluster.url("/public/jwks");
    let server = Server::start(options(&ground.cluster, &[(&address, &url)])).await.unwrap();
    let ground = Ground { server, ..ground };
    until("keys of the address", PATIENCE, || async {
        let body = json!({ "flagKey": "on", "entityId": "e" });
        ground.ask("POST", "/evaluate/v1/boolean", &theirs, body).await.status == 404
    })
    .await
    .unwrap();
}

/// How long the answer to a review is good.
const REVIEWED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_reviewed_token_ends_with_its_pod_and_without_the_api_server_new_ones_wait() {
    let review = format!("{METHOD}_TOKEN_REVIEW_ENABLED");
    let cache = format!("{METHOD}_TOKEN_REVIEW_CACHE");
    let mut ground = Ground::new(&[(&review, "true"), (&cache, "5s")]).await;
    let token = ground.token("shop", "checkout");
    let asked = Instant::now();
    assert_eq!(ground.evaluation(&token, "default").await, ADMITTED);
    let reviews = ground.cluster.reviews();
    assert!(reviews == 1 || asked.elapsed() > REVIEWED, "{reviews} reviews within five seconds");
    // The stand-in believes everything: that a token verifies offline is still asked for.
    let stranger = Signer::rsa("key-9").token(&caller("shop", "checkout"));
    assert_eq!(ground.evaluation(&stranger, "default").await, UNKNOWN);
    ground.cluster.delete(&token);
    until("the token is refused", PATIENCE, || async {
        ground.evaluation(&token, "default").await == UNKNOWN
    })
    .await
    .unwrap();
    let known = ground.key.token(&caller("shop", "known"));
    let asked = Instant::now();
    assert_eq!(ground.evaluation(&known, "default").await, ADMITTED);
    ground.cluster.stop().await;
    let still = ground.evaluation(&known, "default").await;
    assert!(still == ADMITTED || asked.elapsed() > Duration::from_secs(4), "{still:?}");
    let fresh = ground.key.token(&caller("shop", "fresh"));
    assert_eq!(ground.evaluation(&fresh, "default").await, UNAVAILABLE);
    tokio::time::sleep(REVIEWED).await;
    assert_eq!(ground.evaluation(&known, "default").await, UNAVAILABLE);
}

#[tokio::test]
async fn kubernetes_alone_is_a_method_and_an_empty_list_admits_nobody() {
    let key = Signer::rsa("key-1");
    let cluster = ApiServer::start(&[&key]).await.unwrap();
    let more = [
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "false"),
        ("FLIPT_AUTHENTICATION_METHODS_KUBERNETES_ALLOW", ""),
    ];
    let server = Server::start(options(&cluster, &more)).await.unwrap();
    let logs = server.logs();
    assert!(logs.contains("kubernetes.allow is empty") && !logs.contains("no method below"), "{logs}");
    until_keys_are_known(&server).await;
    let token = key.token(&caller("shop", "checkout"));
    for (token, status) in [(None, 401), (Some("nonsense"), 401), (Some(token.as_str()), 403)] {
        let body = json!({ "flagKey": "on", "entityId": "e" });
        assert_eq!(ask(&server, "POST", "/evaluate/v1/boolean", token, body).await.status, status);
    }
    let more = [more[0], more[1], ("FLIPT_AUTHENTICATION_METHODS_KUBERNETES_MODE", "cluster")];
    let server = Server::start(options(&cluster, &more)).await.unwrap();
    until("every service account evaluates", PATIENCE, || async {
        let body = json!({ "flagKey": "on", "entityId": "e" });
        ask(&server, "POST", "/evaluate/v1/boolean", Some(&token), body).await.status == 404
    })
    .await
    .unwrap();
    assert_eq!(ask(&server, "GET", "/api/v1/flags", Some(&token), json!({})).await.status, 403);
}
