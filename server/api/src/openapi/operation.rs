//! Calls and evaluations as operations of the document.

use flipt_serving::EvaluationHttp;
use http::Method;
use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Value, json};

use super::{
    answers::{self, Form},
    comments::Comments,
    schema::{Direction, Schemas},
};
use crate::rest::Bindings;

/// A verb at a path, with what goes in and out.
pub(super) struct Operation<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) service: &'a str,
    call: &'a str,
    request: String,
    reads_body: bool,
    answer: String,
}

impl<'a> Operation<'a> {
    /// Every operation that these bindings and evaluation offer.
    pub(super) fn all(bindings: &'a Bindings) -> impl Iterator<Item = Self> {
        let evaluations = EvaluationHttp::PATHS.into_iter().filter_map(|path| {
            let offer = EvaluationHttp::offer(path)?;
            Some(Self {
                reads_body: offer.method == Method::POST,
                method: offer.method,
                path,
                service: offer.service,
                call: offer.call,
                request: offer.request,
                answer: offer.answer,
            })
        });
        let calls = bindings.iter().map(|binding| Self {
            method: binding.method.clone(),
            path: binding.path,
            service: binding.service,
            call: binding.call,
            request: (binding.request)(),
            reads_body: binding.reads_body,
            answer: (binding.answer)(),
        });
        evaluations.chain(calls)
    }

    pub(super) fn describe(&self, schemas: &mut Schemas<'_>, comments: &Comments, is_closed: bool) -> Value {
        let method = comments.method(self.service, self.call);
        let name = method.as_ref().map_or(self.call, |method| method.name());
        let comment = method.as_ref().map_or("", |method| comments.of_method(method));
        let mut parameters = Vec::new();
        let mut named = Vec::new();
        let request = comments.message(&self.request);
        for element in self.path.split('/') {
            if let Some(name) = element.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                named.push(name);
                parameters.push(path_parameter(name));
            }
        }
        if let Some(request) = request.as_ref().filter(|_| !self.reads_body) {
            parameters.extend(query_parameters(request, &named, schemas));
        }
        parameters.extend(self.headers());
        let mut operation = json!({
            "operationId": self.id(name, &named),
            "tags": [self.service],
            "summary": summary(comment, name),
            "parameters": parameters,
            "responses": self.answers(schemas),
            "security": security(is_closed),
        });
        if comment.contains('\n') {
            operation["description"] = json!(comment);
        }
        if self.reads_body {
            let schema = schemas.named(&self.request, Direction::Read);
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
        }
        operation
    }

    /// Unique, although most calls have a second path, without a namespace.
    fn id(&self, name: &str, named: &[&str]) -> String {
        let service = self.service.rsplit('.').next().unwrap_or_default();
        let is_alias = self.path.trim_start_matches('/').starts_with("api/v1/")
            && !self.path.contains("/namespaces")
            && !named.contains(&"namespace_key");
        let place = if is_alias { ".InDefaultNamespace" } else { "" };
        format!("{service}.{name}{place}")
    }

    fn is_ofrep(&self) -> bool {
        self.path.starts_with("/ofrep/")
    }

    /// Headers that the operation heeds (api spec, section 2.7; v2 spec, section 3.3).
    fn headers(&self) -> impl Iterator<Item = Value> {
        let evaluates = self.service == "flipt.evaluation.EvaluationService" || self.is_ofrep();
        [
            evaluates.then(|| header("X-Flipt-Environment", "The environment to evaluate in.")),
            self.is_ofrep().then(|| header("X-Flipt-Namespace", "The namespace to evaluate in.")),
            self.is_bulk().then(|| header("If-None-Match", "Tags of answers that the caller has.")),
        ]
        .into_iter()
        .flatten()
    }

    fn is_bulk(&self) -> bool {
        self.is_ofrep() && self.call == "EvaluateBulk"
    }

    fn answers(&self, schemas: &mut Schemas<'_>) -> Value {
        let success = answers::json_of(schemas.named(&self.answer, Direction::Written));
        let form = if self.is_ofrep() { Form::Ofrep } else { Form::Status };
        let whole_resources = self.service == "environments.EnvironmentsService";
        let manages = self.service == "flipt.Flipt" || whole_resources;
        let writes =
            self.method != Method::GET && (manages || self.service == "flipt.ownership.OwnershipService");
        // What an object of a cluster owns is in conflict with edits of others.
        let more = [(409, writes && manages), (500, writes), (501, whole_resources)];
        let more = more.into_iter().filter(|(_, has)| *has).map(|(status, _)| status);
        let mut answers =
            answers::all(success, form, [400, 401, 403, 404, 413, 503, 504].into_iter().chain(more));
        if self.is_bulk() {
            answers["304"] = answers::not_modified();
        }
        answers
    }
}

/// Whether credentials must come, as a requirement of OpenAPI: either kind is enough.
pub(super) fn security(is_closed: bool) -> Value {
    if is_closed { json!([{ "bearer": [] }, { "cookie": [] }]) } else { json!([]) }
}

/// A value in the path.
pub(super) fn path_parameter(name: &str) -> Value {
    let mut parameter =
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    match name {
        "namespace_key" | "environment_key" => parameter["example"] = json!("default"),
        "type_url" => parameter["example"] = json!("flipt.core.Flag"),
        _ => {}
    }
    parameter
}

/// An optional header.
pub(super) fn header(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } })
}

/// The fields of a request that are not in the path.
fn query_parameters(request: &MessageDescriptor, named: &[&str], schemas: &mut Schemas<'_>) -> Vec<Value> {
    let is_free =
        |field: &FieldDescriptor| !named.contains(&field.name()) && !field.is_list() && !field.is_map();
    request
        .fields()
        .filter(is_free)
        .map(|field| {
            let schema = schemas.field(&field, Direction::Read);
            json!({ "name": field.json_name(), "in": "query", "schema": schema })
        })
        .collect()
}

/// The first sentence of the comment; without one, the name as words.
fn summary(comment: &str, name: &str) -> String {
    let first = comment.lines().next().unwrap_or_default();
    if !first.is_empty() {
        return first.trim_end_matches('.').to_owned();
    }
    let mut words = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_comment_or_the_name_in_words() {
        assert_eq!(summary("Lists flags.\nIn order.", "ListFlags"), "Lists flags");
        assert_eq!(summary("", "ListFlags"), "List flags");
    }
}
