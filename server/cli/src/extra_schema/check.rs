//! Applies an extra schema to a document.

use std::collections::BTreeMap;

use flipt_model::validation::{canonical_json, go_quote};
use serde_json::Value;

use super::{
    DOCUMENT,
    parse::{Expression, Field, Relation, Type},
};

/// A value that does not keep a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Keys and list positions, joined with dots.
    pub(super) path: String,
    pub(super) reason: String,
}

type Definitions = BTreeMap<String, Expression>;

/// Every rule that the document does not keep.
pub(super) fn check(definitions: &Definitions, document: &Value) -> Vec<Problem> {
    let mut check = Check { definitions, problems: Vec::new() };
    if !document.is_null() {
        check.document(document);
    }
    check.problems
}

struct Check<'a> {
    definitions: &'a Definitions,
    problems: Vec<Problem>,
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The items of a list member with their paths; none if there is no list.
fn items<'v>(value: &'v Value, path: &str, name: &str) -> Vec<(String, &'v Value)> {
    let path = joined(path, name);
    let list = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().map(|(index, item)| (format!("{path}.{index}"), item)).collect()
}

impl Check<'_> {
    fn document(&mut self, document: &Value) {
        self.definition(DOCUMENT, document, "");
        if let Some(namespace) = document.get("namespace").filter(|namespace| namespace.is_object()) {
            self.definition("#Namespace", namespace, "namespace");
        }
        for (path, flag) in items(document, "", "flags") {
            self.flag(flag, &path);
        }
        for (path, segment) in items(document, "", "segments") {
            self.definition("#Segment", segment, &path);
            for (path, constraint) in items(segment, &path, "constraints") {
                self.definition("#Constraint", constraint, &path);
            }
        }
    }

    fn flag(&mut self, flag: &Value, path: &str) {
        self.definition("#Flag", flag, path);
        if flag.get("type").and_then(Value::as_str) == Some("BOOLEAN_FLAG_TYPE") {
            self.definition("#FlagBoolean", flag, path);
        }
        for (path, variant) in items(flag, path, "variants") {
            self.definition("#Variant", variant, &path);
        }
        for (path, rule) in items(flag, path, "rules") {
            self.definition("#Rule", rule, &path);
            self.member("#RuleSegment", rule, &path, "segment");
            for (path, distribution) in items(rule, &path, "distributions") {
                self.definition("#Distribution", distribution, &path);
            }
        }
        for (path, rollout) in items(flag, path, "rollouts") {
            self.definition("#Rollout", rollout, &path);
            self.member("#RolloutSegment", rollout, &path, "segment");
        }
    }

    /// The map in a member, if there is one.
    fn member(&mut self, definition: &str, value: &Value, path: &str, name: &str) {
        if let Some(map) = value.get(name).filter(|map| map.is_object()) {
            self.definition(definition, map, &joined(path, name));
        }
    }

    fn definition(&mut self, name: &str, value: &Value, path: &str) {
        let definitions = self.definitions;
        if let Some(expression) = definitions.get(name) {
            self.value(expression, value, path);
        }
    }

    fn value(&mut self, expression: &Expression, value: &Value, path: &str) {
        match expression {
            Expression::All(parts) => parts.iter().for_each(|part| self.value(part, value, path)),
            Expression::Reference { name, .. } => self.definition(name, value, path),
            Expression::Struct(fields) => match value {
                Value::Object(_) => fields.iter().for_each(|field| self.field(field, value, path)),
                _ => self.mismatch(value, path, "{...}", "struct"),
            },
            Expression::Items(item) => match value {
                Value::Array(list) => {
                    for (index, value) in list.iter().enumerate() {
                        self.value(item, value, &format!("{path}.{index}"));
                    }
                }
                _ => self.mismatch(value, path, "[...]", "list"),
            },
            Expression::Any(parts) => {
                if !parts.iter().any(|part| self.holds(part, value)) {
                    let reason = format!("conflicting values {} and {}", shown(value), spell(expression));
                    self.problems.push(Problem { path: path.to_owned(), reason });
                }
            }
            scalar => {
                if let Some(reason) = refusal(scalar, value) {
                    self.problems.push(Problem { path: path.to_owned(), reason });
                }
            }
        }
    }

    fn field(&mut self, field: &Field, value: &Value, path: &str) {
        let path = joined(path, &field.name);
        if let Some(value) = value.get(&field.name) {
            return self.value(&field.expression, value, &path);
        }
        if field.optional {
            return;
        }
        // What the schema gives to a document that does not say.
        let given = match field.name.as_str() {
            "enabled" | "default" => Some(Value::Bool(false)),
            "variants" | "rules" | "rollouts" | "distributions" | "flags" | "segments" | "constraints"
            | "keys" => Some(Value::Array(Vec::new())),
            _ => None,
        };
        if let Some(given) = given {
            return self.value(&field.expression, &given, &path);
        }
        if !self.completes(&field.expression, &path) {
            let reason = format!("incomplete value {}", spell(&field.expression));
            self.problems.push(Problem { path, reason });
        }
    }

    /// Whether the rule itself says what a missing value is.
    fn completes(&mut self, expression: &Expression, path: &str) -> bool {
        match expression {
            Expression::Literal(_) | Expression::Items(_) => true,
            Expression::All(parts) => parts.iter().any(|part| self.completes(part, path)),
            Expression::Reference { name, .. } => {
                let definitions = self.definitions;
                definitions.get(name).is_some_and(|definition| self.completes(definition, path))
            }
            Expression::Struct(_) => {
                // A map that is made of its fields.
                self.value(expression, &Value::Object(serde_json::Map::new()), path);
                true
            }
            _ => false,
        }
    }

    fn holds(&self, expression: &Expression, value: &Value) -> bool {
        let mut trial = Check { definitions: self.definitions, problems: Vec::new() };
        trial.value(expression, value, "");
        trial.problems.is_empty()
    }

    fn mismatch(&mut self, value: &Value, path: &str, wanted: &str, kind: &str) {
        self.problems.push(Problem { path: path.to_owned(), reason: mismatch(value, wanted, kind) });
    }
}

fn mismatch(value: &Value, wanted: &str, kind: &str) -> String {
    let found = kind_of(value);
    format!("conflicting values {} and {wanted} (mismatched types {found} and {kind})", shown(value))
}

/// Why a value is not what a rule for single values wants.
fn refusal(expression: &Expression, value: &Value) -> Option<String> {
    let out_of_bound = || format!("invalid value {} (out of bound {})", shown(value), spell(expression));
    match expression {
        Expression::Type(wanted) => {
            let fits = match wanted {
                Type::String => value.is_string(),
                Type::Bool => value.is_boolean(),
                Type::Int => value.is_i64() || value.is_u64(),
                Type::Float => value.is_f64(),
                Type::Number => value.is_number(),
            };
            (!fits).then(|| mismatch(value, wanted.name(), wanted.name()))
        }
        Expression::Literal(wanted) => {
            let same = match (wanted.as_f64(), value.as_f64()) {
                (Some(wanted), Some(value)) => wanted == value,
                _ => wanted == value,
            };
            (!same).then(|| format!("conflicting values {} and {}", shown(value), shown(wanted)))
        }
        Expression::Pattern { regex, negated } => match value {
            Value::String(text) => (regex.is_match(text) == *negated).then(out_of_bound),
            _ => Some(mismatch(value, &spell(expression), "string")),
        },
        Expression::Bound { relation, number } => match value.as_f64() {
            Some(value) => {
                let within = match relation {
                    Relation::Less => value < *number,
                    Relation::LessOrEqual => value <= *number,
                    Relation::Greater => value > *number,
                    Relation::GreaterOrEqual => value >= *number,
                };
                (!within).then(out_of_bound)
            }
            None => Some(mismatch(value, &spell(expression), "number")),
        },
        Expression::Not(unwanted) => (unwanted == value).then(out_of_bound),
        _ => None,
    }
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Number => "number",
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "struct",
    }
}

/// A value as messages repeat it.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "{...}".to_owned(),
        Value::Array(_) => "[...]".to_owned(),
        // In quotes as Go writes them.
        Value::String(text) => go_quote(text),
        scalar => canonical_json(scalar),
    }
}

/// A rule as it was written, more or less.
fn spell(expression: &Expression) -> String {
    let list =
        |parts: &[Expression], separator: &str| parts.iter().map(spell).collect::<Vec<_>>().join(separator);
    match expression {
        Expression::Top => "_".to_owned(),
        Expression::Type(wanted) => wanted.name().to_owned(),
        Expression::Literal(value) => shown(value),
        Expression::Pattern { regex, negated } => {
            format!("{}{}", if *negated { "!~" } else { "=~" }, go_quote(regex.as_str()))
        }
        Expression::Bound { relation, number } => {
            let mark = match relation {
                Relation::Less => "<",
                Relation::LessOrEqual => "<=",
                Relation::Greater => ">",
                Relation::GreaterOrEqual => ">=",
            };
            format!("{mark}{number}")
        }
        Expression::Not(value) => format!("!={}", shown(value)),
        Expression::All(parts) => list(parts, " & "),
        Expression::Any(parts) => list(parts, " | "),
        Expression::Struct(_) => "{...}".to_owned(),
        Expression::Items(_) => "[...]".to_owned(),
        Expression::Reference { name, .. } => name.clone(),
    }
}
