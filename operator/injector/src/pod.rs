//! A pod as JSON: how it is read without believing anything of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity;

/// Lists of containers that a pod starts with.
pub(crate) const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Whether everything an injection looks at has the shape that a pod gives it.
pub(crate) fn is_pod(pod: &Value) -> bool {
    let list_or_nothing = |value: &Value| value.is_null() || value.is_array();
    let object_or_nothing = |value: &Value| value.is_null() || value.is_object();
    let metadata = &pod["metadata"];
    let spec = &pod["spec"];
    let containers = LISTS.iter().all(|list| {
        list_or_nothing(&spec[*list])
            && items(spec, list).iter().all(|container| {
                container["name"].is_string()
                    && ["env", "ports", "volumeMounts"].iter().all(|list| {
                        list_or_nothing(&container[*list])
                            && items(container, list).iter().all(Value::is_object)
                    })
            })
    });
    metadata.is_object()
        && object_or_nothing(&metadata["labels"])
        && object_or_nothing(&metadata["annotations"])
        && spec.is_object()
        && containers
        && !items(spec, "containers").is_empty()
        && ["volumes", "imagePullSecrets"]
            .iter()
            .all(|list| list_or_nothing(&spec[*list]) && items(spec, list).iter().all(Value::is_object))
}

/// Items of a list, or none.
pub(crate) fn items<'v>(value: &'v Value, list: &str) -> &'v [Value] {
    value[list].as_array().map_or(&[], Vec::as_slice)
}

/// Name of a container, a volume or a variable.
pub(crate) fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

/// The item of this name.
pub(crate) fn find<'v>(items: &'v [Value], wanted: &str) -> Option<&'v Value> {
    items.iter().find(|item| name(item) == wanted)
}

/// All containers that the pod starts with, except one.
pub(crate) fn containers_except<'v>(pod: &'v Value, except: &str) -> impl Iterator<Item = &'v Value> {
    LISTS.iter().flat_map(|list| items(&pod["spec"], list)).filter(move |container| name(container) != except)
}

/// Annotations or labels whose values are texts.
pub(crate) fn texts<'v>(pod: &'v Value, field: &str) -> BTreeMap<&'v str, &'v str> {
    pod["metadata"][field]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

/// Whether everything that is wanted is there. An API server fills in defaults between two calls of a webhook, and
/// spells amounts its own way: further members, and other spellings, are no difference.
pub(crate) fn covers(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| present.get(key).is_some_and(|present| covers(present, wanted)))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() == wanted.len()
                && present.iter().zip(wanted).all(|(present, wanted)| covers(present, wanted))
        }
        (Value::String(present), Value::String(wanted)) if present != wanted => {
            quantity::parse(present).is_some_and(|present| quantity::parse(wanted) == Some(present))
        }
        _ => present == wanted,
    }
}
