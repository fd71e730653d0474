//! JSON patches (RFC 6902), as far as an injection needs them.

use serde::Serialize;
use serde_json::{Map, Value};

/// One step of a patch. There is no `remove`: an injection takes nothing away.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds a member, or an item of a list.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Replaces what an injection has added before.
    Replace {
        /// Where.
        path: String,
        /// By what.
        value: Value,
    },
    /// Moves the sidecar's container to another place of its list.
    Move {
        /// Where it stands.
        from: String,
        /// Where it will stand.
        path: String,
    },
}

/// A patch that does not fit its document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing stands at {0:?}")]
pub struct PatchError(String);

/// Path to a member of what stands at a path.
pub(crate) fn child(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Applies one step, as an API server does.
///
/// # Errors
/// The path leads nowhere. The document is then as it was.
pub fn apply(document: &mut Value, operation: &Operation) -> Result<(), PatchError> {
    match operation {
        Operation::Add { path, value } => add(document, path, value.clone()),
        Operation::Replace { path, value } => {
            let place = document.pointer_mut(path).ok_or_else(|| PatchError(path.clone()))?;
            *place = value.clone();
            Ok(())
        }
        Operation::Move { from, path } => {
            let (list, index) = item(from)?;
            let items = document.pointer_mut(list).and_then(Value::as_array_mut);
            let items = items.filter(|items| index < items.len()).ok_or_else(|| PatchError(from.clone()))?;
            let moved = items.remove(index);
            add(document, path, moved)
        }
    }
}

fn item(path: &str) -> Result<(&str, usize), PatchError> {
    path.rsplit_once('/')
        .and_then(|(list, index)| Some((list, index.parse().ok()?)))
        .ok_or_else(|| PatchError(path.to_owned()))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let nowhere = || PatchError(path.to_owned());
    let (parent, key) = path.rsplit_once('/').ok_or_else(nowhere)?;
    match document.pointer_mut(parent).ok_or_else(nowhere)? {
        Value::Object(members) => {
            members.insert(key.replace("~1", "/").replace("~0", "~"), value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = key.parse().ok().filter(|index| *index <= items.len()).ok_or_else(nowhere)?;
            items.insert(index, value);
        }
        _ => return Err(nowhere()),
    }
    Ok(())
}

/// A pod that is being changed: whoever reads it sees every step so far.
#[derive(Debug)]
pub(crate) struct Draft {
    pod: Value,
    patch: Vec<Operation>,
}

impl Draft {
    pub(crate) fn new(pod: &Value) -> Self {
        Self { pod: pod.clone(), patch: Vec::new() }
    }

    /// The pod as it is by now.
    pub(crate) fn pod(&self) -> &Value {
        &self.pod
    }

    pub(crate) fn into_patch(self) -> Vec<Operation> {
        self.patch
    }

    /// Sets a member, unless it is so already.
    pub(crate) fn set(&mut self, path: &str, value: Value) {
        let operation = match self.pod.pointer(path) {
            Some(present) if *present == value => return,
            Some(_) => Operation::Replace { path: path.to_owned(), value },
            None => Operation::Add { path: path.to_owned(), value },
        };
        self.step(operation);
    }

    /// Sets a member of an object, which is made if there is none.
    pub(crate) fn set_member(&mut self, object: &str, key: &str, value: Value) {
        if !self.pod.pointer(object).is_some_and(Value::is_object) {
            self.step(Operation::Add { path: object.to_owned(), value: Value::Object(Map::new()) });
        }
        self.set(&child(object, key), value);
    }

    /// Appends to a list, which is made if there is none.
    pub(crate) fn push(&mut self, list: &str, value: Value) {
        self.ensure_list(list);
        self.step(Operation::Add { path: format!("{list}/-"), value });
    }

    /// Inserts into a list, which is made if there is none.
    pub(crate) fn insert(&mut self, list: &str, index: usize, value: Value) {
        self.ensure_list(list);
        self.step(Operation::Add { path: format!("{list}/{index}"), value });
    }

    /// Moves an item of a list to where it stands among the others.
    pub(crate) fn shift(&mut self, list: &str, from: usize, to: usize) {
        self.step(Operation::Move { from: format!("{list}/{from}"), path: format!("{list}/{to}") });
    }

    fn ensure_list(&mut self, list: &str) {
        if !self.pod.pointer(list).is_some_and(Value::is_array) {
            self.step(Operation::Add { path: list.to_owned(), value: Value::Array(Vec::new()) });
        }
    }

    fn step(&mut self, operation: Operation) {
        // A step that the draft does not take, no API server would take either.
        if apply(&mut self.pod, &operation).is_ok() {
            self.patch.push(operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_escaped() {
        assert_eq!(
            child("/metadata/annotations", "flipt.io/status"),
            "/metadata/annotations/flipt.io~1status"
        );
        assert_eq!(child("", "a~b/c"), "/a~0b~1c");
        let mut document = json!({});
        apply(&mut document, &Operation::Add { path: child("", "a~b/c"), value: json!(1) }).unwrap();
        assert_eq!(document, json!({"a~b/c": 1}));
    }

    #[test]
    fn steps_are_written_as_an_api_server_reads_them() {
        let steps = [
            Operation::Add { path: "/a".into(), value: json!([]) },
            Operation::Replace { path: "/a".into(), value: json!(1) },
            Operation::Move { from: "/b/0".into(), path: "/b/1".into() },
        ];
        assert_eq!(
            serde_json::to_value(steps).unwrap(),
            json!([
                {"op": "add", "path": "/a", "value": []},
                {"op": "replace", "path": "/a", "value": 1},
                {"op": "move", "from": "/b/0", "path": "/b/1"},
            ])
        );
    }

    #[test]
    fn a_step_that_leads_nowhere_changes_nothing() {
        let before = json!({"a": [1], "b": "text"});
        for operation in [
            Operation::Add { path: "/a/3".into(), value: json!(1) },
            Operation::Add { path: "/b/c".into(), value: json!(1) },
            Operation::Replace { path: "/c".into(), value: json!(1) },
            Operation::Move { from: "/a/1".into(), path: "/a/0".into() },
        ] {
            let mut document = before.clone();
            assert!(apply(&mut document, &operation).is_err(), "{operation:?}");
            assert_eq!(document, before);
        }
    }

    #[test]
    fn a_list_is_made_where_there_is_none() {
        let mut draft = Draft::new(&json!({"spec": {"volumes": null}}));
        draft.push("/spec/volumes", json!("a"));
        draft.insert("/spec/initContainers", 0, json!("b"));
        draft.set_member("/metadata", "labels", json!({}));
        assert_eq!(
            draft.pod(),
            &json!({"spec": {"volumes": ["a"], "initContainers": ["b"]}, "metadata": {"labels": {}}})
        );
    }
}
