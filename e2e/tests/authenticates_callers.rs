//! Promise: a server that requires authentication lets in whom it should, over every transport, and nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_e2e::{
    PATIENCE, Server, ServerOptions,
    grpc::with_token,
    http::{self, Answer},
    until,
};
use flipt_proto::{
    auth::{CreateTokenRequest, GetAuthenticationRequest},
    evaluation::{BatchEvaluationRequest, EvaluationRequest},
    flipt as pb,
    ofrep::EvaluateFlagRequest,
};
use serde_json::{Value, json};
use tonic::Code;

const ROOT: &str = "root-token-of-the-tests";

/// Options of a server with static tokens and a known first one.
fn options(more: &[(&str, &str)]) -> ServerOptions {
    let token = [
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", ROOT),
    ];
    let all = token.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ServerOptions::new().with_env(all)
}

/// A server that requires authentication and holds the flag `on` in the namespaces `default` and `team`.
async fn server(more: &[(&str, &str)]) -> Server {
    let required = [("FLIPT_AUTHENTICATION_REQUIRED", "true")];
    let server = Server::start(options(&[&required, more].concat())).await.unwrap();
    let team = json!({ "key": "team", "name": "Team" });
    assert_eq!(ask(&server, "POST", "/api/v1/namespaces", Some(ROOT), team).await.status, 200);
    for namespace in ["default", "team"] {
        let flag = json!({ "key": "on", "name": "On", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
        let path = format!("/api/v1/namespaces/{namespace}/flags");
        assert_eq!(ask(&server, "POST", &path, Some(ROOT), flag).await.status, 200);
    }
    server
}

async fn ask(server: &Server, method: &str, path: &str, token: Option<&str>, body: Value) -> Answer {
    http::request(method, server.url(path)).bearer(token).json(&body).send().await.unwrap()
}

/// A new token.
async fn create(server: &Server, request: Value) -> String {
    let answer = ask(server, "POST", "/auth/v1/method/token", Some(ROOT), request).await;
    answer.ok().unwrap()["clientToken"].as_str().unwrap().to_owned()
}

/// What the calls of each kind answer to a token, over REST: management, evaluation, snapshot, OFREP, metadata,
/// own credentials, tokens.
async fn statuses(server: &Server, token: Option<&str>, namespace: &str) -> [u16; 7] {
    let flags = format!("/api/v1/namespaces/{namespace}/flags");
    let snapshot = format!("/internal/v1/evaluation/snapshot/namespace/{namespace}");
    let evaluation = json!({ "namespaceKey": namespace, "flagKey": "on", "entityId": "e" });
    let context = json!({ "context": { "targetingKey": "e" } });
    [
        ask(server, "GET", &flags, token, json!({})).await.status,
        ask(server, "POST", "/evaluate/v1/boolean", token, evaluation).await.status,
        ask(server, "GET", &snapshot, token, json!({})).await.status,
        ask(server, "POST", "/ofrep/v1/evaluate/flags/on", token, context).await.status,
        ask(server, "GET", "/meta/info", token, json!({})).await.status,
        ask(server, "GET", "/auth/v1/self", token, json!({})).await.status,
        ask(server, "GET", "/auth/v1/tokens", token, json!({})).await.status,
    ]
}

fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The same over gRPC.
async fn codes(server: &Server, token: Option<&str>, namespace: &str) -> [Code; 7] {
    let grpc = server.grpc().unwrap();
    let evaluation = EvaluationRequest {
        namespace_key: namespace.to_owned(),
        flag_key: "on".to_owned(),
        entity_id: "e".to_owned(),
        ..Default::default()
    };
    let list = pb::ListFlagRequest { namespace_key: namespace.to_owned(), ..Default::default() };
    let batch = BatchEvaluationRequest { requests: vec![evaluation.clone()], ..Default::default() };
    let flag = EvaluateFlagRequest { key: "on".to_owned(), ..Default::default() };
    let unknown = GetAuthenticationRequest { id: "nobody".to_owned() };
    [
        code(grpc.flipt().list_flags(with_token(list, token)).await),
        code(grpc.evaluation().boolean(with_token(evaluation, token)).await),
        code(grpc.evaluation().batch(with_token(batch, token)).await),
        code(grpc.ofrep().evaluate_flag(with_token(flag, token)).await),
        code(grpc.metadata().get_info(with_token((), token)).await),
        code(grpc.authentication().get_authentication_self(with_token((), token)).await),
        code(grpc.authentication().get_authentication(with_token(unknown, token)).await),
    ]
}

#[tokio::test]
async fn without_good_credentials_every_door_is_closed() {
    let server = server(&[]).await;
    let expired = create(&server, json!({ "name": "old", "expiresAt": "2020-01-01T00:00:00Z" })).await;
    for token in [None, Some("nonsense"), Some(""), Some(expired.as_str())] {
        assert_eq!(statuses(&server, token, "default").await, [401; 7], "{token:?}");
        assert_eq!(codes(&server, token, "default").await, [Code::Unauthenticated; 7], "{token:?}");
    }
    for path in [
        "/api/v2/environments",
        "/api/v2/environments/default/namespaces/default/resources/flipt.core.Flag",
        "/client/v2/environments/default/namespaces/default/snapshot",
        "/client/v2/environments/default/namespaces/default/stream",
        "/internal/v1/evaluation/snapshot/namespace/default",
        "/api/v1/namespaces",
        "/ofrep/v1/configuration",
        "/meta/config",
    ] {
        assert_eq!(http::get(server.url(path)).await.unwrap().status, 401, "{path}");
    }
    // What callers without credentials need stays open.
    for path in ["/health", "/auth/v1/method"] {
        assert_eq!(http::get(server.url(path)).await.unwrap().status, 200, "{path}");
    }
}

#[tokio::test]
async fn refusals_say_the_same_whatever_was_wrong_and_ofrep_says_it_in_its_own_form() {
    let server = server(&[]).await;
    let refused = ask(&server, "GET", "/api/v1/flags", Some("nonsense"), json!({})).await;
    let text = "request was not authenticated";
    assert_eq!(refused.json(), json!({ "code": 16, "message": text, "details": [] }));
    assert_eq!(refused.header("www-authenticate"), Some(text));
    let refused = ask(&server, "POST", "/ofrep/v1/evaluate/flags", None, json!({})).await;
    assert_eq!(refused.json(), json!({ "errorCode": "GENERAL", "errorDetails": text }));
    // Validation has nothing to say to strangers; only what is no request at all is told so.
    assert_eq!(ask(&server, "POST", "/api/v1/flags", None, json!({ "key": "" })).await.status, 401);
    for path in ["/api/v1/flags", "/evaluate/v1/boolean", "/ofrep/v1/evaluate/flags"] {
        let broken = http::request("POST", server.url(path)).body("{broken").send().await.unwrap();
        assert_eq!(broken.status, 400, "{path}");
    }
}

#[tokio::test]
async fn a_good_token_opens_every_door() {
    let server = server(&[]).await;
    let mine = create(&server, json!({ "name": "mine" })).await;
    for token in [ROOT, mine.as_str()] {
        assert_eq!(statuses(&server, Some(token), "default").await, [200; 7]);
        let mut expected = [Code::Ok; 7];
        expected[6] = Code::NotFound;
        assert_eq!(codes(&server, Some(token), "default").await, expected);
    }
    let cookie = http::request("GET", server.url("/auth/v1/self"))
        .header("cookie", &format!("flipt_client_token={mine}"))
        .send()
        .await
        .unwrap();
    assert_eq!(cookie.json()["metadata"]["io.flipt.auth.token.name"], "mine");
}

#[tokio::test]
async fn a_token_of_one_namespace_opens_nothing_else() {
    let server = server(&[]).await;
    let token = create(&server, json!({ "name": "team", "namespaceKey": "team" })).await;
    let token = Some(token.as_str());
    assert_eq!(statuses(&server, token, "team").await, [200, 200, 200, 401, 401, 401, 401]);
    assert_eq!(statuses(&server, token, "default").await, [401; 7]);
    let refused = Code::Unauthenticated;
    assert_eq!(
        codes(&server, token, "team").await,
        [Code::Ok, Code::Ok, Code::Ok, refused, refused, refused, refused]
    );
    assert_eq!(codes(&server, token, "default").await, [refused; 7]);
    let mixed = json!({ "requests": [
        { "namespaceKey": "team", "flagKey": "on" },
        { "namespaceKey": "default", "flagKey": "on" },
    ] });
    assert_eq!(ask(&server, "POST", "/evaluate/v1/batch", token, mixed).await.status, 401);
    for (path, status) in [
        ("/api/v2/environments", 401),
        ("/client/v2/environments/default/namespaces/team/snapshot", 200),
        ("/client/v2/environments/default/namespaces/default/snapshot", 401),
        ("/client/v2/environments/default/namespaces/default/stream", 401),
    ] {
        assert_eq!(ask(&server, "GET", path, token, json!({})).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn what_is_excluded_needs_no_credentials_and_nothing_else_is() {
    let evaluation = server(&[("FLIPT_AUTHENTICATION_EXCLUDE_EVALUATION", "true")]).await;
    assert_eq!(statuses(&evaluation, None, "default").await, [401, 200, 200, 401, 401, 401, 401]);
    let refused = Code::Unauthenticated;
    assert_eq!(
        codes(&evaluation, None, "default").await,
        [refused, Code::Ok, Code::Ok, refused, refused, refused, refused]
    );
    let others = server(&[
        ("FLIPT_AUTHENTICATION_EXCLUDE_MANAGEMENT", "true"),
        ("FLIPT_AUTHENTICATION_EXCLUDE_OFREP", "true"),
    ])
    .await;
    assert_eq!(statuses(&others, None, "default").await, [200, 401, 401, 200, 401, 401, 401]);
    assert_eq!(
        codes(&others, None, "default").await,
        [Code::Ok, refused, refused, Code::Ok, refused, refused, refused]
    );
}

#[tokio::test]
async fn a_token_ends_when_its_owner_or_an_administrator_ends_it() {
    let server = server(&[]).await;
    let own = create(&server, json!({ "name": "own" })).await;
    let ended = ask(&server, "PUT", "/auth/v1/self/expire", Some(&own), json!({})).await;
    assert_eq!(ended.status, 200);
    let cookies: Vec<_> =
        ended.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies, ["flipt_client_state=; Path=/; Max-Age=0", "flipt_client_token=; Path=/; Max-Age=0"]);
    assert_eq!(statuses(&server, Some(&own), "default").await, [401; 7]);

    let grpc = server.grpc().unwrap();
    let request = CreateTokenRequest { name: "other".to_owned(), ..Default::default() };
    let created = grpc.tokens().create_token(with_token(request, Some(ROOT))).await.unwrap().into_inner();
    let (token, id) = (created.client_token, created.authentication.unwrap().id);
    assert_eq!(statuses(&server, Some(&token), "default").await, [200; 7]);
    let path = format!("/auth/v1/tokens/{id}");
    assert_eq!(ask(&server, "DELETE", &path, Some(ROOT), json!({})).await.status, 200);
    assert_eq!(statuses(&server, Some(&token), "default").await, [401; 7]);
}

#[tokio::test]
async fn the_first_token_is_made_once_and_told_only_if_nobody_chose_it() {
    let folder = tempfile::tempdir().unwrap();
    let enabled = [
        ("FLIPT_AUTHENTICATION_REQUIRED".to_owned(), "true".to_owned()),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED".to_owned(), "true".to_owned()),
        ("FLIPT_LOG_ENCODING".to_owned(), "json".to_owned()),
    ];
    let random = ServerOptions::new().with_env(enabled.clone()).in_folder(folder.path());
    let mut server = Server::start(random).await.unwrap();
    let told = |logs: &str| -> Vec<String> {
        let records = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter_map(|record| record["client_token"].as_str().map(str::to_owned)).collect()
    };
    let tokens = told(&server.logs());
    assert_eq!(tokens.len(), 1, "{}", server.logs());
    assert_eq!(statuses(&server, Some(&tokens[0]), "default").await[5], 200);
    server.restart().await.unwrap();
    assert_eq!(statuses(&server, Some(&tokens[0]), "default").await[5], 200);
    assert!(told(&server.logs()).len() <= 1, "made again: {}", server.logs());
    drop(server);

    // Another one is not made, even if it is configured now.
    let server =
        Server::start(options(&[("FLIPT_AUTHENTICATION_REQUIRED", "true")]).in_folder(folder.path()));
    let server = server.await.unwrap();
    assert_eq!(statuses(&server, Some(ROOT), "default").await[5], 401);
    assert_eq!(statuses(&server, Some(&tokens[0]), "default").await[5], 200);
    drop(server);

    let chosen =
        Server::start(options(&[("FLIPT_AUTHENTICATION_REQUIRED", "true"), ("FLIPT_LOG_LEVEL", "debug")]))
            .await
            .unwrap();
    assert_eq!(statuses(&chosen, Some(ROOT), "default").await[5], 200);
    let created = create(&chosen, json!({ "name": "x" })).await;
    for secret in [ROOT, created.as_str()] {
        assert!(!chosen.logs().contains(secret), "{}", chosen.logs());
    }
    // Nor does anybody see it who asks how the server is configured.
    let config = ask(&chosen, "GET", "/meta/config", Some(ROOT), json!({})).await;
    assert_eq!(config.json()["authentication"]["required"], true);
    assert!(!config.text().contains(ROOT), "{}", config.text());
}

#[tokio::test]
async fn credentials_count_for_nothing_where_nothing_is_required() {
    let server = Server::start(options(&[])).await.unwrap();
    for token in [None, Some("nonsense"), Some(ROOT)] {
        // Nobody is anybody; the flag does not exist.
        assert_eq!(
            statuses(&server, token, "default").await,
            [200, 404, 200, 404, 200, 401, 200],
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn without_the_token_method_nobody_can_make_tokens() {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    let answer = ask(&server, "POST", "/auth/v1/method/token", None, json!({ "name": "x" })).await;
    assert_eq!((answer.status, &answer.json()["message"]), (404, &json!("Not Found")));
    let grpc = server.grpc().unwrap();
    let created = grpc.tokens().create_token(CreateTokenRequest::default()).await;
    assert_eq!(code(created), Code::Unimplemented);
}

#[tokio::test]
async fn expired_tokens_are_removed_after_their_grace_period() {
    let server = server(&[
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_CLEANUP_INTERVAL", "300ms"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_CLEANUP_GRACE_PERIOD", "1h"),
    ])
    .await;
    let expiring = |hours: i64| {
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seconds = i64::try_from(at.as_secs()).unwrap() - hours * 3_600;
        CreateTokenRequest {
            name: format!("{hours} h ago"),
            expires_at: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        }
    };
    let grpc = server.grpc().unwrap();
    for hours in [2, 0] {
        grpc.tokens().create_token(with_token(expiring(hours), Some(ROOT))).await.unwrap();
    }
    let names = || async {
        let list = ask(&server, "GET", "/auth/v1/tokens", Some(ROOT), json!({})).await.json();
        let list = list["authentications"].as_array().unwrap().clone();
        list.iter()
            .map(|one| one["metadata"]["io.flipt.auth.token.name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    until("the older one is gone", PATIENCE, || async { names().await.len() == 2 }).await.unwrap();
    assert_eq!(names().await, ["initial_bootstrap_token", "0 h ago"]);
}

#[tokio::test]
async fn a_token_of_one_namespace_means_it_in_the_default_environment_only() {
    let server = server(&[
        ("FLIPT_ENVIRONMENTS_PRODUCTION_DEFAULT", "true"),
        ("FLIPT_ENVIRONMENTS_STAGING_DEFAULT", "false"),
    ])
    .await;
    let token = create(&server, json!({ "name": "shop", "namespaceKey": "default" })).await;
    for (header, field, bound, unbound) in [
        ("", "", 200, 200),
        ("production", "", 200, 200),
        ("staging", "", 401, 404),
        ("", "staging", 401, 404),
    ] {
        let body = json!({ "flagKey": "on", "entityId": "e", "environmentKey": field });
        for (token, expected) in [(token.as_str(), bound), (ROOT, unbound)] {
            let request = http::request("POST", server.url("/evaluate/v1/boolean")).bearer(Some(token));
            let request = request.header("x-flipt-environment", header).json(&body);
            assert_eq!(request.send().await.unwrap().status, expected, "{header:?} {field:?}");
            let evaluation = EvaluationRequest {
                flag_key: "on".to_owned(),
                entity_id: "e".to_owned(),
                environment_key: field.to_owned(),
                ..Default::default()
            };
            let mut request = with_token(evaluation, Some(token));
            request.metadata_mut().insert("x-flipt-environment", header.parse().unwrap());
            let expected = match expected {
                200 => Code::Ok,
                401 => Code::Unauthenticated,
                _ => Code::NotFound,
            };
            let answer = server.grpc().unwrap().evaluation().boolean(request).await;
            assert_eq!(code(answer), expected, "{header:?} {field:?}");
        }
    }
    for (environment, expected) in [("production", 200), ("staging", 401)] {
        let path = format!("/client/v2/environments/{environment}/namespaces/default/snapshot");
        assert_eq!(ask(&server, "GET", &path, Some(&token), json!({})).await.status, expected, "{path}");
    }
}
