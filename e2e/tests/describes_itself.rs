//! Promise: the OpenAPI document that the server serves says what the server does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use flipt_e2e::{
    Server, ServerOptions,
    http::{self, Answer},
};
use serde_json::{Value, json};

const TOKEN: &str = "a-token-for-these-tests";
/// What the message of a path or verb that does not exist is.
const NO_ROUTE: [&str; 2] = ["Not Found", "Method Not Allowed"];

/// The document, and which of its operations have been seen to succeed.
struct Description {
    document: Value,
    succeeded: RefCell<BTreeSet<String>>,
}

impl Description {
    async fn of(server: &Server) -> Self {
        let answer = http::get(server.url("/api/openapi.json")).await.unwrap();
        let mut document = answer.ok().unwrap();
        // Stricter than what is served, which leaves room for fields to come: here nothing may be undescribed.
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        for schema in schemas.values_mut().filter(|schema| schema.get("properties").is_some()) {
            schema["additionalProperties"] = json!(false);
            schema["patternProperties"] = json!({ "^@type$": {} });
        }
        Self { document, succeeded: RefCell::default() }
    }

    fn operations(&self) -> impl Iterator<Item = (&String, String, &Value)> {
        self.document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            let item = item.as_object().unwrap();
            item.iter().map(move |(verb, operation)| (path, verb.to_uppercase(), operation))
        })
    }

    /// The operation at a path: of several that match, the one with most of it written out.
    fn find(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let path = path.strip_suffix('/').unwrap_or(path);
        let written_out = |pattern: &str| -> Option<usize> {
            let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            let fits = pattern.len() == path.len()
                && pattern
                    .iter()
                    .zip(&path)
                    .all(|(element, value)| element.starts_with('{') || element == value);
            fits.then(|| pattern.iter().filter(|element| !element.starts_with('{')).count())
        };
        self.operations()
            .filter(|(_, verb, _)| verb == method)
            .filter_map(|(pattern, _, operation)| Some((written_out(pattern)?, operation)))
            .max_by_key(|(written_out, _)| *written_out)
            .map(|(_, operation)| operation)
    }

    /// Fails unless an answer is what the operation is described to answer.
    fn check(&self, place: &str, operation: &Value, status: u16, content_type: &str, body: &[u8]) {
        let described = &operation["responses"][status.to_string()];
        let described = match described["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => described,
        };
        let text = String::from_utf8_lossy(body);
        assert!(described.is_object(), "{place}: {status} is not described: {text}");
        if status == 200 {
            self.succeeded.borrow_mut().insert(operation["operationId"].as_str().unwrap().to_owned());
        }
        let Some(content) = described.get("content") else {
            assert_eq!(text, "", "{place}: {status} has a body");
            return;
        };
        let media =
            content.get(content_type).unwrap_or_else(|| panic!("{place}: {content_type} is not described"));
        if content_type == "application/json" {
            let body: Value =
                serde_json::from_slice(body).unwrap_or_else(|error| panic!("{place}: {error}: {text}"));
            let schema = json!({ "components": self.document["components"], "allOf": [media["schema"]] });
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&body)
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{place}: {status}: {errors:#?}\n{text}");
        }
    }
}

struct Ground {
    server: Server,
    description: Description,
}

impl Ground {
    async fn new() -> Self {
        let environment = [
            ("FLIPT_AUTHENTICATION_REQUIRED", "true"),
            ("FLIPT_AUTHENTICATION_METHODS_TOKEN_ENABLED", "true"),
            ("FLIPT_AUTHENTICATION_METHODS_TOKEN_BOOTSTRAP_TOKEN", TOKEN),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let server = Server::start(ServerOptions::new().with_env(environment)).await.unwrap();
        let description = Description::of(&server).await;
        Self { server, description }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = http::request(method, self.server.url(path)).bearer(Some(TOKEN));
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    /// Asks, and fails unless the answer is 200 and as described.
    async fn succeed(&self, method: &str, path: &str, body: Value) -> Value {
        let place = format!("{method} {path}");
        let operation =
            self.description.find(method, path).unwrap_or_else(|| panic!("{place} is not described"));
        assert_eq!(operation.get("requestBody").is_some(), !body.is_null(), "{place}");
        let answer = self.ask(method, path, Some(&body).filter(|body| !body.is_null())).await;
        assert_eq!(answer.status, 200, "{place}: {}", answer.text());
        let content_type = answer.header("content-type").unwrap_or_default();
        self.description.check(&place, operation, 200, content_type, &answer.body);
        answer.json()
    }

    /// Calls everything about one namespace, with the paths below `base`.
    async fn use_namespace(&self, base: &str) {
        let none = Value::Null;
        let at = |path: &str| format!("{base}/{path}");
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let flag = json!({ "key": "f", "name": "F", "enabled": true, "metadata": { "a": [1, null, {}] } });
        self.succeed("POST", &at("flags"), flag).await;
        let boolean = json!({ "key": "b", "name": "B", "type": "BOOLEAN_FLAG_TYPE" });
        self.succeed("POST", &at("flags"), boolean).await;
        let variant = json!({ "key": "v", "attachment": "{\"a\":1}" });
        let variant = id(&self.succeed("POST", &at("flags/f/variants"), variant).await);
        let changed = json!({ "key": "v", "name": "V" });
        self.succeed("PUT", &at(&format!("flags/f/variants/{variant}")), changed).await;
        let changed = json!({ "name": "F2", "enabled": true, "defaultVariantId": variant });
        self.succeed("PUT", &at("flags/f"), changed).await;
        for key in ["s", "t"] {
            self.succeed("POST", &at("segments"), json!({ "key": key, "name": "S" })).await;
        }
        self.succeed("PUT", &at("segments/s"), json!({ "name": "S", "matchType": "ANY_MATCH_TYPE" })).await;
        let constraint = json!({ "type": 1, "property": "p", "operator": "eq", "value": "x" });
        let created = self.succeed("POST", &at("segments/s/constraints"), constraint.clone()).await;
        let constraint_path = at(&format!("segments/s/constraints/{}", id(&created)));
        self.succeed("PUT", &constraint_path, constraint).await;
        let rule = |rank: i32| json!({ "segmentKeys": ["s", "t"], "segmentOperator": 1, "rank": rank });
        let mut rules = Vec::new();
        for rank in [1, 2] {
            rules.push(id(&self.succeed("POST", &at("flags/f/rules"), rule(rank)).await));
        }
        let rule_path = at(&format!("flags/f/rules/{}", rules[0]));
        self.succeed("PUT", &rule_path, json!({ "segmentKey": "s" })).await;
        let order = json!({ "ruleIds": [rules[1], rules[0]] });
        self.succeed("PUT", &at("flags/f/rules/order"), order).await;
        let share = json!({ "variantId": variant, "rollout": 33.33 });
        let created = self.succeed("POST", &format!("{rule_path}/distributions"), share.clone()).await;
        let share_path = format!("{rule_path}/distributions/{}", id(&created));
        self.succeed("PUT", &share_path, share).await;
        for path in [at("flags"), at("flags?limit=1"), at("flags/f"), at("segments"), at("segments/s")] {
            self.succeed("GET", &path, none.clone()).await;
        }
        for path in [at("flags/f/rules"), rule_path.clone()] {
            self.succeed("GET", &path, none.clone()).await;
        }
        let question = json!({ "flagKey": "f", "entityId": "e", "context": { "p": "x" } });
        let batch = json!({ "requests": [question, { "flagKey": "f", "entityId": "other" }] });
        self.succeed("POST", &at("evaluate"), question).await;
        self.succeed("POST", &at("batch-evaluate"), batch).await;
        self.succeed("DELETE", &format!("{share_path}?variantId={variant}"), none.clone()).await;
        self.succeed("DELETE", &constraint_path, none.clone()).await;
        if base.contains("/namespaces/") {
            self.use_rollouts(&at("flags/b/rollouts")).await;
            self.evaluate(base.rsplit('/').next().unwrap()).await;
        }
        self.succeed("DELETE", &rule_path, none.clone()).await;
        self.succeed("DELETE", &at(&format!("flags/f/variants/{variant}")), none.clone()).await;
        self.succeed("DELETE", &at("flags/f"), none.clone()).await;
        self.succeed("DELETE", &at("flags/b"), none.clone()).await;
        self.succeed("DELETE", &at("segments/s"), none).await;
    }

    async fn use_rollouts(&self, rollouts: &str) {
        // A negative rank is taken, and must not keep the flag from being evaluated.
        let rules = [
            json!({ "rank": -3, "threshold": { "percentage": 12.5, "value": true } }),
            json!({ "rank": 2, "segment": { "segmentKey": "s", "value": true } }),
        ];
        let mut ids = Vec::new();
        for rule in rules {
            let created = self.succeed("POST", rollouts, rule).await;
            ids.push(created["id"].as_str().unwrap().to_owned());
        }
        let first = format!("{rollouts}/{}", ids[0]);
        self.succeed("GET", &first, Value::Null).await;
        let question = json!({ "flagKey": "b", "namespaceKey": "n", "entityId": "e" });
        self.succeed("POST", "/evaluate/v1/boolean", question).await;
        self.succeed("PUT", &first, json!({ "threshold": { "percentage": 100, "value": true } })).await;
        self.succeed("PUT", &format!("{rollouts}/order"), json!({ "rolloutIds": [ids[1], ids[0]] })).await;
        self.succeed("GET", rollouts, Value::Null).await;
        self.succeed("DELETE", &first, Value::Null).await;
    }

    /// Everything that answers from the compiled state.
    async fn evaluate(&self, namespace: &str) {
        let none = Value::Null;
        let question = |flag: &str| json!({ "namespaceKey": namespace, "flagKey": flag, "entityId": "e", "context": { "p": "x" } });
        self.succeed("POST", "/evaluate/v1/boolean", question("b")).await;
        self.succeed("POST", "/evaluate/v1/variant", question("f")).await;
        let batch = json!({ "requests": [question("b"), question("f"), question("missing")] });
        let answers = self.succeed("POST", "/evaluate/v1/batch", batch).await;
        assert_eq!(answers["responses"].as_array().map(Vec::len), Some(3));
        self.succeed("GET", &format!("/internal/v1/evaluation/snapshot/namespace/{namespace}"), none.clone())
            .await;
        let client = format!("/client/v2/environments/default/namespaces/{namespace}");
        self.succeed("GET", &format!("{client}/snapshot"), none).await;
        let stream = self.server.url(&format!("{client}/stream"));
        let mut lines = http::request("GET", stream).bearer(Some(TOKEN)).open().await.unwrap();
        let operation = self.description.find("GET", &format!("{client}/stream")).unwrap();
        self.description.check(
            "stream",
            operation,
            200,
            "application/json",
            lines.next().await.unwrap().as_bytes(),
        );
    }

    /// Whole resources of Flipt v2.
    async fn use_environments(&self) {
        let none = Value::Null;
        let base = "/api/v2/environments/default";
        self.succeed("GET", "/api/v2/environments", none.clone()).await;
        self.succeed("GET", &format!("{base}/branches"), none.clone()).await;
        let created = json!({ "key": "n", "name": "N", "description": "d" });
        self.succeed("POST", &format!("{base}/namespaces"), created).await;
        let changed =
            self.succeed("PUT", &format!("{base}/namespaces"), json!({ "key": "n", "name": "N2" })).await;
        let mut revision = changed["revision"].clone();
        self.succeed("GET", &format!("{base}/namespaces"), none.clone()).await;
        self.succeed("GET", &format!("{base}/namespaces/n"), none.clone()).await;
        let resources = format!("{base}/namespaces/n/resources");
        let segment = json!({ "@type": "flipt.core.Segment", "key": "s", "name": "S",
            "constraints": [{ "type": 2, "property": "p", "operator": "lt", "value": "1" }] });
        let flag = json!({ "@type": "flipt.core.Flag", "key": "f", "name": "F", "enabled": true,
            "metadata": { "a": 1 }, "variants": [{ "key": "v", "attachment": { "a": [] } }],
            "rules": [{ "segments": ["s"], "distributions": [{ "variant": "v", "rollout": 100 }] }] });
        for (method, key, payload) in [("POST", "s", &segment), ("POST", "f", &flag), ("PUT", "f", &flag)] {
            let body = json!({ "key": key, "payload": payload, "revision": revision });
            revision = self.succeed(method, &resources, body).await["revision"].clone();
        }
        for kind in ["flipt.core.Flag", "flipt.core.Segment"] {
            self.succeed("GET", &format!("{resources}/{kind}"), none.clone()).await;
        }
        self.succeed("GET", &format!("{resources}/flipt.core.Flag/f"), none.clone()).await;
        let revision = revision.as_str().unwrap();
        let deleted = format!("{resources}/flipt.core.Flag/f?revision={revision}");
        let revision = self.succeed("DELETE", &deleted, none.clone()).await["revision"].clone();
        let deleted = format!("{base}/namespaces/n?revision={}", revision.as_str().unwrap());
        self.succeed("DELETE", &deleted, none).await;
    }

    async fn use_ownership(&self) {
        let base = "/ownership/v1/environments/default";
        let owner = json!({ "cluster": "c", "namespace": "n", "name": "o", "uid": "u" });
        let flag = json!({ "key": "owned", "name": "Owned", "type": "BOOLEAN_FLAG_TYPE" });
        let wish =
            json!({ "namespaceKey": "default", "owner": owner, "flag": flag, "uiEditable": ["RULES"] });
        self.succeed("POST", &format!("{base}/apply"), wish).await;
        let switch = format!("{base}/namespaces/default/flags/owned/override");
        self.succeed("PUT", &switch, json!({ "enabled": true, "reason": "r" })).await;
        self.succeed("GET", &format!("{base}/managed"), Value::Null).await;
        self.succeed("DELETE", &switch, Value::Null).await;
        self.succeed("GET", &format!("{base}/changes"), Value::Null).await;
        let release = json!({ "kind": "FLAG", "namespaceKey": "default", "key": "owned", "owner": owner,
            "delete": true });
        self.succeed("POST", &format!("{base}/release"), release).await;
    }

    async fn use_credentials(&self) {
        let none = Value::Null;
        self.succeed("GET", "/auth/v1/method", none.clone()).await;
        let token = json!({ "name": "t", "metadata": { "a": "b" }, "expiresAt": "2100-01-01T00:00:00Z" });
        let created = self.succeed("POST", "/auth/v1/method/token", token).await;
        let id = created["authentication"]["id"].as_str().unwrap();
        self.succeed("GET", "/auth/v1/tokens", none.clone()).await;
        self.succeed("GET", &format!("/auth/v1/tokens/{id}"), none.clone()).await;
        self.succeed("DELETE", &format!("/auth/v1/tokens/{id}"), none.clone()).await;
        self.succeed("GET", "/auth/v1/self", none).await;
    }
}

#[tokio::test]
async fn every_operation_answers_as_described() {
    let ground = Ground::new().await;
    let none = Value::Null;
    for path in
        ["/health", "/livez", "/readyz", "/metrics", "/api/openapi.json", "/meta/info", "/meta/config"]
    {
        ground.succeed("GET", path, none.clone()).await;
    }
    ground.use_environments().await;
    ground.succeed("POST", "/api/v1/namespaces", json!({ "key": "n", "name": "N" })).await;
    ground.succeed("PUT", "/api/v1/namespaces/n", json!({ "name": "N2" })).await;
    for path in ["/api/v1/namespaces", "/api/v1/namespaces/n"] {
        ground.succeed("GET", path, none.clone()).await;
    }
    ground.use_namespace("/api/v1/namespaces/n").await;
    ground.succeed("DELETE", "/api/v1/namespaces/n", none.clone()).await;
    ground.use_namespace("/api/v1").await;
    // OFREP's namespace comes by header; without one it is the default one.
    ground.succeed("POST", "/api/v1/flags", json!({ "key": "o", "name": "O", "type": 1 })).await;
    let context = json!({ "context": { "targetingKey": "e" } });
    ground.succeed("GET", "/ofrep/v1/configuration", none.clone()).await;
    ground.succeed("POST", "/ofrep/v1/evaluate/flags/o", context.clone()).await;
    ground.succeed("POST", "/ofrep/v1/evaluate/flags", context).await;
    ground.use_ownership().await;
    let pointer = ground.succeed("GET", "/snapshots/v1/default/current.json", none.clone()).await;
    let object = format!("/snapshots/v1/default/{}", pointer["path"].as_str().unwrap());
    ground.succeed("GET", &object, none.clone()).await;
    ground.use_credentials().await;
    // Last: nothing is answered after it.
    ground.succeed("PUT", "/auth/v1/self/expire", none).await;

    let described: BTreeSet<String> = ground
        .description
        .operations()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    let succeeded = ground.description.succeeded.borrow();
    let missing: Vec<&String> = described.difference(&succeeded).collect();
    // Branches are git's, which the databases here do not have; they say so with 501.
    let branches = [
        "EnvironmentsService.BranchEnvironment",
        "EnvironmentsService.DeleteBranchEnvironment",
        "EnvironmentsService.ListBranchedEnvironmentChanges",
        "EnvironmentsService.ProposeEnvironment",
    ];
    assert_eq!(missing, branches);
}

#[tokio::test]
async fn every_operation_is_reachable_and_refuses_as_described() {
    let ground = Ground::new().await;
    let mut asked = 0;
    for (pattern, method, operation) in ground.description.operations() {
        let id = operation["operationId"].as_str().unwrap();
        if ["ClientStream", "AuthenticationService.ExpireAuthenticationSelf"].contains(&id) {
            // One does not end, the other ends our credentials.
            continue;
        }
        let path: String = pattern
            .split('/')
            .map(|element| match element {
                "{environment_key}" | "{namespace_key}" => "default",
                _ if element.starts_with('{') => "nothing-has-this-key",
                _ => element,
            })
            .collect::<Vec<_>>()
            .join("/");
        let place = format!("{method} {path}");
        for body in [json!({}), json!([]), json!({ "key": 1, "name": [], "context": 5, "payload": "" })] {
            let answer = ground.ask(&method, &path, Some(&body)).await;
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(!NO_ROUTE.contains(&message.as_str()), "{place} does not exist: {message}");
            assert!(answer.status < 500 || answer.status == 501, "{place}: {}", answer.text());
            let content_type = answer.header("content-type").unwrap_or_default();
            ground.description.check(&place, operation, answer.status, content_type, &answer.body);
            asked += 1;
        }
        let stranger = http::request(&method, ground.server.url(&path)).send().await.unwrap();
        let is_closed = operation["security"] != json!([]);
        assert_eq!(stranger.status == 401, is_closed, "{place}: {}", stranger.text());
        if is_closed {
            ground.description.check(&place, operation, 401, "application/json", &stranger.body);
        }
    }
    assert!(asked > 200, "{asked}");
}

/// Every answer that has been recorded of Flipt is as this server describes its own.
#[tokio::test]
async fn recorded_answers_of_flipt_are_as_described() {
    let ground = Ground::new().await;
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/cases");
    let mut seen = 0;
    for file in files(&cases) {
        let case: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for step in case["steps"].as_array().unwrap() {
            let (request, response) = (&step["request"], &step["response"]);
            let (Some(method), Some(path)) = (request["method"].as_str(), request["path"].as_str()) else {
                continue;
            };
            let is_plain = !path.contains("pretty") && request["headers"].is_null();
            if step["transport"] != "http" || response["status"] != 200 || !is_plain {
                continue;
            }
            // The rest has no description: form bodies, paths that this server does not have.
            let Some(operation) = ground.description.find(method, path) else { continue };
            let content_type = response["headers"]["content-type"].as_str().unwrap_or_default();
            if content_type != "application/json" || !response["body"].is_object() {
                continue;
            }
            let place = format!("{}: {}", file.display(), step["name"]);
            let body = serde_json::to_vec(&response["body"]).unwrap();
            ground.description.check(&place, operation, 200, content_type, &body);
            seen += 1;
        }
    }
    assert!(seen > 500, "{seen}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files
}
