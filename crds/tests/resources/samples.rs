//! The samples of this crate, for everybody who asks an API server about them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A change of a sample.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    /// Name of the resource.
    pub(crate) sample: String,
    /// JSON merge patch of it.
    pub(crate) merge: Value,
    /// Whether it exists before.
    #[serde(default)]
    pub(crate) update: bool,
    /// Part of what the API server says, if it refuses.
    #[serde(default)]
    pub(crate) message: String,
}

impl Change {
    /// The sample as it is after the change.
    pub(crate) fn apply(&self, samples: &BTreeMap<String, Value>) -> Value {
        let mut changed = samples[&self.sample].clone();
        merge(&mut changed, &self.merge);
        changed
    }
}

/// The resources that are accepted, by name.
pub(crate) fn accepted() -> BTreeMap<String, Value> {
    yaml_serde::Deserializer::from_str(include_str!("../../samples/accepted.yaml"))
        .map(|document| Value::deserialize(document).unwrap())
        .map(|sample| (sample["metadata"]["name"].as_str().unwrap().to_owned(), sample))
        .collect()
}

/// Changes that are refused.
pub(crate) fn refused() -> Vec<Change> {
    yaml_serde::from_str(include_str!("../../samples/refused.yaml")).unwrap()
}

/// Changes that are accepted.
pub(crate) fn allowed() -> Vec<Change> {
    yaml_serde::from_str(include_str!("../../samples/allowed.yaml")).unwrap()
}

/// JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let members = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}
