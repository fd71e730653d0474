//! JSON Schemas of messages: of what is read (nothing is required), and of what is written (every field that
//! is not a message is there; api spec, section 2.4).

use std::collections::BTreeMap;

use flipt_proto::flipt::core;
use prost::Name as _;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use crate::any;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// Into the server.
    Read,
    /// Out of the server.
    Written,
}

/// Schemas that others refer to, by their names.
pub(super) struct Schemas<'a> {
    comments: &'a Comments,
    named: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(comments: &'a Comments) -> Self {
        Self { comments, named: BTreeMap::new() }
    }

    /// All that were referred to.
    pub(super) fn finish(self) -> Map<String, Value> {
        self.named.into_iter().collect()
    }

    /// The schema of the message with this full name.
    pub(super) fn named(&mut self, name: &str, direction: Direction) -> Value {
        match self.comments.message(name) {
            Some(message) => self.message(&message, direction),
            None => json!({}),
        }
    }

    /// A message: well-known ones as they are, others by reference.
    pub(super) fn message(&mut self, message: &MessageDescriptor, direction: Direction) -> Value {
        match message.full_name() {
            "google.protobuf.Empty" => return json!({ "type": "object" }),
            "google.protobuf.Timestamp" => return json!({ "type": "string", "format": "date-time" }),
            "google.protobuf.Struct" => return json!({ "type": "object" }),
            "google.protobuf.Value" => return json!({}),
            any::NAME => return self.payload(direction),
            _ => {}
        }
        let name = component(message.full_name(), direction);
        if !self.named.contains_key(&name) {
            // Before its fields: they may lead back here.
            self.named.insert(name.clone(), Value::Null);
            let schema = self.object(message, direction);
            self.named.insert(name.clone(), schema);
        }
        reference(&name)
    }

    fn object(&mut self, message: &MessageDescriptor, direction: Direction) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields() {
            let is_written_always = field.is_list() || field.is_map() || !field.supports_presence();
            if direction == Direction::Written && is_written_always {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), self.field(&field, direction));
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        described(schema, self.comments.of_message(message))
    }

    /// A field of a message.
    pub(super) fn field(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let mut schema = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = self.kind(&entry.map_entry_value_field().kind(), direction);
                json!({ "type": "object", "additionalProperties": value })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind, direction) }),
            kind => self.kind(&kind, direction),
        };
        if field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated()) {
            schema["deprecated"] = json!(true);
        }
        described(schema, self.comments.of_field(field))
    }

    fn kind(&mut self, kind: &Kind, direction: Direction) -> Value {
        match kind {
            Kind::Message(message) => self.message(message, direction),
            Kind::Enum(kind) => self.enumeration(kind),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Float => json!({ "type": "number", "format": "float" }),
            Kind::Double => json!({ "type": "number", "format": "double" }),
            // JSON numbers do not hold 64 bits.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "pattern": "^-?[0-9]+$" })
            }
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        }
    }

    /// A name, or a number; numbers without a name are kept and given back as they are.
    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let name = kind.full_name().to_owned();
        if !self.named.contains_key(&name) {
            let values: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
            let schema = json!({
                "anyOf": [
                    { "type": "string", "enum": values },
                    { "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX },
                ],
            });
            self.named.insert(name.clone(), described(schema, self.comments.of_enum(kind)));
        }
        reference(&name)
    }

    /// A resource of Flipt v2 with the name of its type.
    fn payload(&mut self, direction: Direction) -> Value {
        let names = [core::Flag::full_name(), core::Segment::full_name()];
        let any_of: Vec<Value> = names.iter().map(|name| self.named(name, direction)).collect();
        json!({
            "type": "object",
            "description": "A resource, with the name of its type.",
            "required": ["@type"],
            "properties": { "@type": { "type": "string", "enum": names } },
            "anyOf": any_of,
        })
    }
}

/// Requests are only read and answers only written; whatever stands in both has two schemas.
fn component(message: &str, direction: Direction) -> String {
    match (direction, message.ends_with("Request")) {
        (Direction::Read, false) => format!("{message}.Input"),
        (Direction::Written, true) => format!("{message}.Output"),
        _ => message.to_owned(),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema with a description, unless there is none.
fn described(mut schema: Value, text: &str) -> Value {
    if !text.is_empty() {
        schema["description"] = json!(text);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode;

    fn schemas(name: &str, direction: Direction) -> Map<String, Value> {
        let comments = Comments::of(transcode::pool());
        let mut schemas = Schemas::new(&comments);
        schemas.named(name, direction);
        schemas.finish()
    }

    #[test]
    fn what_is_written_has_every_field_but_unset_messages() {
        let schemas = schemas("flipt.Flag", Direction::Written);
        let flag = &schemas["flipt.Flag"];
        let required = flag["required"].as_array().unwrap();
        assert!(required.contains(&json!("variants")) && required.contains(&json!("enabled")));
        for absent in ["createdAt", "defaultVariant", "metadata"] {
            assert!(!required.contains(&json!(absent)) && flag["properties"][absent].is_object(), "{absent}");
        }
        assert_eq!(flag["properties"]["type"]["$ref"], "#/components/schemas/flipt.FlagType");
        assert!(schemas.contains_key("flipt.Variant"));
    }

    #[test]
    fn of_what_is_read_nothing_is_required() {
        let schemas = schemas("flipt.CreateRolloutRequest", Direction::Read);
        assert!(schemas.values().all(|schema| schema.get("required").is_none()));
        assert!(schemas.contains_key("flipt.RolloutSegment.Input"));
    }
}
