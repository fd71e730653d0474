//! The description of the REST port as an OpenAPI document.
//!
//! Nothing is listed here that is not listed elsewhere: paths and verbs come from the lists that requests are
//! routed by ([`Bindings`], [`EvaluationHttp::PATHS`], [`Endpoint::ALL`]), bodies and parameters from the
//! descriptors that they are decoded by, texts from the comments of the `.proto` files.

mod answers;
mod comments;
mod endpoints;
mod operation;
mod schema;

use std::collections::BTreeSet;

use flipt_serving::EvaluationHttp;
use serde_json::{Map, Value, json};

use crate::{endpoint::Endpoint, rest::Bindings, transcode};
use comments::Comments;
use operation::Operation;
use schema::Schemas;

/// Describes these bindings with everything that is always offered. `is_closed` tells which services need
/// credentials.
pub(crate) fn document(bindings: &Bindings, is_closed: impl Fn(&str) -> bool) -> Value {
    let comments = Comments::of(transcode::pool());
    let mut schemas = Schemas::new(&comments);
    let mut paths: Map<String, Value> = Map::new();
    let mut services = BTreeSet::new();
    let mut add = |path: &str, method: &http::Method, described: Value| {
        let item = paths.entry(format!("/{}", path.trim_start_matches('/'))).or_insert_with(|| json!({}));
        item[method.as_str().to_lowercase()] = described;
    };
    for operation in Operation::all(bindings) {
        services.insert(operation.service);
        let described = operation.describe(&mut schemas, &comments, is_closed(operation.service));
        add(operation.path, &operation.method, described);
    }
    for endpoint in Endpoint::ALL {
        let needs_credentials = endpoints::service(endpoint).is_some_and(&is_closed);
        let described = endpoints::describe(endpoint, &mut schemas, &comments, needs_credentials);
        add(endpoint.path(), &http::Method::GET, described);
    }
    let tags: Vec<Value> = services
        .into_iter()
        .map(|service| json!({ "name": service, "description": comments.of_service(service) }))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Flipt for Kubernetes",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This server" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": answers::shared(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A client token in the header Authorization.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "flipt_client_token",
                    "description": "A client token of a session; read only without a header Authorization.",
                },
            },
        },
    })
}

const INTRODUCTION: &str = "The REST API of Flipt v1, with the environments, snapshots and streams of Flipt v2.

Bodies are JSON whatever their Content-Type says; unknown fields are ignored, `null` is absent, and names may be \
written in snake_case too. Answers carry every field, with default values. `?pretty` on any path indents the answer \
and leaves default values out. An empty element of a path is a value: `/api/v1/namespaces//flags` means the default \
namespace. A verb that a path does not have is answered with 501.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        calls,
        rest::{Found, matches},
    };

    fn all() -> (Bindings, Value) {
        let bindings = calls::bindings(|_| true);
        let document = document(&bindings, |_| true);
        (bindings, document)
    }

    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                let item = item.as_object().unwrap();
                item.iter().map(|(verb, operation)| (path.clone(), verb.to_uppercase(), operation))
            })
            .collect()
    }

    #[test]
    fn every_path_that_is_served_is_described_once() {
        let (bindings, document) = all();
        let served = bindings.iter().count() + EvaluationHttp::PATHS.len() + Endpoint::ALL.len();
        assert_eq!(operations(&document).len(), served, "two paths of the lists are one");
        for binding in bindings.iter() {
            let path = format!("/{}", binding.path);
            let verb = binding.method.as_str().to_lowercase();
            assert!(document["paths"][&path][&verb].is_object(), "{verb} {path}");
        }
    }

    #[test]
    fn every_description_leads_to_its_handler() {
        let (bindings, document) = all();
        for (path, verb, operation) in operations(&document) {
            let relative = path.trim_start_matches('/');
            let segments: Vec<&str> = relative.split('/').collect();
            let method = http::Method::from_bytes(verb.as_bytes()).unwrap();
            let is_call = match bindings.find(&method, &segments) {
                Found::Call(binding, _) => binding.path == relative,
                Found::WrongMethod | Found::Nothing => false,
            };
            let is_evaluation = EvaluationHttp::offer(&path).is_some_and(|offer| offer.method == method);
            let is_endpoint = method == http::Method::GET
                && Endpoint::ALL.iter().any(|endpoint| matches(endpoint.path(), &segments).is_some());
            assert!(is_call || is_evaluation || is_endpoint, "{verb} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{verb} {path}");
        }
    }

    #[test]
    fn every_parameter_of_a_path_is_described() {
        for (path, verb, operation) in operations(&all().1) {
            let named: Vec<&str> = path
                .split('/')
                .filter_map(|element| element.strip_prefix('{').and_then(|name| name.strip_suffix('}')))
                .collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let described: Vec<&str> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(described, named, "{verb} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_id_is_unique() {
        let document = all().1;
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 100, "{}", references.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let ids: Vec<String> = operations(&document)
            .iter()
            .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    references.push(reference.to_owned());
                }
                object.values().for_each(|value| collect(value, references));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }

    #[test]
    fn what_is_not_offered_is_not_described() {
        let token = "flipt.auth.AuthenticationMethodTokenService";
        let bindings = calls::bindings(|service| service != token);
        let document = document(&bindings, |_| false);
        assert!(document["paths"].get("/auth/v1/method/token").is_none());
        assert_eq!(document["paths"]["/api/v1/flags"]["get"]["security"], json!([]));
        assert_eq!(
            all().1["paths"]["/api/v1/flags"]["get"]["security"],
            json!([{"bearer": []}, {"cookie": []}])
        );
    }
}
