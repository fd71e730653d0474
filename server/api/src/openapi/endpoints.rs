//! The paths that are neither calls nor evaluations as operations of the document.

use flipt_proto::{client as v2, evaluation};
use flipt_telemetry::Registry;
use prost::Name as _;
use serde_json::{Value, json};

use super::{
    answers::{self, Form},
    comments::Comments,
    operation::{header, path_parameter, security},
    schema::{Direction, Schemas},
};
use crate::{client, data, endpoint::Endpoint, meta};

/// The service whose rule about credentials an endpoint follows; `None` if it never needs any.
pub(super) const fn service(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::Health | Endpoint::Livez | Endpoint::Readyz | Endpoint::Metrics | Endpoint::Description => {
            None
        }
        Endpoint::Information | Endpoint::Configuration => Some(meta::SERVICE),
        Endpoint::Snapshot => Some(data::SERVICE),
        Endpoint::PublishedPointer | Endpoint::PublishedObject => Some(data::SERVICE),
        Endpoint::ClientSnapshot | Endpoint::ClientStream => Some(client::SERVICE),
    }
}

/// Id, tag and summary.
const fn texts(endpoint: Endpoint) -> (&'static str, &'static str, &'static str) {
    match endpoint {
        Endpoint::Health => ("Health", "operation", "Whether the server wants requests, as `readyz`"),
        Endpoint::Livez => ("Livez", "operation", "Whether the server is alive"),
        Endpoint::Readyz => ("Readyz", "operation", "Whether the server wants requests"),
        Endpoint::Metrics => ("Metrics", "operation", "Metrics in the text format of Prometheus"),
        Endpoint::Description => ("Description", "operation", "This document"),
        Endpoint::Information => {
            ("Information", "operation", "Version, platform, and what user interfaces need")
        }
        Endpoint::Configuration => {
            ("Configuration", "operation", "The effective configuration, without its secrets")
        }
        Endpoint::Snapshot => ("Snapshot", data::SERVICE, "The state of a namespace for client-side engines"),
        Endpoint::ClientSnapshot => (
            "ClientSnapshot",
            client::SERVICE,
            "The state of a namespace for client-side engines of Flipt v2",
        ),
        Endpoint::ClientStream => {
            ("ClientStream", client::SERVICE, "The state of a namespace, now and after every change")
        }
        Endpoint::PublishedPointer => {
            ("PublishedPointer", data::SERVICE, "Which snapshot of an environment is the current one")
        }
        Endpoint::PublishedObject => {
            ("PublishedObject", data::SERVICE, "A snapshot of an environment, by its digest")
        }
    }
}

pub(super) fn describe(
    endpoint: Endpoint,
    schemas: &mut Schemas<'_>,
    comments: &Comments,
    is_closed: bool,
) -> Value {
    let (id, tag, summary) = texts(endpoint);
    let named = |element: &'static str| element.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    let mut parameters: Vec<Value> =
        endpoint.path().split('/').filter_map(named).map(path_parameter).collect();
    parameters.extend(more_parameters(endpoint));
    let mut responses = match endpoint {
        Endpoint::Health | Endpoint::Livez | Endpoint::Readyz | Endpoint::Metrics | Endpoint::Description => {
            answers::all(success(endpoint, schemas), Form::Status, [])
        }
        Endpoint::Information | Endpoint::Configuration => {
            answers::all(success(endpoint, schemas), Form::Status, [400, 401, 403, 503, 504])
        }
        Endpoint::Snapshot
        | Endpoint::ClientSnapshot
        | Endpoint::ClientStream
        | Endpoint::PublishedPointer
        | Endpoint::PublishedObject => {
            answers::all(success(endpoint, schemas), Form::Status, [400, 401, 403, 404, 503, 504])
        }
    };
    match endpoint {
        Endpoint::Health | Endpoint::Livez | Endpoint::Readyz => {
            responses["404"] = json!({ "$ref": "#/components/responses/Error404" });
            if endpoint != Endpoint::Livez {
                responses["503"] = status_of("The server is about to end", "NOT_SERVING");
            }
        }
        Endpoint::Snapshot | Endpoint::ClientSnapshot | Endpoint::PublishedPointer => {
            responses["304"] = answers::not_modified()
        }
        _ => {}
    }
    let mut operation = json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
        "security": security(is_closed),
    });
    let comment = service(endpoint).map_or("", |service| comments.of_service(service));
    if !comment.is_empty() {
        operation["description"] = json!(comment);
    }
    operation
}

fn more_parameters(endpoint: Endpoint) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let query = |name: &str, description: &str| json!({ "name": name, "in": "query", "description": description, "schema": text });
    let known = || header("If-None-Match", "Tags of answers that the caller has.");
    match endpoint {
        Endpoint::Health | Endpoint::Livez | Endpoint::Readyz => {
            vec![query("service", "Only the empty name is known.")]
        }
        Endpoint::Snapshot => vec![
            query("reference", "Has no meaning on a database."),
            header("X-Flipt-Environment", "The environment of the namespace."),
            header(
                "X-Flipt-Accept-Server-Version",
                "The highest server version that the caller understands.",
            ),
            known(),
        ],
        Endpoint::ClientSnapshot | Endpoint::PublishedPointer => vec![known()],
        Endpoint::ClientStream => vec![
            query("digest", "The digest of the state that the caller has; it is not sent again."),
            header("Last-Event-ID", "The last event that the caller has seen, if it asks for events."),
        ],
        Endpoint::Metrics
        | Endpoint::Description
        | Endpoint::Information
        | Endpoint::Configuration
        | Endpoint::PublishedObject => Vec::new(),
    }
}

/// An answer about the server's health.
fn status_of(description: &str, status: &str) -> Value {
    let mut answer = answers::json_of(json!({
        "type": "object",
        "required": ["status"],
        "properties": { "status": { "type": "string", "enum": [status] } },
    }));
    answer["description"] = json!(description);
    answer
}

fn success(endpoint: Endpoint, schemas: &mut Schemas<'_>) -> Value {
    let object = json!({ "type": "object" });
    match endpoint {
        Endpoint::Health | Endpoint::Livez | Endpoint::Readyz => status_of("Success", "SERVING"),
        Endpoint::Metrics => json!({
            "description": "Success",
            "content": { Registry::CONTENT_TYPE: { "schema": { "type": "string" } } },
        }),
        Endpoint::Description | Endpoint::Information | Endpoint::Configuration => answers::json_of(object),
        Endpoint::PublishedPointer => tagged(answers::json_of(object)),
        Endpoint::PublishedObject => json!({
            "description": "Success",
            "content": { "application/gzip": { "schema": { "type": "string", "format": "binary" } } },
        }),
        Endpoint::Snapshot => {
            let name = evaluation::EvaluationNamespaceSnapshot::full_name();
            tagged(answers::json_of(schemas.named(&name, Direction::Written)))
        }
        Endpoint::ClientSnapshot => {
            let name = v2::EvaluationNamespaceSnapshot::full_name();
            tagged(answers::json_of(schemas.named(&name, Direction::Written)))
        }
        Endpoint::ClientStream => {
            let name = v2::EvaluationNamespaceSnapshot::full_name();
            let line = json!({
                "type": "object",
                "description": "One line per state.",
                "required": ["result"],
                "properties": { "result": schemas.named(&name, Direction::Written) },
            });
            json!({
                "description": "States or events, until the caller goes.",
                "content": {
                    "application/json": { "schema": line },
                    "text/event-stream": { "schema": { "type": "string" } },
                },
            })
        }
    }
}

fn tagged(mut answer: Value) -> Value {
    answer["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
    answer
}
