//! Comparing JSON answers with recorded ones.

use serde_json::Value;

use crate::pattern::fits;

/// What does not count in a comparison.
pub(crate) struct Rules<'a> {
    /// Paths at which only the kind of value counts.
    pub(crate) varies: &'a [String],
    /// Paths of lists whose order does not count.
    pub(crate) unordered: &'a [String],
}

/// The differences, each with its path; empty if the values agree.
pub(crate) fn differences(expected: &Value, actual: &Value, rules: &Rules<'_>) -> Vec<String> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), expected, actual, rules, &mut found);
    found
}

fn compare(
    path: &mut Vec<String>,
    expected: &Value,
    actual: &Value,
    rules: &Rules<'_>,
    found: &mut Vec<String>,
) {
    if rules.varies.iter().any(|pattern| selects(pattern, path)) {
        if !same_kind(expected, actual) {
            found.push(difference(path, expected, actual));
        }
        return;
    }
    match (expected, actual) {
        (Value::Object(wanted), Value::Object(given)) => {
            for (name, value) in wanted {
                path.push(name.clone());
                match given.get(name) {
                    Some(other) => compare(path, value, other, rules, found),
                    None => found.push(format!("{}: missing, expected {value}", path.join("."))),
                }
                path.pop();
            }
            for (name, value) in given {
                if !wanted.contains_key(name) {
                    path.push(name.clone());
                    found.push(format!("{}: not expected, got {value}", path.join(".")));
                    path.pop();
                }
            }
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            if rules.unordered.iter().any(|pattern| selects(pattern, path)) {
                compare_as_sets(path, wanted, given, rules, found);
                return;
            }
            for (index, (value, other)) in wanted.iter().zip(given).enumerate() {
                path.push(index.to_string());
                compare(path, value, other, rules, found);
                path.pop();
            }
        }
        (Value::String(wanted), Value::String(given)) if fits(wanted, given) => {}
        (Value::Number(wanted), Value::Number(given))
            if wanted == given || wanted.as_f64() == given.as_f64() => {}
        (expected, actual) if expected == actual => {}
        (expected, actual) => found.push(difference(path, expected, actual)),
    }
}

fn compare_as_sets(
    path: &mut Vec<String>,
    wanted: &[Value],
    given: &[Value],
    rules: &Rules<'_>,
    found: &mut Vec<String>,
) {
    let mut left: Vec<&Value> = given.iter().collect();
    for (index, value) in wanted.iter().enumerate() {
        path.push(index.to_string());
        let partner = left.iter().position(|other| {
            let mut differences = Vec::new();
            compare(path, value, other, rules, &mut differences);
            differences.is_empty()
        });
        match partner {
            Some(at) => {
                left.remove(at);
            }
            None => found.push(format!("{}: nothing like {value} in the list", path.join("."))),
        }
        path.pop();
    }
}

fn difference(path: &[String], expected: &Value, actual: &Value) -> String {
    format!("{}: expected {expected}, got {actual}", path.join("."))
}

/// Whether a pattern with `*` for one element and a leading `**` for any number of them names this path.
pub(crate) fn selects(pattern: &str, path: &[String]) -> bool {
    let elements: Vec<&str> = pattern.split('.').collect();
    let matches = |elements: &[&str], path: &[String]| {
        elements.len() == path.len()
            && elements.iter().zip(path).all(|(element, name)| *element == "*" || element == name)
    };
    match elements.split_first() {
        Some((&"**", rest)) => path
            .len()
            .checked_sub(rest.len())
            .and_then(|start| path.get(start..))
            .is_some_and(|end| matches(rest, end)),
        _ => matches(&elements, path),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Number,
    Empty,
    Uuid,
    Time,
    Text,
    List,
    Object,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Number(_) => Kind::Number,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
        Value::String(text) if text.is_empty() => Kind::Empty,
        Value::String(text) if has_form(text, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh") => Kind::Uuid,
        Value::String(text) if is_time(text) => Kind::Time,
        Value::String(_) => Kind::Text,
    }
}

/// Only the recorded kind is demanded: any text that is not empty will do for a text.
fn same_kind(expected: &Value, actual: &Value) -> bool {
    match kind(expected) {
        Kind::Text => matches!(kind(actual), Kind::Text | Kind::Uuid | Kind::Time),
        other => other == kind(actual),
    }
}

fn is_time(text: &str) -> bool {
    let (Some(start), Some(rest)) = (text.get(..19), text.get(19..)) else { return false };
    let zone = rest.trim_start_matches('.').trim_start_matches(|c: char| c.is_ascii_digit());
    has_form(start, "dddd-dd-ddTdd:dd:dd")
        && (zone == "Z" || has_form(zone, "+dd:dd") || has_form(zone, "-dd:dd"))
}

/// `h` stands for a hexadecimal digit, `d` for a decimal one, anything else for itself.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, kind)| match kind {
            b'h' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// The value at a path of member names and list positions.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, element| match value {
        Value::Object(members) => members.get(element),
        Value::Array(items) => items.get(element.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agree(expected: Value, actual: Value, varies: &[&str], unordered: &[&str]) -> bool {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (varies, unordered) = (owned(varies), owned(unordered));
        differences(&expected, &actual, &Rules { varies: &varies, unordered: &unordered }).is_empty()
    }

    #[test]
    fn keys_order_and_numbers_are_compared_by_value() {
        assert!(agree(json!({"a": 1, "b": [1, 2]}), json!({"b": [1, 2], "a": 1.0}), &[], &[]));
        assert!(!agree(json!({"a": 1}), json!({"a": 1, "b": 2}), &[], &[]));
        assert!(!agree(json!({"a": 1, "b": 2}), json!({"a": 1}), &[], &[]));
        assert!(!agree(json!([1, 2]), json!([2, 1]), &[], &[]));
        assert!(agree(json!({"x": [{"l": [1, 2]}]}), json!({"x": [{"l": [2, 1]}]}), &[], &["**.l"]));
        assert!(!agree(json!({"l": [1, 1]}), json!({"l": [2, 1]}), &[], &["**.l"]));
    }

    #[test]
    fn of_what_varies_only_the_kind_counts() {
        let id = "95f86848-457f-48b9-83bc-f67b335ecf95";
        assert!(agree(json!({"id": id}), json!({"id": id.replace('9', "1")}), &["id"], &[]));
        assert!(!agree(json!({"id": id}), json!({"id": "1"}), &["id"], &[]));
        assert!(!agree(json!({"a": {"id": id}}), json!({"a": {"id": ""}}), &["**.id"], &[]));
        assert!(agree(json!([{"id": ""}]), json!([{"id": ""}]), &["*.id"], &[]));
        let (time, other) = ("2026-11-21T14:14:26.262Z", "2020-01-01T00:00:00Z");
        assert!(agree(json!({"t": time}), json!({"t": other}), &["t"], &[]));
        assert!(!agree(json!({"t": time}), json!({"t": "2020-01-01"}), &["t"], &[]));
    }
}
