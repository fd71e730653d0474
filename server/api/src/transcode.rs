//! Between JSON and wire messages, driven by their descriptors (api spec, sections 2.4 to 2.6).

use std::sync::LazyLock;

use flipt_serving::{Code, Error};
use prost::{Message, Name};
use prost_reflect::{
    Cardinality, DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind,
    MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(flipt_proto::DESCRIPTORS).unwrap_or_else(|error| {
        tracing::error!(error = %error, "embedded descriptors cannot be read");
        DescriptorPool::new()
    })
});

fn descriptor<M: Name>() -> Result<MessageDescriptor, Error> {
    POOL.get_message_by_name(&M::full_name())
        .ok_or_else(|| Error::new(Code::Internal, format!("no descriptor of {}", M::full_name())))
}

/// Where the fields of a request come from, besides the body.
pub(crate) struct Parameters<'a> {
    /// Fields named by the path, with their values; they beat everything else.
    pub(crate) path: Vec<(&'static str, &'a str)>,
    /// Decoded query parameters; read only by calls without a body.
    pub(crate) query: Vec<(String, String)>,
}

/// Reads a message from a JSON body and the path.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub(crate) fn from_body<M: Message + Name + Default>(
    body: &[u8],
    parameters: &Parameters<'_>,
) -> Result<M, Error> {
    let descriptor = descriptor::<M>()?;
    let mut object = if body.iter().all(u8::is_ascii_whitespace) {
        Map::new()
    } else {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        match serde::Deserialize::deserialize(&mut deserializer).map_err(syntax)? {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            _ => return Err(unfit()),
        }
    };
    normalise(&mut object, &descriptor);
    for (name, value) in &parameters.path {
        set(&mut object, &descriptor, name, Value::String((*value).to_owned()));
    }
    decode(object, &descriptor)
}

/// Reads a message from query and path.
///
/// # Errors
/// [`Code::InvalidArgument`] that names the parameter.
pub(crate) fn from_query<M: Message + Name + Default>(parameters: &Parameters<'_>) -> Result<M, Error> {
    let descriptor = descriptor::<M>()?;
    let mut object = Map::new();
    for (name, text) in &parameters.query {
        let Some(field) = field(&descriptor, name) else { continue };
        let value = query_value(&field, text).map_err(|reason| {
            Error::new(Code::InvalidArgument, format!("parsing field {:?}: {reason}", field.name()))
        })?;
        let key = field.json_name().to_owned();
        if object.contains_key(&key) && parameters.query.iter().filter(|(other, _)| other == name).count() > 1
        {
            let values: Vec<&str> = parameters
                .query
                .iter()
                .filter(|(other, _)| other == name)
                .map(|(_, value)| value.as_str())
                .collect();
            return Err(Error::new(
                Code::InvalidArgument,
                format!("too many values for field {:?}: {}", field.name(), values.join(", ")),
            ));
        }
        object.insert(key, value);
    }
    for (name, value) in &parameters.path {
        set(&mut object, &descriptor, name, Value::String((*value).to_owned()));
    }
    decode(object, &descriptor)
}

fn query_value(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    match field.kind() {
        Kind::Bool => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is not a boolean")),
        },
        Kind::Int32 | Kind::Uint32 => text
            .parse::<i64>()
            .ok()
            .filter(|number| i32::try_from(*number).is_ok())
            .map(Value::from)
            .ok_or_else(|| format!("{text:?} is not a whole number of 32 bits")),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// The JSON form: every field of a message is written, unset messages are left out.
///
/// # Errors
/// [`Code::Internal`]; only a descriptor that does not fit its message can cause it.
pub(crate) fn to_json<M: Message + Name>(message: &M) -> Result<Vec<u8>, Error> {
    let internal =
        |error: &dyn std::fmt::Display| Error::new(Code::Internal, format!("encoding answer: {error}"));
    let dynamic = DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice())
        .map_err(|error| internal(&error))?;
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut json);
    dynamic
        .serialize_with_options(&mut serializer, &SerializeOptions::new().skip_default_fields(false))
        .map_err(|error| internal(&error))?;
    Ok(json)
}

fn decode<M: Message + Default>(
    object: Map<String, Value>,
    descriptor: &MessageDescriptor,
) -> Result<M, Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic =
        DynamicMessage::deserialize_with_options(descriptor.clone(), Value::Object(object), &options)
            .map_err(|_| unfit())?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|_| unfit())
}

fn unfit() -> Error {
    Error::new(Code::InvalidArgument, "invalid values for key(s) in json body")
}

fn syntax(error: serde_json::Error) -> Error {
    let message =
        if error.is_eof() { "unexpected EOF".to_owned() } else { format!("invalid JSON body: {error}") };
    Error::new(Code::InvalidArgument, message)
}

fn field(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name))
}

fn set(object: &mut Map<String, Value>, descriptor: &MessageDescriptor, name: &str, value: Value) {
    if let Some(field) = field(descriptor, name) {
        object.insert(field.json_name().to_owned(), value);
    }
}

/// Brings an object into the form that strict proto3 JSON knows: camelCase names only (they win over
/// snake_case), no `null` except in free-form values, the later of several members of a oneof.
fn normalise(object: &mut Map<String, Value>, descriptor: &MessageDescriptor) {
    let given = std::mem::take(object);
    let mut later = Vec::new();
    for (name, value) in given {
        let Some(field) = field(descriptor, &name) else { continue };
        if value.is_null() {
            continue;
        }
        let value = normalised(value, &field);
        if name == field.json_name() {
            object.insert(name, value);
        } else {
            later.push((field.json_name().to_owned(), value));
        }
    }
    for (name, value) in later {
        object.entry(name).or_insert(value);
    }
    for oneof in descriptor.oneofs() {
        let set: Vec<String> = oneof
            .fields()
            .filter(|field| object.contains_key(field.json_name()))
            .map(|field| field.json_name().to_owned())
            .collect();
        for name in set.iter().rev().skip(1) {
            object.remove(name);
        }
    }
}

fn normalised(value: Value, field: &FieldDescriptor) -> Value {
    let Kind::Message(message) = field.kind() else { return value };
    if field.is_map() {
        return match value {
            Value::Object(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        (key, if value.is_null() { Value::String(String::new()) } else { value })
                    })
                    .collect(),
            ),
            other => other,
        };
    }
    // Well-known types have JSON forms of their own.
    if message.full_name().starts_with("google.protobuf.") {
        return value;
    }
    match (value, field.cardinality()) {
        (Value::Object(mut object), _) => {
            normalise(&mut object, &message);
            Value::Object(object)
        }
        (Value::Array(items), Cardinality::Repeated) => Value::Array(
            items
                .into_iter()
                .map(|item| match item {
                    Value::Object(mut object) => {
                        normalise(&mut object, &message);
                        Value::Object(object)
                    }
                    other => other,
                })
                .collect(),
        ),
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use flipt_proto::flipt as pb;

    use super::*;

    fn body<M: Message + Name + Default>(json: &str) -> Result<M, Error> {
        from_body(json.as_bytes(), &Parameters { path: Vec::new(), query: Vec::new() })
    }

    #[test]
    fn default_values_are_written_and_unset_messages_are_not() {
        let flag = pb::Flag { key: "a".into(), r#type: 3, ..Default::default() };
        let json: Value = serde_json::from_slice(&to_json(&flag).unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "key": "a", "name": "", "description": "", "enabled": false, "variants": [],
                "namespaceKey": "", "type": 3
            })
        );
    }

    #[test]
    fn times_end_in_z_and_percentages_keep_32_bits() {
        let distribution = pb::Distribution {
            rollout: 33.33,
            created_at: Some(flipt_proto::from_unix_micros(1_704_164_645_678_901)),
            ..Default::default()
        };
        let json: Value = serde_json::from_slice(&to_json(&distribution).unwrap()).unwrap();
        assert_eq!(json["createdAt"], "2024-01-02T03:04:05.678901Z");
        assert_eq!(json["rollout"].to_string(), "33.33");
    }

    #[test]
    fn bodies_are_read_as_leniently_as_flipt_does() {
        let flag: pb::CreateFlagRequest = body(
            r#"{"key":"a","namespace_key":"n","name":null,"type":"BOOLEAN_FLAG_TYPE","nonsense":1,"metadata":{"x":null}} tail"#,
        )
        .unwrap();
        assert_eq!((flag.key.as_str(), flag.namespace_key.as_str(), flag.r#type), ("a", "n", 1));
        assert_eq!(flag.metadata.unwrap().fields.len(), 1);
        assert_eq!(body::<pb::CreateFlagRequest>("").unwrap(), pb::CreateFlagRequest::default());
        assert_eq!(body::<pb::CreateFlagRequest>("null").unwrap(), pb::CreateFlagRequest::default());
        let rule: pb::CreateRuleRequest = body(r#"{"rank":"2"}"#).unwrap();
        assert_eq!(rule.rank, 2);
        assert_eq!(
            body::<pb::CreateFlagRequest>(r#"{"enabled":"yes"}"#).unwrap_err().message,
            "invalid values for key(s) in json body"
        );
    }

    #[test]
    fn of_two_members_of_a_oneof_the_later_declared_wins() {
        let rollout: pb::CreateRolloutRequest =
            body(r#"{"threshold":{"percentage":5},"segment":{"segmentKey":"s"}}"#).unwrap();
        assert!(matches!(rollout.rule, Some(pb::create_rollout_request::Rule::Threshold(_))));
    }

    #[test]
    fn the_path_beats_the_body() {
        let parameters = Parameters { path: vec![("key", "p")], query: Vec::new() };
        let flag: pb::UpdateFlagRequest = from_body(br#"{"key":"b"}"#, &parameters).unwrap();
        assert_eq!(flag.key, "p");
    }

    #[test]
    fn query_parameters_are_typed_and_named_in_errors() {
        let parameters = |query: &[(&str, &str)]| Parameters {
            path: Vec::new(),
            query: query.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        };
        let list: pb::ListFlagRequest =
            from_query(&parameters(&[("limit", "5"), ("page_token", "x"), ("odd", "1")])).unwrap();
        assert_eq!((list.limit, list.page_token.as_str()), (5, "x"));
        let error = from_query::<pb::ListFlagRequest>(&parameters(&[("limit", "five")])).unwrap_err();
        assert!(error.message.starts_with("parsing field \"limit\":"), "{}", error.message);
        let error =
            from_query::<pb::ListFlagRequest>(&parameters(&[("limit", "1"), ("limit", "2")])).unwrap_err();
        assert_eq!(error.message, "too many values for field \"limit\": 1, 2");
    }
}
