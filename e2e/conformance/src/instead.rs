//! Values that differ on purpose wherever they come up in an area.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Scenario,
    compare::selects,
    scenario::{Exchange, Step},
};

/// One value that stands for another everywhere in the answers of an area. What stands beside it is compared
/// as ever, which a listed step is not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instead {
    pub(crate) area: String,
    /// Path, as in `varies`.
    pub(crate) at: String,
    /// What Flipt answers there.
    pub(crate) recorded: Value,
    /// What we answer; nothing at all if absent.
    ours: Option<Value>,
    /// Why, with the place in the specification.
    pub(crate) reason: String,
}

impl Instead {
    pub(crate) fn is_about(&self, file: &str) -> bool {
        file.split('/').next() == Some(&self.area)
    }
}

/// Puts our values into a scenario's expected answers. Tells for every step whether it had any.
pub(crate) fn apply(scenario: &mut Scenario, entries: &[&Instead]) -> Vec<bool> {
    scenario
        .steps
        .iter_mut()
        .map(|step| {
            let Step { exchange, .. } = step;
            let body = match exchange {
                Exchange::Http { response, .. } => response.body.as_mut(),
                Exchange::Grpc { response, .. } => response.body.as_mut(),
                Exchange::Cli(run) => run.stdout_json.as_mut(),
            };
            body.is_some_and(|body| replace(body, &mut Vec::new(), entries))
        })
        .collect()
}

fn replace(value: &mut Value, path: &mut Vec<String>, entries: &[&Instead]) -> bool {
    match value {
        Value::Object(members) => {
            let mut replaced = false;
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                path.push(name.clone());
                let entry = members.get(&name).and_then(|member| {
                    entries.iter().find(|entry| *member == entry.recorded && selects(&entry.at, path))
                });
                match entry {
                    Some(Instead { ours: Some(ours), .. }) => {
                        members.insert(name, ours.clone());
                        replaced = true;
                    }
                    Some(Instead { ours: None, .. }) => {
                        members.remove(&name);
                        replaced = true;
                    }
                    None => {
                        if let Some(member) = members.get_mut(&name) {
                            replaced |= replace(member, path, entries);
                        }
                    }
                }
                path.pop();
            }
            replaced
        }
        Value::Array(items) => {
            let mut replaced = false;
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                replaced |= replace(item, path, entries);
                path.pop();
            }
            replaced
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_recorded_value_at_the_path_is_replaced() {
        let entry = |at: &str, ours: Option<Value>| Instead {
            area: "a".to_owned(),
            at: at.to_owned(),
            recorded: json!("null"),
            ours,
            reason: "r".to_owned(),
        };
        let (gone, empty) = (entry("**.metadata.x", None), entry("**.x", Some(json!(""))));
        let mut body = json!([{"x": "null", "y": "null"}, {"x": "1", "metadata": {"x": "null"}}]);
        assert!(replace(&mut body, &mut Vec::new(), &[&gone, &empty]));
        assert_eq!(body, json!([{"x": "", "y": "null"}, {"x": "1", "metadata": {}}]));
        assert!(!replace(&mut body, &mut Vec::new(), &[&gone, &empty]));
    }
}
