//! Between JSON and wire messages, driven by their descriptors (api spec, sections 2.4 to 2.6).

use std::sync::LazyLock;

use flipt_model::validation::go_quote;
use flipt_serving::{Code, Error, http::mend_surrogates};
use prost::{Message, Name};
use prost_reflect::{
    Cardinality, DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind,
    MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};

use crate::any;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(flipt_proto::DESCRIPTORS).unwrap_or_else(|error| {
        tracing::error!(error = %error, "embedded descriptors cannot be read");
        DescriptorPool::new()
    })
});

/// The descriptors of every message and service.
pub(crate) fn pool() -> &'static DescriptorPool {
    &POOL
}

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
        let body = mend_surrogates(body);
        let mut deserializer = serde_json::Deserializer::from_slice(&body);
        match serde::Deserialize::deserialize(&mut deserializer).map_err(syntax)? {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            _ => return Err(unfit()),
        }
    };
    normalise(&mut object, &descriptor)?;
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
        Kind::Enum(known) => {
            let number = text.parse::<i32>().ok().filter(|number| known.get_value(*number).is_some());
            let number = number.or_else(|| known.get_value_by_name(text).map(|value| value.number()));
            number.map(Value::from).ok_or_else(|| format!("{text:?} is not a valid value"))
        }
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            // The decoder would refuse it too, but without naming the parameter.
            prost_reflect::DynamicMessage::deserialize(message, Value::String(text.to_owned()))
                .map(|_| Value::String(text.to_owned()))
                .map_err(|_| format!("{text:?} is not an RFC 3339 time"))
        }
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
    let mut dynamic = DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice())
        .map_err(|error| internal(&error))?;
    let has_payload = any::mark(&mut dynamic);
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Numbers);
    dynamic
        .serialize_with_options(&mut serializer, &SerializeOptions::new().skip_default_fields(false))
        .map_err(|error| internal(&error))?;
    Ok(if has_payload { any::unmark(json) } else { json })
}

/// Writes whole numbers without a fraction, as every other implementation of proto3 JSON does.
struct Numbers;

impl Numbers {
    /// Largest magnitude up to which every whole number can be told from its neighbours.
    const EXACT: f64 = 9_007_199_254_740_992.0;
}

impl serde_json::ser::Formatter for Numbers {
    fn write_f32<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> std::io::Result<()> {
        if value.fract() == 0.0 && f64::from(value).abs() < Self::EXACT {
            return write!(writer, "{value:.0}");
        }
        serde_json::ser::CompactFormatter.write_f32(writer, value)
    }

    fn write_f64<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        if value.fract() == 0.0 && value.abs() < Self::EXACT {
            return write!(writer, "{value:.0}");
        }
        serde_json::ser::CompactFormatter.write_f64(writer, value)
    }
}

/// The indented form of an answer, in which default values are left out (api spec, section 2.4).
///
/// # Errors
/// [`Code::Internal`] if the text is not a message of this name.
pub(crate) fn pretty(name: &str, json: &[u8]) -> Result<Vec<u8>, Error> {
    let internal =
        |error: &dyn std::fmt::Display| Error::new(Code::Internal, format!("encoding answer: {error}"));
    let descriptor =
        POOL.get_message_by_name(name).ok_or_else(|| internal(&format!("no descriptor of {name}")))?;
    if name.starts_with("environments.") {
        // Their payloads cannot be read back without their type's prefix; they keep default values.
        let value: Value = serde_json::from_slice(json).map_err(|error| internal(&error))?;
        return serde_json::to_vec_pretty(&value).map_err(|error| internal(&error));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message =
        DynamicMessage::deserialize(descriptor, &mut deserializer).map_err(|error| internal(&error))?;
    let mut json = Vec::new();
    message
        .serialize_with_options(
            &mut serde_json::Serializer::pretty(&mut json),
            &SerializeOptions::new().skip_default_fields(true),
        )
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
///
/// # Errors
/// [`Code::InvalidArgument`] for values that Flipt refuses and proto3 JSON would let through.
fn normalise(object: &mut Map<String, Value>, descriptor: &MessageDescriptor) -> Result<(), Error> {
    let given = std::mem::take(object);
    let mut later = Vec::new();
    for (name, value) in given {
        let Some(field) = field(descriptor, &name) else { continue };
        if value.is_null() {
            continue;
        }
        let value = normalised(value, &field)?;
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
    Ok(())
}

fn normalised(value: Value, field: &FieldDescriptor) -> Result<Value, Error> {
    let message = match field.kind() {
        Kind::Message(message) => message,
        kind => {
            check_scalar(&value, &kind)?;
            return Ok(value);
        }
    };
    if field.is_map() {
        return Ok(match value {
            Value::Object(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        (key, if value.is_null() { Value::String(String::new()) } else { value })
                    })
                    .collect(),
            ),
            other => other,
        });
    }
    // Well-known types have JSON forms of their own.
    if message.full_name() == "google.protobuf.Struct" {
        check_struct(&value)?;
    }
    if message.full_name() == any::NAME {
        return any::normalised(value, &POOL, normalise);
    }
    if message.full_name().starts_with("google.protobuf.") {
        return Ok(value);
    }
    let nested = |value: Value| match value {
        Value::Object(mut object) => {
            normalise(&mut object, &message)?;
            Ok(Value::Object(object))
        }
        other => Ok(other),
    };
    match (value, field.cardinality()) {
        (Value::Array(items), Cardinality::Repeated) => {
            items.into_iter().map(nested).collect::<Result<_, _>>().map(Value::Array)
        }
        (value, _) => nested(value),
    }
}

/// Refuses enum names that nobody knows, and numbers that are not written as whole ones.
fn check_scalar(value: &Value, kind: &Kind) -> Result<(), Error> {
    match (kind, value) {
        (Kind::Enum(known), Value::String(name)) if known.get_value_by_name(name).is_none() => {
            // The text quotes the JSON token, which has quotes of its own.
            let token = go_quote(&value.to_string());
            Err(Error::new(
                Code::InvalidArgument,
                format!("unknown value {token} for enum {}", known.full_name()),
            ))
        }
        (Kind::Enum(_) | Kind::Int32 | Kind::Uint32, Value::Number(number)) if number.is_f64() => {
            Err(unfit())
        }
        (Kind::Int32 | Kind::Uint32, Value::String(text)) if text.trim().parse::<i64>().is_err() => {
            Err(unfit())
        }
        _ => Ok(()),
    }
}

/// Refuses free-form objects that are none, in the reference's words.
fn check_struct(value: &Value) -> Result<(), Error> {
    let kind = match value {
        Value::Object(_) | Value::Null => return Ok(()),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    Err(Error::new(
        Code::InvalidArgument,
        format!(
            "bad StructValue: json: cannot unmarshal {kind} into Go value of type map[string]json.RawMessage"
        ),
    ))
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
        let text =
            String::from_utf8(to_json(&pb::Distribution { rollout: 100.0, ..Default::default() }).unwrap());
        let text = text.unwrap();
        assert!(text.contains(r#""rollout":100"#) && !text.contains("100."), "{text}");
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
    fn enums_are_known_names_or_numbers_and_whole_numbers_are_written_so() {
        let refusal = |json: &str| body::<pb::CreateRuleRequest>(json).unwrap_err().message;
        assert_eq!(
            refusal(r#"{"segmentOperator":"XOR"}"#),
            r#"unknown value "\"XOR\"" for enum flipt.SegmentOperator"#
        );
        assert_eq!(
            refusal(r#"{"segmentOperator":"1"}"#),
            r#"unknown value "\"1\"" for enum flipt.SegmentOperator"#
        );
        for json in [r#"{"rank":1.0}"#, r#"{"rank":1e0}"#, r#"{"rank":"1.0"}"#, r#"{"segmentOperator":1.5}"#]
        {
            assert_eq!(refusal(json), "invalid values for key(s) in json body", "{json}");
        }
        let rule: pb::CreateRuleRequest = body(r#"{"segmentOperator":7}"#).unwrap();
        assert_eq!(rule.segment_operator, 7);
    }

    #[test]
    fn query_parameters_that_do_not_fit_are_named() {
        let read = |name: &str, value: &str| {
            let query = vec![(name.to_owned(), value.to_owned())];
            from_query::<flipt_proto::auth::ListAuthenticationsRequest>(&Parameters {
                path: Vec::new(),
                query,
            })
        };
        assert_eq!(read("method", "METHOD_TOKEN").unwrap().method, 1);
        assert_eq!(read("method", "2").unwrap().method, 2);
        for value in ["NOPE", "99", ""] {
            let text = read("method", value).unwrap_err().message;
            assert_eq!(text, format!("parsing field \"method\": {value:?} is not a valid value"));
        }
        let query = vec![("expiresAt".to_owned(), "soon".to_owned())];
        let refused = from_query::<flipt_proto::auth::ExpireAuthenticationSelfRequest>(&Parameters {
            path: Vec::new(),
            query,
        });
        assert!(refused.unwrap_err().message.starts_with("parsing field \"expires_at\": "));
    }

    #[test]
    fn the_pretty_form_leaves_default_values_out() {
        let json = to_json(&pb::Flag {
            key: "a".into(),
            metadata: Some(flipt_proto::json_to_struct(&Map::new())),
            ..Default::default()
        });
        let text = String::from_utf8(pretty("flipt.Flag", &json.unwrap()).unwrap()).unwrap();
        assert_eq!(text, "{\n  \"key\": \"a\",\n  \"metadata\": {}\n}");
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
