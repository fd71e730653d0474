//! Answers that many operations have: the failures (api spec, sections 3 and 7.2).

use serde_json::{Map, Value, json};

/// Failures by status: when they come.
const FAILURES: [(u16, &str); 10] = [
    (400, "The request is not valid; the text names the field."),
    (401, "There are no credentials, or no good ones."),
    (403, "The caller may not do this, or asks from another site."),
    (404, "There is no such thing."),
    (409, "It exists already, or has changed since its caller saw it."),
    (413, "The body is too large."),
    (500, "The server is read-only, or has failed."),
    (501, "The path does not have this verb, or nothing here implements the call."),
    (503, "The state or the database is not there at the moment."),
    (504, "The time that the caller allowed is over."),
];

/// Which of the two forms failures have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Code, message, details.
    Status,
    /// As OpenFeature's protocol has it.
    Ofrep,
}

impl Form {
    const fn name(self) -> &'static str {
        match self {
            Self::Status => "Error",
            Self::Ofrep => "OfrepError",
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::Status => json!({
                "type": "object",
                "description": "Why a request has failed.",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": { "type": "integer", "minimum": 1, "maximum": 16, "description": "The gRPC code." },
                    "message": { "type": "string" },
                    "details": { "type": "array", "maxItems": 0 },
                },
                "additionalProperties": false,
            }),
            Self::Ofrep => json!({
                "type": "object",
                "description": "Why an evaluation has failed.",
                "required": ["errorDetails"],
                "properties": {
                    "key": { "type": "string", "description": "The flag's key." },
                    "errorCode": { "type": "string" },
                    "errorDetails": { "type": "string" },
                },
                "additionalProperties": false,
            }),
        }
    }
}

/// The failures that operations refer to.
pub(super) fn shared() -> Map<String, Value> {
    let mut shared = Map::new();
    for form in [Form::Status, Form::Ofrep] {
        for (status, description) in FAILURES {
            let mut content = json!({ "application/json": { "schema": form.schema() } });
            if matches!(status, 400 | 403) {
                // A path that is no text, and a page of another site, are refused before any API is reached.
                content["text/plain; charset=utf-8"] = json!({ "schema": { "type": "string" } });
            }
            let mut answer = json!({ "description": description, "content": content });
            if status == 401 && form == Form::Status {
                answer["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" } } });
            }
            shared.insert(format!("{}{status}", form.name()), answer);
        }
    }
    shared
}

/// All answers of an operation: success, and the failures with these statuses.
pub(super) fn all(success: Value, form: Form, failures: impl IntoIterator<Item = u16>) -> Value {
    let mut answers = Map::new();
    answers.insert("200".to_owned(), success);
    for status in failures {
        let name = form.name();
        answers
            .insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{name}{status}") }));
    }
    Value::Object(answers)
}

/// Success with a JSON body of this schema.
pub(super) fn json_of(schema: Value) -> Value {
    json!({ "description": "Success", "content": { "application/json": { "schema": schema } } })
}

/// That the caller knows the answer already.
pub(super) fn not_modified() -> Value {
    json!({
        "description": "Nothing has changed since the answer whose tag If-None-Match names.",
        "headers": { "ETag": { "schema": { "type": "string" } } },
    })
}
