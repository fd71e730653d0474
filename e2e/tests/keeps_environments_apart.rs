//! Promise: environments share a server and nothing else, and v1 clients see nothing of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_e2e::{PATIENCE, Server, ServerOptions, Sidecar, SidecarOptions, http, until};
use serde_json::{Value, json};

/// A server with a default environment `production` and another, `staging`.
fn two() -> ServerOptions {
    ServerOptions::new().with_env([
        ("FLIPT_ENVIRONMENTS_PRODUCTION_DEFAULT".to_owned(), "true".to_owned()),
        ("FLIPT_ENVIRONMENTS_STAGING_DEFAULT".to_owned(), "false".to_owned()),
    ])
}

/// Writes the boolean flag `new-checkout` with this value.
async fn write(server: &Server, environment: &str, enabled: bool) {
    let path = format!("/api/v2/environments/{environment}/namespaces/default/resources");
    let payload = json!({
        "@type": "flipt.core.Flag", "name": environment, "type": "BOOLEAN_FLAG_TYPE", "enabled": enabled
    });
    server.change("POST", &path, json!({ "key": "new-checkout", "payload": payload })).await.unwrap();
}

async fn evaluate(server: &Server, header: Option<&str>, body: Value) -> http::Answer {
    let mut request = http::request("POST", server.url("/evaluate/v1/boolean")).json(&body);
    if let Some(environment) = header {
        request = request.header("x-flipt-environment", environment);
    }
    request.send().await.unwrap()
}

fn asked(environment: &str) -> Value {
    json!({ "flagKey": "new-checkout", "entityId": "e", "environmentKey": environment })
}

#[tokio::test]
async fn each_environment_has_its_own_flags_and_a_request_names_the_one_it_means() {
    let server = Server::start(two()).await.unwrap();
    write(&server, "production", false).await;
    write(&server, "staging", true).await;
    for (header, field, expected) in [
        (None, "", false),
        (Some("production"), "", false),
        (Some("staging"), "", true),
        (None, "staging", true),
        (Some("production"), "staging", true),
        (Some("default"), "", false),
    ] {
        let answer = evaluate(&server, header, asked(field)).await.ok().unwrap();
        assert_eq!(answer["enabled"], expected, "{header:?} {field}");
    }
    for answer in
        [evaluate(&server, Some("nowhere"), asked("")).await, evaluate(&server, None, asked("nowhere")).await]
    {
        assert_eq!(answer.status, 404);
        assert_eq!(
            answer.json()["message"],
            r#"failed to get environment "nowhere" from context: environment: "nowhere" not found"#
        );
    }
    let batch = json!({ "requests": [asked(""), asked("staging")] });
    let batch = server.change("POST", "/evaluate/v1/batch", batch).await.unwrap();
    let values: Vec<&Value> =
        (0..2).map(|at| &batch["responses"][at]["booleanResponse"]["enabled"]).collect();
    assert_eq!(values, [false, true]);
    let ofrep = http::request("POST", server.url("/ofrep/v1/evaluate/flags/new-checkout"))
        .header("x-flipt-environment", "staging")
        .json(&json!({ "context": { "targetingKey": "e" } }));
    assert_eq!(ofrep.send().await.unwrap().ok().unwrap()["value"], true);
    for (environment, enabled) in [("production", false), ("staging", true)] {
        let path = format!("/client/v2/environments/{environment}/namespaces/default/snapshot");
        let snapshot = http::get(server.url(&path)).await.unwrap().ok().unwrap();
        assert_eq!(snapshot["flags"][0]["enabled"], enabled);
    }
}

#[tokio::test]
async fn v1_clients_see_the_default_environment_and_no_way_into_another() {
    let server = Server::start(two()).await.unwrap();
    write(&server, "production", false).await;
    write(&server, "staging", true).await;
    let place = "/api/v2/environments/staging/namespaces";
    server.change("POST", place, json!({ "key": "hidden", "name": "Hidden" })).await.unwrap();
    let namespaces = server.call("GET", "/api/v1/namespaces", &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(
        (namespaces["totalCount"].as_i64(), namespaces["namespaces"][0]["key"].as_str()),
        (Some(1), Some("default"))
    );
    let flag = server.call("GET", "/api/v1/flags/new-checkout", &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(flag["name"], "production");
    for (path, key) in [("flags/new-checkout", "staging/default"), ("flags/new-checkout", "/default")] {
        let answer =
            server.call("GET", &format!("/api/v1/{path}?namespaceKey={key}"), &json!({})).await.unwrap();
        assert_eq!(answer.status, 404, "{key}: {}", answer.text());
    }
    let delete = json!({ "namespaceKey": "staging/default" });
    server.call("DELETE", "/api/v1/flags/new-checkout?namespaceKey=staging/default", &delete).await.unwrap();
    let answer = evaluate(&server, Some("staging"), asked("")).await;
    assert_eq!(answer.ok().unwrap()["enabled"], true);
}

#[tokio::test]
async fn state_that_was_there_before_belongs_to_the_default_environment_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |options: ServerOptions| options.in_folder(folder.path());
    let first = Server::start(in_folder(ServerOptions::new())).await.unwrap();
    write(&first, "default", true).await;
    drop(first);
    let second = Server::start(in_folder(two())).await.unwrap();
    assert_eq!(evaluate(&second, None, asked("production")).await.ok().unwrap()["enabled"], true);
    assert_eq!(evaluate(&second, None, asked("staging")).await.status, 404);
    drop(second);
    // The other one cannot become the default by a slip of the configuration.
    let swapped = in_folder(ServerOptions::new()).with_env([
        ("FLIPT_ENVIRONMENTS_PRODUCTION_DEFAULT".to_owned(), "false".to_owned()),
        ("FLIPT_ENVIRONMENTS_STAGING_DEFAULT".to_owned(), "true".to_owned()),
    ]);
    let error = Server::start(swapped).await.unwrap_err().to_string();
    assert!(error.contains(r#"default environment of this database is "production""#), "{error}");
    assert!(error.contains("environments.production.default"), "{error}");
}

#[tokio::test]
async fn sidecars_get_the_snapshots_of_their_environment() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("file://{}", folder.path().join("snapshots").display());
    let server = Server::start(two().publish_to(&place)).await.unwrap();
    write(&server, "production", false).await;
    write(&server, "staging", true).await;
    for (environment, expected) in [("production", false), ("staging", true)] {
        let options = SidecarOptions::new(&place)
            .with_env([("FLIPT_SIDECAR_ENVIRONMENT".to_owned(), environment.to_owned())]);
        let sidecar = Sidecar::start(options).await.unwrap();
        until("the flag has arrived", PATIENCE, || async {
            sidecar.boolean("new-checkout", "e").await.is_ok()
        })
        .await
        .unwrap();
        assert_eq!(sidecar.boolean("new-checkout", "e").await, Ok(expected), "{environment}");
    }
    let features = folder.path().join("snapshots/features/default/features.yaml");
    until("the documents are there, too", PATIENCE, || async { features.exists() }).await.unwrap();
}
