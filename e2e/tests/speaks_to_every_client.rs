//! Promise: Flipt's own clients, as their registries hand them out, work unchanged: against the server, and, as
//! far as they ask for evaluations, against the sidecar.
//!
//! Client-side engines (`flipt-client*`) fetch a snapshot and evaluate in the application. The sidecar does not
//! offer snapshots: whoever can reach it needs no engine of his own. They are told 404.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_e2e::{
    Auth, Claims, Cli, Client, Server, ServerOptions, Sidecar, SidecarOptions, Signer, write_jwks,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo.yaml");
const POD: &str = "0b1f6a52-57a5-4d2d-9a55-2f3a4a1f0c11";
const TOKEN: &str = "a-token-that-was-configured";
/// Origin of the page that the clients for browsers run in.
const PAGE: &str = "https://shop.example";

/// A server with the example document.
async fn server(environment: &[(&str, &str)]) -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    Cli::new(folder.path()).unwrap().run(&["import", DOCUMENT]).unwrap().success().unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = ServerOptions::new().in_folder(folder.path()).with_env(environment);
    let server = Server::start(options).await.unwrap();
    (folder, server)
}

/// A sidecar that lets in its own pod, with the example document, and the pod's token.
async fn sidecar() -> (TempDir, Sidecar, String) {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path()).unwrap();
    cli.run(&["import", DOCUMENT]).unwrap().success().unwrap();
    let place = format!("file://{}", folder.path().join("snapshots").display());
    cli.run(&["export", "--all-namespaces", "-o", &place]).unwrap().success().unwrap();
    let (key, jwks) = (Signer::p256("key-1"), folder.path().join("jwks.json"));
    write_jwks(&jwks, &[&key]).unwrap();
    let options = SidecarOptions::new(place).admitting(Auth::SamePod { uid: POD.to_owned() }, &jwks);
    let token = key.token(&Claims::of("shop", "checkout", POD));
    (folder, Sidecar::start(options).await.unwrap(), token)
}

/// How a client writes the reasons of the evaluation API.
struct Reasons {
    matched: &'static str,
    default: &'static str,
    not_found: &'static str,
}

/// As they are on the wire.
const WIRE: Reasons = Reasons {
    matched: "MATCH_EVALUATION_REASON",
    default: "DEFAULT_EVALUATION_REASON",
    not_found: "NOT_FOUND_ERROR_EVALUATION_REASON",
};
/// As variants of an enum.
const RUST: Reasons = Reasons { matched: "Match", default: "Default", not_found: "NotFound" };

const ATTACHMENT: &str = r##"{"contrast":7.4,"hex":"#0057b7"}"##;

/// What clients of the evaluation API are to tell; an unknown flag fails with this text.
fn decisions(reasons: &Reasons, unknown: &str) -> Value {
    let variant = json!({
        "match": true,
        "variant": "blue",
        "attachment": ATTACHMENT,
        "segments": ["nordic", "paying"],
        "reason": reasons.matched,
    });
    let boolean = json!({ "enabled": true, "reason": reasons.matched });
    json!({
        "variant": variant,
        "default": {
            "match": false,
            "variant": "grey",
            "attachment": "",
            "segments": [],
            "reason": reasons.default,
        },
        "boolean": boolean,
        "batch": [boolean, variant, { "error": format!("{} no-such-flag", reasons.not_found) }],
        "unknown": { "error": unknown },
    })
}

const NOT_FOUND: &str = r#"flag "default/no-such-flag" not found"#;
const NOT_IN_SNAPSHOT: &str = "invalid request: failed to get flag information default/no-such-flag";

/// The same with further members.
fn and(mut answers: Value, further: Value) -> Value {
    let (Value::Object(answers_of), Value::Object(further)) = (&mut answers, further) else {
        panic!("no objects")
    };
    answers_of.extend(further);
    answers
}

/// Keys as engines list them, sorted: they keep flags in a map.
const SORTED_KEYS: [&str; 3] = ["button-colour", "maintenance-banner", "new-checkout"];
/// Keys as the server lists them.
const KEYS: [&str; 3] = ["new-checkout", "maintenance-banner", "button-colour"];

/// Puts segment keys in order, which engines give in any (evaluation spec, section 14.2).
fn with_sorted_segments(mut answers: Value) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::Array(segments)) = members.get_mut("segments") {
                    segments.sort_by_key(ToString::to_string);
                }
                members.values_mut().for_each(sort);
            }
            Value::Array(items) => items.iter_mut().for_each(sort),
            _ => {}
        }
    }
    sort(&mut answers);
    answers
}

/// Without the members that are null: OpenFeature's clients differ in writing those.
fn without_nulls(mut answers: Value) -> Value {
    fn strip(value: &mut Value) {
        if let Value::Object(members) = value {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip);
        }
    }
    strip(&mut answers);
    answers
}

fn on_server(client: Client, server: &Server) -> Client {
    let grpc = server.grpc_url();
    client
        .with("FLIPT_URL", &server.url(""))
        .with("FLIPT_GRPC", grpc.trim_start_matches("http://"))
        .with("FLIPT_LISTS", "1")
}

fn on_sidecar(client: Client, sidecar: &Sidecar) -> Client {
    let grpc = sidecar.grpc_url();
    client.with("FLIPT_URL", &sidecar.url("")).with("FLIPT_GRPC", grpc.trim_start_matches("http://"))
}

/// Every answer of a client that was not let in is a failure that says so, and no decision.
fn assert_refused(answers: &Value, told: &[&str]) {
    let Value::Object(answers) = answers else { panic!("no answers: {answers}") };
    assert!(!answers.is_empty());
    for (question, answer) in answers {
        // OpenFeature's clients give the caller's own default, and an error code; not all of them a text.
        let defaults = [json!("fallback"), json!(false), json!({})];
        let is_default = answer["errorCode"] == "GENERAL" && defaults.contains(&answer["value"]);
        // A client that does not even start has one text for everything.
        let text = answer.as_str().or(answer["error"].as_str()).unwrap_or_default();
        let is_error = told.iter().any(|told| text.contains(told));
        assert!(is_default || is_error, "{question} was answered: {answer}");
    }
}

/// Asks the server, which admits everybody.
async fn ask_server(client: Client) -> Value {
    let (_folder, server) = server(&[]).await;
    on_server(client, &server).run().await.unwrap_or_else(|failure| panic!("{failure}\n{}", server.logs()))
}

/// Asks the server that wants a token, with the token; without it, every question must be refused.
async fn ask_server_with_token(client: Client) -> Value {
    let (_folder, server) = server(&[
        ("FLIPT_AUTHENTICATION_REQUIRED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", TOKEN),
    ])
    .await;
    let client = on_server(client, &server);
    let refused = without_services(client.clone().run().await.unwrap());
    assert_refused(&refused, &["request was not authenticated", "Unauthorized"]);
    client
        .with("FLIPT_TOKEN", TOKEN)
        .run()
        .await
        .unwrap_or_else(|failure| panic!("{failure}\n{}", server.logs()))
}

/// Asks the sidecar with the token of its pod; without it, every question must be refused.
async fn ask_sidecar(client: Client) -> Value {
    let (_folder, sidecar, token) = sidecar().await;
    let client = on_sidecar(client, &sidecar);
    assert_refused(&client.clone().run().await.unwrap(), &["no bearer token given"]);
    client
        .with("FLIPT_TOKEN", &token)
        .run()
        .await
        .unwrap_or_else(|failure| panic!("{failure}\n{}", sidecar.logs()))
}

// npm: @flipt-io/flipt

fn node_sdk() -> Client {
    Client::node("flipt")
}

fn node_sdk_on_server() -> Value {
    and(decisions(&WIRE, NOT_FOUND), json!({ "flags": KEYS }))
}

#[tokio::test]
async fn the_node_sdk_reads_and_evaluates_on_the_server() {
    assert_eq!(ask_server(node_sdk()).await, node_sdk_on_server());
}

#[tokio::test]
async fn the_node_sdk_evaluates_on_the_sidecar_with_the_pods_token() {
    assert_eq!(ask_sidecar(node_sdk()).await, decisions(&WIRE, NOT_FOUND));
}

// PyPI: flipt

fn python_sdk() -> Client {
    Client::python("flipt_sdk")
}

/// An unknown flag, as the Python client raises it.
const PYTHON_NOT_FOUND: &str = r#"FliptApiError: ('flag "default/no-such-flag" not found', 404)"#;

fn python_sdk_on_server() -> Value {
    let read = json!({
        "flags": KEYS,
        "variants": ["grey", "blue", "green"],
        "unread": { "error": PYTHON_NOT_FOUND },
    });
    and(decisions(&WIRE, PYTHON_NOT_FOUND), read)
}

#[tokio::test]
async fn the_python_sdk_reads_and_evaluates_on_the_server() {
    assert_eq!(ask_server(python_sdk()).await, python_sdk_on_server());
}

#[tokio::test]
async fn the_python_sdk_evaluates_on_the_sidecar_with_the_pods_token() {
    assert_eq!(ask_sidecar(python_sdk()).await, decisions(&WIRE, PYTHON_NOT_FOUND));
}

// crates.io: flipt

fn rust_sdk_on_server() -> Value {
    and(decisions(&RUST, NOT_FOUND), json!({ "flags": KEYS }))
}

#[tokio::test]
async fn the_rust_sdk_reads_and_evaluates_on_the_server() {
    assert_eq!(ask_server(Client::rust()).await, rust_sdk_on_server());
}

#[tokio::test]
async fn the_rust_sdk_evaluates_on_the_sidecar_with_the_pods_token() {
    assert_eq!(ask_sidecar(Client::rust()).await, decisions(&RUST, NOT_FOUND));
}

// npm: @openfeature/flipt-provider

fn openfeature_flipt() -> Client {
    Client::node("openfeature-flipt")
}

fn openfeature_flipt_decisions() -> Value {
    json!({
        "variant": { "value": "blue", "reason": "TARGETING_MATCH" },
        // The provider gives the caller's default where no rule matched, not the flag's.
        "default": { "value": "fallback", "reason": "DEFAULT" },
        "attachment": { "value": { "contrast": 7.4, "hex": "#0057b7" }, "reason": "TARGETING_MATCH" },
        "boolean": { "value": true, "reason": "TARGETING_MATCH" },
        "unknown": {
            "value": "fallback",
            "reason": "ERROR",
            "errorCode": "GENERAL",
            "errorMessage": NOT_FOUND,
        },
    })
}

#[tokio::test]
async fn openfeatures_flipt_provider_evaluates_on_the_server() {
    assert_eq!(ask_server(openfeature_flipt()).await, openfeature_flipt_decisions());
}

#[tokio::test]
async fn openfeatures_flipt_provider_evaluates_on_the_sidecar_with_the_pods_token() {
    assert_eq!(ask_sidecar(openfeature_flipt()).await, openfeature_flipt_decisions());
}

// npm: @openfeature/ofrep-provider; PyPI: openfeature-provider-ofrep

fn ofrep_variant() -> Value {
    json!({
        "value": "blue",
        "variant": "blue",
        "reason": "TARGETING_MATCH",
        "metadata": { "attachment": ATTACHMENT, "segments": "nordic,paying" },
    })
}

fn ofrep_decisions() -> Value {
    json!({
        "variant": ofrep_variant(),
        "default": { "value": "grey", "variant": "grey", "reason": "DEFAULT", "metadata": {} },
        "boolean": { "value": true, "variant": "true", "reason": "TARGETING_MATCH", "metadata": {} },
        "unknown": {
            "value": "fallback",
            "reason": "ERROR",
            "metadata": {},
            "errorCode": "FLAG_NOT_FOUND",
            "errorMessage": "flag was not found no-such-flag",
        },
    })
}

#[tokio::test]
async fn openfeatures_ofrep_provider_for_node_evaluates_on_the_server() {
    assert_eq!(ask_server(Client::node("openfeature-ofrep")).await, ofrep_decisions());
}

#[tokio::test]
async fn openfeatures_ofrep_provider_for_node_evaluates_on_the_sidecar_with_the_pods_token() {
    assert_eq!(ask_sidecar(Client::node("openfeature-ofrep")).await, ofrep_decisions());
}

#[tokio::test]
async fn openfeatures_ofrep_provider_for_python_evaluates_on_the_server() {
    assert_eq!(without_nulls(ask_server(Client::python("openfeature_ofrep")).await), ofrep_decisions());
}

#[tokio::test]
async fn openfeatures_ofrep_provider_for_python_evaluates_on_the_sidecar_with_the_pods_token() {
    assert_eq!(without_nulls(ask_sidecar(Client::python("openfeature_ofrep")).await), ofrep_decisions());
}

// Python: grpcio with reflection

fn reflected() -> Client {
    Client::python("grpc_reflection_client")
}

const GRPC_NOT_FOUND: &str = r#"NOT_FOUND: flag "default/no-such-flag" not found"#;

fn reflected_decisions() -> Value {
    and(
        decisions(&WIRE, GRPC_NOT_FOUND),
        json!({
            "ofrep": {
                "key": "new-checkout",
                "reason": "TARGETING_MATCH",
                "variant": "true",
                "metadata": {},
                "value": true,
            },
        }),
    )
}

/// Takes the services out of the answers, if they tell them; those that evaluate and manage flags must be among
/// them.
fn without_services(mut answers: Value) -> Value {
    let Some(services) = answers.as_object_mut().unwrap().remove("services") else { return answers };
    for service in [
        "flipt.Flipt",
        "flipt.evaluation.DataService",
        "flipt.evaluation.EvaluationService",
        "flipt.ofrep.OFREPService",
    ] {
        assert!(services.as_array().unwrap().contains(&json!(service)), "{service} is not among {services}");
    }
    answers
}

fn reflected_on_server() -> Value {
    and(reflected_decisions(), json!({ "flags": KEYS, "unread": { "error": GRPC_NOT_FOUND } }))
}

#[tokio::test]
async fn a_grpc_client_that_knows_only_reflection_reads_and_evaluates_on_the_server() {
    let answers = ask_server(reflected()).await;
    assert!(answers["services"].is_array(), "{answers}");
    assert_eq!(without_services(answers), reflected_on_server());
}

/// The sidecar offers no reflection, to be small; its services are the server's.
#[tokio::test]
async fn a_grpc_client_that_learnt_from_the_server_evaluates_on_the_sidecar_with_the_pods_token() {
    let (_folder, server) = server(&[]).await;
    let learnt = server.grpc_url().trim_start_matches("http://").to_owned();
    let (_folder, sidecar, token) = sidecar().await;
    let client = on_sidecar(reflected(), &sidecar).with("FLIPT_REFLECTION", &learnt);
    let refused = without_services(client.clone().run().await.unwrap());
    assert_refused(&refused, &["UNAUTHENTICATED: no bearer token given"]);
    let answers = client.with("FLIPT_TOKEN", &token).run().await.unwrap();
    assert_eq!(without_services(answers), reflected_decisions());
}

// npm: @flipt-io/flipt-client-js; PyPI: flipt-client

fn engine_decisions(unknown: &str) -> Value {
    and(decisions(&WIRE, unknown), json!({ "flags": SORTED_KEYS }))
}

/// What the engine for JavaScript tells, with the news that nothing had changed when it asked again.
fn js_engine_decisions() -> Value {
    and(engine_decisions(NOT_IN_SNAPSHOT), json!({ "refreshed": false }))
}

fn native_engine_decisions() -> Value {
    engine_decisions(&format!("EvaluationError: {NOT_IN_SNAPSHOT}"))
}

#[tokio::test]
async fn the_client_side_engine_for_node_evaluates_the_servers_snapshot() {
    let answers = ask_server(Client::node("flipt-client-js")).await;
    assert_eq!(with_sorted_segments(answers), js_engine_decisions());
}

#[tokio::test]
async fn the_client_side_engine_for_python_evaluates_the_servers_snapshot() {
    let answers = ask_server(Client::python("flipt_engine")).await;
    assert_eq!(with_sorted_segments(answers), native_engine_decisions());
}

#[tokio::test]
async fn client_side_engines_are_told_by_the_sidecar_that_it_has_no_snapshots() {
    let (_folder, sidecar, token) = sidecar().await;
    let ask = |client| on_sidecar(client, &sidecar).with("FLIPT_TOKEN", &token).run();
    let told = ask(Client::node("flipt-client-js")).await.unwrap();
    assert_eq!(told, json!({ "error": "Failed to fetch data: Not Found" }));
    let told = ask(Client::python("flipt_engine")).await.unwrap();
    assert!(told["variant"]["error"].as_str().unwrap().contains("404 Not Found"), "{told}");
}

// Browsers

/// What lets pages of the shop ask the server.
const CORS: [(&str, &str); 2] = [("FLIPT_CORS_ENABLED", "true"), ("FLIPT_CORS_ALLOWED_ORIGINS", PAGE)];

#[tokio::test]
async fn the_client_side_engine_for_browsers_evaluates_in_a_page_of_an_allowed_origin() {
    let (_folder, server) = server(&CORS).await;
    let client = Client::node("flipt-client-js").argument("browser").argument(PAGE);
    let answers = on_server(client, &server).run().await.unwrap();
    // The page saw the tag of the first answer, and sent it.
    let expected = and(js_engine_decisions(), json!({ "statuses": [200, 304] }));
    assert_eq!(with_sorted_segments(answers), expected);
}

#[tokio::test]
async fn openfeatures_ofrep_provider_for_browsers_polls_with_the_tag_until_something_changes() {
    let (_folder, server) = server(&CORS).await;
    let client = Client::node("openfeature-ofrep-web").argument(PAGE);
    let answers = on_server(client, &server).run().await.unwrap();
    let banner = |enabled: bool| {
        json!({
            "value": enabled,
            "variant": enabled.to_string(),
            "reason": "DEFAULT",
            "metadata": {},
        })
    };
    let unknown = &answers["unknown"];
    assert_eq!(unknown["errorCode"], "FLAG_NOT_FOUND", "{answers}");
    assert_eq!(unknown["value"], "fallback", "{answers}");
    assert_eq!(answers["variant"], ofrep_variant(), "{answers}");
    assert_eq!(answers["boolean"], banner(false), "{answers}");
    assert_eq!(answers["statuses"], json!([200, 304, 304]), "{answers}");
    assert_eq!(answers["changed"], banner(true), "{answers}");
    assert_eq!(answers["answers"], json!([200, 304]), "{answers}");
}

#[tokio::test]
async fn pages_of_other_origins_are_not_let_in() {
    let (_folder, server) = server(&CORS).await;
    let other = "https://elsewhere.example";
    for client in [
        Client::node("flipt-client-js").argument("browser").argument(other),
        Client::node("openfeature-ofrep-web").argument(other),
    ] {
        let told = on_server(client, &server).run().await.unwrap();
        let text = told["error"].as_str().unwrap_or_default();
        assert!(text.contains("CORS") || text == "The OFREP request failed.", "{told}");
    }
}

// Static tokens

macro_rules! with_a_static_token {
    ($($promise:ident: $client:expr => $expected:expr;)+) => {
        $(
            #[tokio::test]
            async fn $promise() {
                let answers = without_nulls(without_services(ask_server_with_token($client).await));
                // Sorted on both sides: only engines give segments in any order.
                assert_eq!(with_sorted_segments(answers), $expected);
            }
        )+
    };
}

with_a_static_token! {
    the_node_sdk_is_let_in_by_a_static_token: node_sdk() => node_sdk_on_server();
    the_python_sdk_is_let_in_by_a_static_token: python_sdk() => python_sdk_on_server();
    the_rust_sdk_is_let_in_by_a_static_token: Client::rust() => rust_sdk_on_server();
    openfeatures_flipt_provider_is_let_in_by_a_static_token:
        openfeature_flipt() => openfeature_flipt_decisions();
    openfeatures_ofrep_provider_for_node_is_let_in_by_a_static_token:
        Client::node("openfeature-ofrep") => ofrep_decisions();
    openfeatures_ofrep_provider_for_python_is_let_in_by_a_static_token:
        Client::python("openfeature_ofrep") => ofrep_decisions();
    a_grpc_client_is_let_in_by_a_static_token: reflected() => reflected_on_server();
    the_client_side_engine_for_node_is_let_in_by_a_static_token:
        Client::node("flipt-client-js") => js_engine_decisions();
    the_client_side_engine_for_python_is_let_in_by_a_static_token:
        Client::python("flipt_engine") => native_engine_decisions();
}
