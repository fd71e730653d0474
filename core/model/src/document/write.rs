//! From state to the document that export writes.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::document::node::{Content, Node, Value};
use crate::document::output::Output;
use crate::document::{Encoding, Version, json_reader, json_writer, yaml_writer};
use crate::validation::go_quote;
use crate::{
    Constraint, Distribution, Flag, Namespace, Rollout, RolloutRule, Rule, Segment, SegmentOperator, Variant,
};

/// An export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The documents, one per namespace.
    pub text: String,
    /// What could not be written and was left out, in sentences for people.
    pub warnings: Vec<String>,
}

/// Writes one document per namespace, byte for byte as Flipt 1.61.1 does. Everything is written in the order
/// it has; only the members of attachments and metadata are sorted, which the format demands.
///
/// Left out with a warning, where the reference fails and the user is left without a backup: rules without
/// segments, and attachments that are not JSON.
#[must_use]
pub fn write(namespaces: &[Namespace], encoding: Encoding) -> Written {
    let mut written = Written::default();
    for (index, namespace) in namespaces.iter().enumerate() {
        let document = document(namespace, index == 0, &mut written.warnings);
        match encoding {
            Encoding::Yaml => yaml_writer::push_document(&mut written.text, &document, index == 0),
            Encoding::Json => json_writer::push_document(&mut written.text, &document),
        }
    }
    written
}

/// Puts flags, segments and variants in key order: what `--sort-by-key` promises for one namespace. Rules,
/// rollouts, distributions and constraints keep the order that has a meaning.
pub fn sort_by_key(namespace: &mut Namespace) {
    namespace.sort_by_key();
    for flag in &mut namespace.flags {
        flag.variants.sort_by(|a, b| a.key.cmp(&b.key));
    }
}

/// Fields of a record; what is empty is left out.
#[derive(Default)]
pub(crate) struct Fields(Vec<(&'static str, Output)>);

impl Fields {
    pub(crate) fn always(mut self, name: &'static str, value: Output) -> Self {
        self.0.push((name, value));
        self
    }

    pub(crate) fn text(self, name: &'static str, value: &str) -> Self {
        if value.is_empty() { self } else { self.always(name, Output::Text(value.to_owned())) }
    }

    pub(crate) fn if_true(self, name: &'static str, value: bool) -> Self {
        if value { self.always(name, Output::Bool(true)) } else { self }
    }

    pub(crate) fn list(self, name: &'static str, items: Vec<Output>) -> Self {
        if items.is_empty() { self } else { self.always(name, Output::List(items)) }
    }

    pub(crate) fn record(self) -> Output {
        Output::Record(self.0)
    }
}

fn document(namespace: &Namespace, first: bool, warnings: &mut Vec<String>) -> Output {
    let about = Fields::default()
        .text("key", &namespace.key)
        .text("name", &namespace.name)
        .text("description", &namespace.description)
        .record();
    let flags = namespace.flags.iter().map(|item| flag(&namespace.key, item, warnings)).collect();
    Fields::default()
        .text("version", if first { Version::V1_4.name() } else { "" })
        .always("namespace", about)
        .list("flags", flags)
        .list("segments", namespace.segments.iter().map(segment).collect())
        .record()
}

fn flag(namespace: &str, flag: &Flag, warnings: &mut Vec<String>) -> Output {
    let place = go_quote(&format!("{namespace}/{}", flag.key));
    let default = flag.default_variant.as_deref();
    let variants = flag.variants.iter().map(|item| variant(&place, item, default, warnings)).collect();
    let mut rules = Vec::with_capacity(flag.rules.len());
    for (index, item) in flag.rules.iter().enumerate() {
        match rule(item) {
            Some(rule) => rules.push(rule),
            None => warnings.push(format!("flag {place} rule {index} has no segments and was left out")),
        }
    }
    let mut rollouts = Vec::with_capacity(flag.rollouts.len());
    for (index, item) in flag.rollouts.iter().enumerate() {
        match rollout(item) {
            Some(rollout) => rollouts.push(rollout),
            None => warnings.push(format!(
                "flag {place} rollout {index} has neither segments nor threshold and was left out"
            )),
        }
    }
    let mut fields = Fields::default()
        .text("key", &flag.key)
        .text("name", &flag.name)
        .always("type", Output::Text(flag.flag_type.to_string()))
        .text("description", &flag.description)
        .always("enabled", Output::Bool(flag.enabled));
    if !flag.metadata.is_empty() {
        fields = fields.always("metadata", metadata(&flag.metadata));
    }
    fields.list("variants", variants).list("rules", rules).list("rollouts", rollouts).record()
}

fn variant(flag: &str, variant: &Variant, default: Option<&str>, warnings: &mut Vec<String>) -> Output {
    let mut fields = Fields::default()
        .if_true("default", default == Some(variant.key.as_str()))
        .text("key", &variant.key)
        .text("name", &variant.name)
        .text("description", &variant.description);
    if !variant.attachment.is_empty() {
        match json_reader::read_value(&variant.attachment) {
            Some(node) if node.is_null() => {}
            Some(node) => fields = fields.always("attachment", native(&node)),
            None => warnings.push(format!(
                "flag {flag} variant {}: the attachment is not JSON and was left out",
                go_quote(&variant.key)
            )),
        }
    }
    fields.record()
}

/// JSON text as native structure; all numbers are 64-bit floats.
pub(crate) fn native(node: &Node) -> Output {
    match &node.content {
        Content::Scalar(scalar) => match &scalar.value {
            Value::Null => Output::Null,
            Value::Bool(value) => Output::Bool(*value),
            Value::Int(number) => Output::Number(*number as f64),
            Value::Float(number) => Output::Number(*number),
            Value::Text | Value::Time(_) | Value::Merge => Output::Text(scalar.text.clone()),
        },
        Content::List(items) => Output::List(items.iter().map(|item| native(item)).collect()),
        Content::Map(entries) => {
            let members: BTreeMap<&str, Output> = entries
                .iter()
                .filter_map(|(key, value)| Some((crate::document::decode::key_text(key)?, native(value))))
                .collect();
            Output::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        }
    }
}

pub(crate) fn metadata(metadata: &BTreeMap<String, Json>) -> Output {
    Output::Map(metadata.iter().map(|(key, value)| (key.clone(), metadata_value(value))).collect())
}

fn metadata_value(value: &Json) -> Output {
    match value {
        Json::Null => Output::Null,
        Json::Bool(value) => Output::Bool(*value),
        Json::Number(number) => number.as_f64().map_or(Output::Null, Output::Number),
        Json::String(text) => Output::Text(text.clone()),
        Json::Array(items) => Output::List(items.iter().map(metadata_value).collect()),
        Json::Object(members) => {
            Output::Map(members.iter().map(|(key, value)| (key.clone(), metadata_value(value))).collect())
        }
    }
}

fn rule(rule: &Rule) -> Option<Output> {
    let segment = match rule.segments.as_slice() {
        [] => return None,
        [key] => Output::Text(key.clone()),
        keys => Fields::default()
            .list("keys", texts(keys))
            .always("operator", Output::Text(rule.operator.to_string()))
            .record(),
    };
    let distributions = rule.distributions.iter().map(distribution).collect();
    Some(Fields::default().always("segment", segment).list("distributions", distributions).record())
}

fn distribution(distribution: &Distribution) -> Output {
    Fields::default()
        .text("variant", &distribution.variant)
        .always("rollout", Output::Percentage(distribution.rollout))
        .record()
}

fn rollout(rollout: &Rollout) -> Option<Output> {
    let fields = Fields::default().text("description", &rollout.description);
    let fields = match &rollout.rule {
        RolloutRule::Threshold { percentage, value } => fields.always(
            "threshold",
            Fields::default()
                .always("percentage", Output::Percentage(*percentage))
                .if_true("value", *value)
                .record(),
        ),
        RolloutRule::Segment { segments, operator, value } => {
            let segment = match segments.as_slice() {
                [] => return None,
                [key] => Fields::default().text("key", key),
                keys => Fields::default().list("keys", texts(keys)),
            };
            let operator =
                if *operator == SegmentOperator::And { operator.to_string() } else { String::new() };
            fields.always("segment", segment.text("operator", &operator).if_true("value", *value).record())
        }
        RolloutRule::None => return None,
    };
    Some(fields.record())
}

pub(crate) fn texts(keys: &[String]) -> Vec<Output> {
    keys.iter().map(|key| Output::Text(key.clone())).collect()
}

fn segment(segment: &Segment) -> Output {
    Fields::default()
        .text("key", &segment.key)
        .text("name", &segment.name)
        .text("description", &segment.description)
        .list("constraints", segment.constraints.iter().map(constraint).collect())
        .always("match_type", Output::Text(segment.match_type.to_string()))
        .record()
}

fn constraint(constraint: &Constraint) -> Output {
    Fields::default()
        .always("type", Output::Text(constraint.constraint_type.to_string()))
        .text("property", &constraint.property)
        .text("operator", &constraint.operator)
        .text("value", &constraint.value)
        .text("description", &constraint.description)
        .record()
}
