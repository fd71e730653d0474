//! `${name}` in the strings of a scenario.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known by name in a scenario.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The text with every known name replaced; unknown ones stay.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            match after.split_once('}').and_then(|(name, tail)| Some((self.0.get(name)?, tail))) {
                Some((value, tail)) => {
                    filled.push_str(value);
                    rest = tail;
                }
                None => {
                    filled.push_str("${");
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// The value with every string in it filled, keys too.
    pub(crate) fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.json(item)).collect()),
            Value::Object(members) => Value::Object(
                members.iter().map(|(name, member)| (self.text(name), self.json(member))).collect(),
            ),
            other => other.clone(),
        }
    }

    pub(crate) fn map(&self, map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        map.iter().map(|(name, value)| (self.text(name), self.text(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_replaced_and_others_stay() {
        let mut variables = Variables::default();
        variables.set("a", "1");
        assert_eq!(variables.text("x${a}y${b}${a}${"), "x1y${b}1${");
        assert_eq!(variables.json(&serde_json::json!({"${a}": ["${a}"]})), serde_json::json!({"1": ["1"]}));
    }
}
