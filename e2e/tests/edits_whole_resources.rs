//! Promise: the environments API writes whole resources at once, and nobody overwrites what they have not seen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_e2e::{Server, ServerOptions, http::Answer};
use serde_json::{Value, json};

const RESOURCES: &str = "/api/v2/environments/default/namespaces/default/resources";
const FLAGS: &str = "/api/v2/environments/default/namespaces/default/resources/flipt.core.Flag";
const SEGMENTS: &str = "/api/v2/environments/default/namespaces/default/resources/flipt.core.Segment";

fn segment(key: &str, revision: &str) -> Value {
    json!({ "key": key, "revision": revision, "payload": {
        "@type": "flipt.core.Segment", "name": "Pro", "matchType": "ALL_MATCH_TYPE",
        "constraints": [
            { "type": "STRING_COMPARISON_TYPE", "property": "plan", "operator": "eq", "value": "pro" }
        ] } })
}

fn flag(key: &str, revision: &str, name: &str) -> Value {
    json!({ "key": key, "revision": revision, "payload": {
        "@type": "type.googleapis.com/flipt.core.Flag", "key": "ignored", "name": name, "enabled": true,
        "variants": [ { "key": "blue", "attachment": { "hex": "#00f" } }, { "key": "red" } ],
        "defaultVariant": "red",
        "rules": [ { "segments": ["pro"], "distributions": [ { "variant": "blue", "rollout": 100 } ] } ],
        "metadata": { "team": "web", "priority": 5 } } })
}

async fn server() -> Server {
    let server = Server::start(ServerOptions::new()).await.unwrap();
    server.change("POST", RESOURCES, segment("pro", "")).await.unwrap();
    server
}

async fn send(server: &Server, method: &str, path: &str, body: Value) -> Answer {
    server.call(method, path, &body).await.unwrap()
}

fn refusal(answer: &Answer) -> (u16, i64, String) {
    let body = answer.json();
    (answer.status, body["code"].as_i64().unwrap(), body["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_whole_flag_is_written_evaluated_and_read_back() {
    let server = server().await;
    let written = server.change("POST", RESOURCES, flag("colour", "", "Colour")).await.unwrap();
    let read = server.call("GET", &format!("{FLAGS}/colour"), &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(read, written);
    let payload = &read["resource"]["payload"];
    assert_eq!(payload["@type"], "flipt.core.Flag");
    assert_eq!((payload["key"].as_str(), payload["defaultVariant"].as_str()), (Some("colour"), Some("red")));
    assert_eq!(payload["variants"][0]["attachment"], json!({ "hex": "#00f" }));
    assert_eq!(payload["metadata"], json!({ "team": "web", "priority": 5 }));
    let request = json!({ "flagKey": "colour", "entityId": "e", "context": { "plan": "pro" } });
    let evaluated = server.change("POST", "/evaluate/v1/variant", request).await.unwrap();
    assert_eq!((evaluated["variantKey"].as_str(), evaluated["match"].as_bool()), (Some("blue"), Some(true)));
    // The v1 API shows the same flag.
    let v1 = server.call("GET", "/api/v1/flags/colour", &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(v1["defaultVariant"]["key"], "red");
    let listed = server.call("GET", FLAGS, &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(listed["resources"][0]["payload"], *payload);
}

#[tokio::test]
async fn an_update_keeps_what_stays_and_follows_the_order_of_the_list() {
    let server = server().await;
    server.change("POST", RESOURCES, flag("colour", "", "Colour")).await.unwrap();
    let ids = || async {
        let flag = server.call("GET", "/api/v1/flags/colour", &json!({})).await.unwrap().ok().unwrap();
        let variants = flag["variants"].as_array().unwrap();
        let of = |field: &str| -> Vec<String> {
            variants.iter().map(|variant| variant[field].as_str().unwrap().to_owned()).collect()
        };
        (of("key"), of("id"))
    };
    let (_, before) = ids().await;
    let mut wanted = flag("colour", "", "Colour");
    wanted["payload"]["variants"] = json!([{ "key": "red" }, { "key": "green" }, { "key": "blue" }]);
    server.change("PUT", RESOURCES, wanted).await.unwrap();
    let (keys, after) = ids().await;
    assert_eq!(keys, ["red", "green", "blue"]);
    assert_eq!(
        (&after[0], &after[2]),
        (&before[1], &before[0]),
        "a variant keeps its id while its key stays"
    );
}

#[tokio::test]
async fn a_stale_revision_is_a_conflict_that_changes_nothing() {
    let server = server().await;
    let seen = server.change("POST", RESOURCES, flag("colour", "", "Colour")).await.unwrap();
    let seen = seen["revision"].as_str().unwrap();
    assert!(seen.len() == 40 && seen.bytes().all(|byte| byte.is_ascii_hexdigit()), "{seen}");
    // Another flag's change is no conflict for this one.
    server.change("POST", RESOURCES, flag("other", seen, "Other")).await.unwrap();
    let first = server.change("PUT", RESOURCES, flag("colour", seen, "First")).await.unwrap();
    let now = first["revision"].as_str().unwrap();
    let (status, code, message) =
        refusal(&send(&server, "PUT", RESOURCES, flag("colour", seen, "Second")).await);
    assert_eq!((status, code), (409, 10));
    assert_eq!(
        message,
        format!(
            "resource type \"flipt.core.Flag\": expected head revision \"{seen}\" has changed (now \"{now}\")"
        )
    );
    let delete = format!("{FLAGS}/colour?revision={seen}");
    assert_eq!(send(&server, "DELETE", &delete, json!({})).await.status, 409);
    // A change over the v1 API counts as well.
    let edit = json!({ "name": "By v1", "enabled": true });
    server.change("PUT", "/api/v1/flags/colour", edit).await.unwrap();
    assert_eq!(send(&server, "PUT", RESOURCES, flag("colour", now, "Third")).await.status, 409);
    let read = server.call("GET", &format!("{FLAGS}/colour"), &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(read["resource"]["payload"]["name"], "By v1");
    // Without a revision the last writer wins, as with the one that a client sends that knows none.
    for revision in ["", "unknown", "0000000000000000000000000000000000000000"] {
        assert_eq!(send(&server, "PUT", RESOURCES, flag("colour", revision, "Last")).await.status, 200);
    }
}

#[tokio::test]
async fn existence_and_references_are_checked_with_the_texts_of_the_api() {
    let server = server().await;
    server.change("POST", RESOURCES, flag("colour", "", "Colour")).await.unwrap();
    let again = send(&server, "POST", RESOURCES, flag("colour", "", "Colour")).await;
    assert_eq!(
        refusal(&again),
        (
            409,
            6,
            r#"resource type "flipt.core.Flag": create resource "flipt.core.Flag/default/colour""#.into()
        )
    );
    let absent = send(&server, "PUT", RESOURCES, flag("absent", "", "Absent")).await;
    assert_eq!((refusal(&absent).0, refusal(&absent).1), (404, 5));
    let mut unknown = flag("new", "", "New");
    unknown["payload"]["rules"][0]["segments"] = json!(["nobody"]);
    assert_eq!(
        refusal(&send(&server, "POST", RESOURCES, unknown).await),
        (400, 3, r#"flag default/new rule 1 references unknown segment "nobody""#.into())
    );
    let mut typo = flag("new", "", "New");
    typo["payload"]["rules"][0]["distributions"][0]["variant"] = json!("green");
    assert_eq!(
        refusal(&send(&server, "POST", RESOURCES, typo).await),
        (
            400,
            3,
            r#"invalid field rules[0].distributions[0].variant: variant "green" not found on the flag"#
                .into()
        )
    );
    assert_eq!(
        refusal(&send(&server, "DELETE", &format!("{SEGMENTS}/pro"), json!({})).await),
        (400, 3, r#"segment "pro" is in use by flag "colour" rule 1"#.into())
    );
    let elsewhere = RESOURCES.replace("namespaces/default", "namespaces/nowhere");
    assert_eq!(send(&server, "POST", &elsewhere, segment("s", "")).await.status, 404);
    let nothing = json!({ "key": "x", "payload": { "name": "X" } });
    assert_eq!(send(&server, "POST", RESOURCES, nothing).await.status, 400);
}

#[tokio::test]
async fn namespaces_are_resources_of_an_environment() {
    let server = server().await;
    let place = "/api/v2/environments/default/namespaces";
    let made = server
        .change("POST", place, json!({ "key": "shop", "name": "Shop", "description": "The shop" }))
        .await
        .unwrap();
    assert_eq!(
        made["namespace"],
        json!({ "key": "shop", "name": "Shop", "description": "The shop", "protected": false })
    );
    let twice = send(&server, "POST", place, json!({ "key": "shop", "name": "Shop" })).await;
    assert_eq!(refusal(&twice), (409, 6, r#"create namespace "shop""#.into()));
    let protected = send(&server, "DELETE", &format!("{place}/default"), json!({})).await;
    assert_eq!(refusal(&protected), (400, 3, r#"namespace "default" is protected"#.into()));
    let revision = made["revision"].as_str().unwrap();
    let shop = RESOURCES.replace("namespaces/default", "namespaces/shop");
    server.change("POST", &shop, segment("pro", "")).await.unwrap();
    // Somebody has put something into it since: deleting takes that along, so it is a conflict.
    let stale = send(&server, "DELETE", &format!("{place}/shop?revision={revision}"), json!({})).await;
    assert_eq!(refusal(&stale).1, 10);
    assert_eq!(send(&server, "DELETE", &format!("{place}/shop"), json!({})).await.status, 200);
    let listed = server.call("GET", place, &json!({})).await.unwrap().ok().unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let unknown = send(&server, "GET", "/api/v2/environments/nowhere/namespaces", json!({})).await;
    assert_eq!(refusal(&unknown), (404, 5, r#"environment: "nowhere" not found"#.into()));
}
