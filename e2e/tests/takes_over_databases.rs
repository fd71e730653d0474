//! A database that Flipt wrote is taken over in place: the same evaluations, the same export, the same tokens.
//! On SQLite, PostgreSQL and MariaDB, from the recorded dumps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use flipt_dev_databases::{Durability, MariaDb, Postgres};
use flipt_e2e::{Cli, Server, ServerOptions, http};
use serde_json::Value;

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/databases").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(recorded(name)).unwrap()).unwrap()
}

/// The 1,000 evaluations with the answers of this database: those of SQLite, but for the recorded differences.
fn evaluations(differences: Option<&str>) -> Vec<Value> {
    let text = fs::read_to_string(recorded("evaluations.jsonl")).unwrap();
    let mut cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 1_000);
    for difference in differences.map(json).iter().flat_map(|list| list.as_array().unwrap()) {
        let line = usize::try_from(difference["line"].as_u64().unwrap()).unwrap();
        // Lines are counted from one.
        let case = &mut cases[line - 1];
        for key in ["namespaceKey", "flagKey", "entityId", "type"] {
            assert_eq!(case[key], difference[key]);
        }
        case["result"] = difference["result"].clone();
    }
    cases
}

/// The part of an answer that counts.
fn outcome(answer: &Value, status: u16, expected: &Value) -> Value {
    let mut shown = serde_json::Map::new();
    for key in expected.as_object().unwrap().keys() {
        let mut value = answer[key.as_str()].clone();
        if key == "segmentKeys"
            && let Some(keys) = value.as_array_mut()
        {
            keys.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        shown.insert(key.clone(), value);
    }
    assert!(status == 200 || expected.get("code").is_some(), "{status}: {answer}");
    Value::Object(shown)
}

/// What the three databases have in common: looked at, migrated, served, asked.
async fn is_taken_over(url: &str, schema: &str, differences: Option<&str>, tokens: &str, export: &str) {
    let folder = tempfile::tempdir().unwrap();
    let database = [("FLIPT_DB_URL".to_owned(), url.to_owned())];
    let cli = Cli::new(folder.path()).unwrap().with_env(database.clone());

    let plan = cli.run(&["migrate", "--dry-run"]).unwrap().success().unwrap();
    assert!(plan.contains(&format!("version {schema} (as Flipt v1.61 leaves it)")), "{plan}");
    assert!(plan.contains("5 namespaces") && plan.contains("CREATE TABLE changes"), "{plan}");
    assert!(plan.contains("Nothing was changed"), "{plan}");
    // It was true: the next look says the same.
    assert_eq!(cli.run(&["migrate", "--dry-run"]).unwrap().success().unwrap(), plan);
    cli.run(&["migrate"]).unwrap().success().unwrap();
    let after = cli.run(&["migrate", "--dry-run"]).unwrap().success().unwrap();
    assert!(after.contains("Nothing to do: the schema is current."), "{after}");

    let exported = cli.run(&["export", "--all-namespaces"]).unwrap().success().unwrap();
    assert_eq!(
        without_order_of_keys(&exported),
        without_order_of_keys(&fs::read_to_string(recorded(export)).unwrap())
    );

    let server = Server::start(ServerOptions::new().with_env(database.clone())).await.unwrap();
    let mut different = Vec::new();
    for case in evaluations(differences) {
        let path = format!("/evaluate/v1/{}", case["type"].as_str().unwrap());
        let request = serde_json::json!({
            "namespaceKey": case["namespaceKey"],
            "flagKey": case["flagKey"],
            "entityId": case["entityId"],
            "context": case["context"],
        });
        let answer = server.call("POST", &path, &request).await.unwrap();
        let status = answer.status;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let found = outcome(&body, status, &case["result"]);
        if found != case["result"] {
            different.push(format!("{case}\n  answers {found}"));
        }
    }
    assert!(different.is_empty(), "{} of 1,000 differ:\n{}", different.len(), different.join("\n"));

    drop(server);
    let required = [
        ("FLIPT_AUTHENTICATION_REQUIRED".to_owned(), "true".to_owned()),
        ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED".to_owned(), "true".to_owned()),
    ];
    let options = ServerOptions::new().with_env(database).with_env(required);
    let server = Server::start(options).await.unwrap();
    let known = &json("tokens.json")[tokens];
    let mut statuses = HashMap::new();
    for (name, entry) in known.as_object().unwrap() {
        let token = entry["clientToken"].as_str().unwrap();
        let answer = http::request("GET", server.url("/api/v1/namespaces/default/flags"))
            .header("authorization", &format!("Bearer {token}"))
            .send()
            .await
            .unwrap();
        statuses.insert(name.as_str(), answer.status);
    }
    let expected = [("bootstrap", 200), ("plain", 200), ("scoped", 401), ("expiring", 200), ("expired", 401)];
    assert_eq!(statuses, HashMap::from(expected));
}

/// The document with the keys of each rule's segments sorted: their order is not fixed in what Flipt wrote.
fn without_order_of_keys(document: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    let mut in_keys = false;
    for line in document.lines() {
        let is_key = in_keys && line.trim_start().starts_with("- ") && !line.contains(": ");
        if is_key {
            keys.push(line);
            continue;
        }
        keys.sort_unstable();
        lines.append(&mut keys);
        in_keys = line.trim() == "keys:";
        lines.push(line);
    }
    keys.sort_unstable();
    lines.append(&mut keys);
    lines.join("\n")
}

#[tokio::test]
async fn a_sqlite_file_of_flipt_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flipt.db");
    fs::copy(recorded("flipt.db"), &file).unwrap();
    is_taken_over(&format!("file:{}", file.display()), "15", None, "sqlite", "export.yaml").await;
}

#[tokio::test]
async fn a_postgresql_database_of_flipt_is_taken_over() {
    let server = Postgres::start(Durability::Processes);
    let url = server.create_database();
    // The dump of a newer tool than the server may begin with a setting that it does not know.
    server.load("test_0", &recorded("flipt.postgresql.sql"));
    let differences = Some("differences.postgresql.json");
    is_taken_over(&url, "16", differences, "postgresql", "export.yaml").await;
}

#[tokio::test]
async fn a_mariadb_database_of_flipt_is_taken_over() {
    let server = MariaDb::start(Durability::Processes);
    let url = server.create_database();
    server.load("test_0", &recorded("flipt.mariadb.sql"));
    let differences = Some("differences.mariadb.json");
    is_taken_over(&url, "15", differences, "mariadb", "export.mariadb.yaml").await;
}
