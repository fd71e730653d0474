//! Promise: the sidecar answers to whom it should, on every protocol, and never writes a token down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, path::PathBuf, time::Duration};

use flipt_e2e::{
    Auth, Claims, PATIENCE, Server, ServerOptions, Sidecar, SidecarOptions, Signer, grpc::with_token, http,
    until, write_jwks,
};
use flipt_proto::{
    auth::VerifyServiceAccountRequest, evaluation::EvaluationRequest, ofrep::EvaluateFlagRequest,
};
use serde_json::json;
use tempfile::TempDir;

const POD: &str = "0b1f6a52-57a5-4d2d-9a55-2f3a4a1f0c11";

fn caller() -> Claims {
    Claims::of("shop", "checkout", POD)
}

/// A published snapshot with one flag in `default` and one in `shop`, and keys to check tokens with.
struct Ground {
    folder: TempDir,
    key: Signer,
}

impl Ground {
    async fn new() -> Self {
        let ground = Self { folder: tempfile::tempdir().unwrap(), key: Signer::rsa("key-1") };
        write_jwks(&ground.jwks(), &[&ground.key]).unwrap();
        let server = Server::start(ServerOptions::new()).await.unwrap();
        server.change("POST", "/api/v1/namespaces", json!({ "key": "shop", "name": "Shop" })).await.unwrap();
        for namespace in ["default", "shop"] {
            let flag = json!({ "key": "on", "name": "On", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
            let path = format!("/api/v1/namespaces/{namespace}/flags");
            server.change("POST", &path, flag).await.unwrap();
        }
        let export = ["export", "--all-namespaces", "-o", &ground.place()];
        server.cli().unwrap().run(&export).unwrap().success().unwrap();
        ground
    }

    fn jwks(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    fn place(&self) -> String {
        format!("file://{}", self.folder.path().join("snapshots").display())
    }

    async fn sidecar(&self, auth: Auth) -> Sidecar {
        Sidecar::start(self.options(auth)).await.unwrap()
    }

    fn options(&self, auth: Auth) -> SidecarOptions {
        SidecarOptions::new(self.place()).admitting(auth, &self.jwks())
    }

    async fn same_pod(&self) -> Sidecar {
        self.sidecar(Auth::SamePod { uid: POD.to_owned() }).await
    }
}

/// How a caller fares on each protocol.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    http: u16,
    ofrep: u16,
    grpc: i32,
    ofrep_grpc: i32,
}

impl Fate {
    const ADMITTED: Self = Self { http: 200, ofrep: 200, grpc: 0, ofrep_grpc: 0 };
    const UNKNOWN: Self = Self { http: 401, ofrep: 401, grpc: 16, ofrep_grpc: 16 };
    const FORBIDDEN: Self = Self { http: 403, ofrep: 403, grpc: 7, ofrep_grpc: 7 };
    const UNAVAILABLE: Self = Self { http: 503, ofrep: 503, grpc: 14, ofrep_grpc: 14 };
}

async fn fate(sidecar: &Sidecar, namespace: &str, token: Option<&str>) -> Fate {
    let body = json!({ "namespaceKey": namespace, "flagKey": "on", "entityId": "e" });
    let over_http = sidecar.post("/evaluate/v1/boolean", &body, token).await.unwrap();
    let over_ofrep = http::request("POST", sidecar.url("/ofrep/v1/evaluate/flags/on"))
        .json(&json!({ "context": { "targetingKey": "e" } }))
        .header("x-flipt-namespace", namespace)
        .bearer(token)
        .send()
        .await
        .unwrap();
    for answer in [&over_http, &over_ofrep] {
        // RFC 9110, section 11.6.1: a 401 says how to authenticate; nothing else needs to.
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!(challenge.starts_with("Bearer"), answer.status == 401, "{} {challenge}", answer.status);
        if answer.status == 401 && token.is_some() {
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
    }
    let grpc = sidecar.grpc().unwrap();
    let request = EvaluationRequest {
        namespace_key: namespace.into(),
        flag_key: "on".into(),
        entity_id: "e".into(),
        ..Default::default()
    };
    let over_grpc = grpc.evaluation().boolean(with_token(request, token)).await;
    let context = HashMap::from([("targetingKey".to_owned(), "e".to_owned())]);
    let mut request = with_token(EvaluateFlagRequest { key: "on".into(), context }, token);
    request.metadata_mut().insert("x-flipt-namespace", namespace.parse().unwrap());
    let over_ofrep_grpc = grpc.ofrep().evaluate_flag(request).await;
    Fate {
        http: over_http.status,
        ofrep: over_ofrep.status,
        grpc: over_grpc.err().map_or(0, |status| status.code() as i32),
        ofrep_grpc: over_ofrep_grpc.err().map_or(0, |status| status.code() as i32),
    }
}

/// What must never stand in a log: the token and each of its parts. Headers of tokens are no secret and short
/// enough to be the same by chance; claims and signature are neither.
fn assert_not_logged(sidecar: &Sidecar, tokens: &[String]) {
    let logs = sidecar.logs();
    assert!(logs.contains("listening"), "these are no logs: {logs}");
    for token in tokens {
        for part in token.split('.').filter(|part| part.len() > 16) {
            assert!(!logs.contains(part), "a part of a token is in the logs: {part}\n{logs}");
        }
    }
}

#[tokio::test]
async fn admits_a_token_of_the_own_pod_signed_with_rs256() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let token = ground.key.token(&caller());
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::ADMITTED);
    assert_eq!(fate(&sidecar, "shop", Some(&token)).await, Fate::ADMITTED);
    assert_not_logged(&sidecar, &[token]);
}

#[tokio::test]
async fn admits_a_token_of_the_own_pod_signed_with_es256() {
    let ground = Ground::new().await;
    let key = Signer::p256("key-2");
    write_jwks(&ground.jwks(), &[&ground.key, &key]).unwrap();
    let sidecar = ground.same_pod().await;
    assert_eq!(fate(&sidecar, "default", Some(&key.token(&caller()))).await, Fate::ADMITTED);
}

#[tokio::test]
async fn refuses_a_caller_without_a_token() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    assert_eq!(fate(&sidecar, "default", None).await, Fate::UNKNOWN);
    for scheme in
        ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearer x", "Bearer a.b", "Bearer a.b.c.d", "Bearer ÿ"]
    {
        let answer = http::request("POST", sidecar.url("/evaluate/v1/boolean"))
            .json(&json!({ "flagKey": "on", "entityId": "e" }))
            .header("authorization", scheme)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{scheme}");
        assert!(answer.header("www-authenticate").is_some(), "{scheme}");
        assert_eq!(answer.json()["code"], 16, "{scheme}");
    }
}

#[tokio::test]
async fn refuses_every_kind_of_forged_or_foreign_token() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let key = &ground.key;
    let good = key.token(&caller());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other_claims = key.token(&caller().with("jti", json!("another")));
    let foreign_signature = other_claims.rsplit_once('.').unwrap().1;
    let mut tokens = vec![
        ("expired", key.token(&caller().expired(3600))),
        ("expired a minute ago", key.token(&caller().expired(61))),
        ("for another audience", key.token(&caller().audience("vault"))),
        ("of another issuer", key.token(&caller().issuer("https://elsewhere.example"))),
        ("issuer with a slash", key.token(&caller().issuer(&format!("{}/", Claims::ISSUER)))),
        ("alg none", caller().unsigned("key-1")),
        ("alg none with a signature", format!("{}{signature}", caller().unsigned("key-1"))),
        ("unknown key", Signer::rsa("key-9").token(&caller())),
        ("known id, other key", Signer::rsa("key-1").token(&caller())),
        ("known id, other kind of key", Signer::p256("key-1").token(&caller())),
        ("signature of other claims", format!("{message}.{foreign_signature}")),
        ("signature cut off", format!("{message}.")),
        ("without expiry", key.token(&caller().with("exp", json!(null)))),
        ("from tomorrow", key.token(&caller().with("nbf", json!(4_000_000_000_u64)))),
        ("subject of another", key.token(&caller().with("sub", json!("system:serviceaccount:shop:admin")))),
        ("no Kubernetes claims", key.token(&caller().with("kubernetes.io", json!(null)))),
    ];
    for forged in key.tokens_with_public_key_as_secret(&caller()) {
        tokens.push(("HS256 with the public key", forged));
    }
    for (what, token) in &tokens {
        assert_eq!(fate(&sidecar, "default", Some(token)).await, Fate::UNKNOWN, "{what}");
    }
    // The same sidecar still admits, and none of this went into its logs.
    assert_eq!(fate(&sidecar, "default", Some(&good)).await, Fate::ADMITTED);
    let mut seen: Vec<String> = tokens.into_iter().map(|(_, token)| token).collect();
    seen.push(good);
    assert_not_logged(&sidecar, &seen);
}

#[tokio::test]
async fn a_token_with_any_character_changed_is_refused() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let good = ground.key.token(&caller());
    // The last character carries bits that are not part of the signature; those must be refused as well, or not
    // matter, so it is left out.
    for place in (0..good.len() - 1).step_by(7) {
        let mut token = good.clone().into_bytes();
        token[place] = if token[place] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(token).unwrap();
        let body = json!({ "flagKey": "on", "entityId": "e" });
        let status = sidecar.post("/evaluate/v1/boolean", &body, Some(&token)).await.unwrap().status;
        assert_eq!(status, 401, "changed at {place}");
    }
}

#[tokio::test]
async fn forbids_another_pod_of_the_same_service_account() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let other = Claims::of("shop", "checkout", "11111111-2222-3333-4444-555555555555");
    let token = ground.key.token(&other);
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::FORBIDDEN);
    let no_pod = caller().with(
        "kubernetes.io",
        json!({ "namespace": "shop", "serviceaccount": { "name": "checkout", "uid": "u" } }),
    );
    let unbound = ground.key.token(&no_pod);
    assert_eq!(fate(&sidecar, "default", Some(&unbound)).await, Fate::FORBIDDEN);
    assert_not_logged(&sidecar, &[token, unbound]);
}

#[tokio::test]
async fn forbids_whom_the_allow_list_does_not_name() {
    let ground = Ground::new().await;
    let sidecar = ground.sidecar(Auth::Allowlist(vec!["shop/checkout".into(), "stock/*".into()])).await;
    for (namespace, account, expected) in [
        ("shop", "checkout", Fate::ADMITTED),
        ("stock", "anything", Fate::ADMITTED),
        ("shop", "checkout2", Fate::FORBIDDEN),
        ("stocks", "anything", Fate::FORBIDDEN),
    ] {
        let token = ground.key.token(&Claims::of(namespace, account, "any-pod"));
        assert_eq!(fate(&sidecar, "default", Some(&token)).await, expected, "{namespace}/{account}");
    }
}

#[tokio::test]
async fn forbids_flipt_namespaces_that_the_caller_was_not_given() {
    let ground = Ground::new().await;
    let sidecar = ground.sidecar(Auth::Allowlist(vec!["shop/checkout=shop".into()])).await;
    let token = ground.key.token(&caller());
    assert_eq!(fate(&sidecar, "shop", Some(&token)).await, Fate::ADMITTED);
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::FORBIDDEN);
    // In a batch, one forbidden entry is enough.
    let batch = json!({ "requests": [
        { "namespaceKey": "shop", "flagKey": "on", "entityId": "e" },
        { "flagKey": "on", "entityId": "e" },
    ] });
    let answer = sidecar.post("/evaluate/v1/batch", &batch, Some(&token)).await.unwrap();
    assert_eq!(answer.status, 403);
    let legacy = json!({ "flagKey": "on", "entityId": "e" });
    let path = "/api/v1/namespaces/default/evaluate";
    assert_eq!(sidecar.post(path, &legacy, Some(&token)).await.unwrap().status, 403);
}

#[tokio::test]
async fn without_keys_callers_are_told_to_come_back_until_the_keys_appear() {
    let ground = Ground::new().await;
    std::fs::remove_file(ground.jwks()).unwrap();
    let sidecar = ground.same_pod().await;
    let token = ground.key.token(&caller());
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::UNAVAILABLE);
    let answer =
        sidecar.post("/ofrep/v1/evaluate/flags/on", &json!({ "context": {} }), Some(&token)).await.unwrap();
    assert_eq!(answer.json()["errorCode"], "PROVIDER_NOT_READY");
    write_jwks(&ground.jwks(), &[&ground.key]).unwrap();
    until("the token is admitted", PATIENCE, || async {
        fate(&sidecar, "default", Some(&token)).await == Fate::ADMITTED
    })
    .await
    .unwrap();
    assert_eq!(sidecar.status().await.unwrap()["keys"]["count"], 1);
    assert_not_logged(&sidecar, &[token]);
}

#[tokio::test]
async fn a_trust_folder_that_appears_later_stops_nothing() {
    let ground = Ground::new().await;
    let trust = ground.folder.path().join("trust");
    let options = SidecarOptions::new(ground.place())
        .admitting(Auth::SamePod { uid: POD.to_owned() }, &trust.join("jwks.json"))
        .with_issuer_file();
    let sidecar = Sidecar::start(options).await.unwrap();
    let token = ground.key.token(&caller());
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::UNAVAILABLE);
    // Keys without an issuer are not enough: nobody knows whose tokens these are.
    std::fs::create_dir(&trust).unwrap();
    write_jwks(&trust.join("jwks.json"), &[&ground.key]).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::UNAVAILABLE);
    std::fs::write(trust.join("issuer"), format!("{}\n", Claims::ISSUER)).unwrap();
    until("the token is admitted", PATIENCE, || async {
        fate(&sidecar, "default", Some(&token)).await == Fate::ADMITTED
    })
    .await
    .unwrap();
    let foreign = ground.key.token(&caller().issuer("https://elsewhere.example"));
    assert_eq!(fate(&sidecar, "default", Some(&foreign)).await, Fate::UNKNOWN);
}

#[tokio::test]
async fn the_exchange_gives_the_token_back_as_clients_expect() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    // Unmodified SDKs send the token for the API server.
    let token = ground.key.token(&caller().audience(Claims::ISSUER));
    let path = "/auth/v1/method/kubernetes/serviceaccount";
    for field in ["serviceAccountToken", "service_account_token"] {
        let answer = sidecar.post(path, &json!({ field: token }), None).await.unwrap().ok().unwrap();
        assert_eq!(answer["clientToken"], token.as_str());
        assert_eq!(answer["authentication"]["method"], "METHOD_KUBERNETES");
        assert!(answer["authentication"]["expiresAt"].as_str().unwrap().ends_with('Z'));
        let metadata = &answer["authentication"]["metadata"];
        assert_eq!(metadata["io.flipt.auth.k8s.serviceaccount.name"], "checkout");
    }
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::ADMITTED);
    let request = VerifyServiceAccountRequest { service_account_token: token.clone() };
    let over_grpc = sidecar.grpc().unwrap().service_accounts().verify_service_account(request).await.unwrap();
    assert_eq!(over_grpc.into_inner().client_token, token);
    let expired = ground.key.token(&caller().expired(3600));
    let other = ground.key.token(&Claims::of("shop", "checkout", "another-pod"));
    for (body, status) in [
        (json!({ "serviceAccountToken": expired }), 401),
        (json!({ "serviceAccountToken": "nonsense" }), 401),
        (json!({ "serviceAccountToken": other }), 403),
        (json!({}), 400),
    ] {
        assert_eq!(sidecar.post(path, &body, None).await.unwrap().status, status, "{body}");
    }
    assert_not_logged(&sidecar, &[token, expired, other]);
}

#[tokio::test]
async fn grace_lets_tokens_live_on_while_nobody_can_renew_them() {
    let ground = Ground::new().await;
    let options = ground.options(Auth::SamePod { uid: POD.to_owned() });
    let sidecar = Sidecar::start(options.with_arguments(&["--auth-grace", "10m"])).await.unwrap();
    let recent = ground.key.token(&caller().expired(300));
    let old = ground.key.token(&caller().expired(700));
    assert_eq!(fate(&sidecar, "default", Some(&recent)).await, Fate::ADMITTED);
    assert_eq!(fate(&sidecar, "default", Some(&old)).await, Fate::UNKNOWN);
}

#[tokio::test]
async fn rotated_keys_are_picked_up_and_withdrawn_ones_refused() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let (old, new) = (ground.key.token(&caller()), Signer::rsa("key-2"));
    assert_eq!(fate(&sidecar, "default", Some(&old)).await, Fate::ADMITTED);
    let token = new.token(&caller());
    write_jwks(&ground.jwks(), &[&ground.key, &new]).unwrap();
    // An unknown key makes it look at once; looks are ten seconds apart.
    until("the new key is known", PATIENCE, || async {
        fate(&sidecar, "default", Some(&token)).await == Fate::ADMITTED
    })
    .await
    .unwrap();
    assert_eq!(fate(&sidecar, "default", Some(&old)).await, Fate::ADMITTED);
    // The old one goes; a token of a third key makes the sidecar look again.
    let third = Signer::p256("key-3");
    write_jwks(&ground.jwks(), &[&new, &third]).unwrap();
    let newest = third.token(&caller());
    until("the third key is known", PATIENCE, || async {
        fate(&sidecar, "default", Some(&newest)).await == Fate::ADMITTED
    })
    .await
    .unwrap();
    assert_eq!(fate(&sidecar, "default", Some(&old)).await, Fate::UNKNOWN);
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::ADMITTED);
}

#[tokio::test]
async fn a_key_file_that_breaks_keeps_the_keys_from_before() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let token = ground.key.token(&caller());
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::ADMITTED);
    std::fs::write(ground.jwks(), "{ broken").unwrap();
    // An unknown key makes the sidecar read the file.
    let stranger = Signer::rsa("key-9").token(&caller());
    until("the broken file was noticed", Duration::from_secs(15), || async {
        assert_eq!(fate(&sidecar, "default", Some(&stranger)).await, Fate::UNKNOWN);
        sidecar.logs().contains("token keys not loaded")
    })
    .await
    .unwrap();
    let fresh = ground.key.token(&caller().with("jti", json!("another")));
    assert_eq!(fate(&sidecar, "default", Some(&fresh)).await, Fate::ADMITTED);
}

#[tokio::test]
async fn a_request_that_names_another_host_is_refused() {
    let ground = Ground::new().await;
    let sidecar = ground.same_pod().await;
    let token = ground.key.token(&caller());
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:18080", 200),
        ("127.0.0.1", 200),
        ("[::1]:18080", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("10.0.0.7", 403),
    ] {
        let answer = http::request("POST", sidecar.url("/evaluate/v1/boolean"))
            .json(&json!({ "flagKey": "on", "entityId": "e" }))
            .bearer(Some(&token))
            .header("host", host)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{host}");
    }
    let answer = http::request("GET", sidecar.url("/status")).header("host", "evil.example").send().await;
    assert_eq!(answer.unwrap().status, 403);
}

#[tokio::test]
async fn mode_none_admits_everybody_with_any_token_or_none() {
    let ground = Ground::new().await;
    let sidecar = Sidecar::start(SidecarOptions::new(ground.place())).await.unwrap();
    assert_eq!(fate(&sidecar, "default", None).await, Fate::ADMITTED);
    let token = caller().unsigned("key-1");
    assert_eq!(fate(&sidecar, "default", Some(&token)).await, Fate::ADMITTED);
    assert_not_logged(&sidecar, &[token]);
}

#[tokio::test]
async fn a_token_never_appears_in_logs_of_any_level() {
    let ground = Ground::new().await;
    let options = ground.options(Auth::SamePod { uid: POD.to_owned() });
    let sidecar = Sidecar::start(options.with_arguments(&["--log-level", "debug"])).await.unwrap();
    let tokens = vec![
        ground.key.token(&caller()),
        ground.key.token(&caller().expired(3600)),
        ground.key.token(&Claims::of("shop", "other", "other")),
        Signer::rsa("key-9").token(&caller()),
        caller().unsigned("key-1"),
    ];
    for token in &tokens {
        fate(&sidecar, "default", Some(token)).await;
    }
    // Results are counted, by kind only.
    assert!(sidecar.metric("flipt_auth_total{result=\"expired\"}").await.unwrap() >= Some(1.0));
    assert!(sidecar.metric("flipt_auth_total{result=\"other_pod\"}").await.unwrap() >= Some(1.0));
    assert_not_logged(&sidecar, &tokens);
    let metrics = http::get(sidecar.health_url("/metrics")).await.unwrap().text();
    let status = http::get(sidecar.url("/status")).await.unwrap().text();
    for part in tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 16) {
        assert!(!metrics.contains(part) && !status.contains(part), "{part}");
    }
}
