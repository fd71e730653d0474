//! What an API server does with a resource: fill in defaults, check the schema, the uniqueness of lists and the rules.
//! It is the manifests that are asked, so nothing here knows any kind. A real API server is asked the same in
//! `e2e/cluster`.

use std::collections::BTreeMap;

use flipt_crds::manifests;
use jsonschema::draft7;
use kube_cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use serde_json::{Value, json};

pub(crate) struct ApiServer {
    kinds: BTreeMap<String, Kind>,
    rules: Validator,
}

struct Kind {
    schema: Value,
    shape: jsonschema::Validator,
    rules: CompiledSchema,
}

impl ApiServer {
    pub(crate) fn new() -> Self {
        let kinds = manifests().into_iter().map(|manifest| {
            let spec = manifest.definition.spec;
            let schema = spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let schema = serde_json::to_value(schema).unwrap();
            let shape = draft7::new(&nullable(schema.clone())).unwrap();
            let rules = compile_schema(&schema);
            (spec.names.kind, Kind { schema, shape, rules })
        });
        Self { kinds: kinds.collect(), rules: Validator::new() }
    }

    /// The resource as it is stored, or every reason why it is refused.
    pub(crate) fn create(&self, resource: &Value) -> Result<Value, Vec<String>> {
        self.store(resource, None)
    }

    /// The same for an update of what is stored.
    pub(crate) fn update(&self, stored: &Value, resource: &Value) -> Result<Value, Vec<String>> {
        self.store(resource, Some(stored))
    }

    fn store(&self, resource: &Value, old: Option<&Value>) -> Result<Value, Vec<String>> {
        let kind = &self.kinds[resource["kind"].as_str().unwrap()];
        let resource = apply_defaults(&kind.schema, resource);
        let mut refusals: Vec<_> = kind
            .shape
            .iter_errors(&resource)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        check_lists(&kind.schema, &resource, "", &mut refusals);
        if let Err(errors) = self.rules.validate_compiled(&kind.rules, &resource, old) {
            refusals.extend(errors.as_slice().iter().map(ToString::to_string));
        }
        if refusals.is_empty() { Ok(resource) } else { Err(refusals) }
    }
}

/// JSON schemas have no `nullable`.
fn nullable(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for member in members.values_mut() {
                *member = nullable(member.take());
            }
            if members.get("nullable") == Some(&json!(true)) && members.contains_key("type") {
                return json!({ "anyOf": [{ "type": "null" }, schema] });
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = nullable(item.take())),
        _ => {}
    }
    schema
}

/// Sets and maps hold each item or key once.
fn check_lists(schema: &Value, value: &Value, place: &str, refusals: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                check_lists(&schema["properties"][name], member, &format!("{place}.{name}"), refusals);
            }
        }
        Value::Array(items) => {
            let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Some(item.clone()),
                Some("map") => {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array().unwrap();
                    Some(keys.iter().map(|key| item[key.as_str().unwrap()].clone()).collect())
                }
                _ => None,
            };
            let mut seen = Vec::new();
            for (at, item) in items.iter().enumerate() {
                check_lists(&schema["items"], item, &format!("{place}[{at}]"), refusals);
                if let Some(identity) = identity(item) {
                    if seen.contains(&identity) {
                        refusals.push(format!("{place}[{at}]: Duplicate value"));
                    }
                    seen.push(identity);
                }
            }
        }
        _ => {}
    }
}
