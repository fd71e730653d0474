//! Between `google.protobuf.Struct` and JSON.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// Largest magnitude at which every whole 64-bit float is an exact integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The JSON object of a struct. Whole numbers are written without a fraction.
#[must_use]
pub fn struct_to_json(value: &Struct) -> Map<String, Json> {
    value.fields.iter().map(|(key, value)| (key.clone(), value_to_json(value))).collect()
}

/// The struct of a JSON object. Every number becomes a 64-bit float, as the message defines.
#[must_use]
pub fn json_to_struct<'a>(object: impl IntoIterator<Item = (&'a String, &'a Json)>) -> Struct {
    Struct { fields: object.into_iter().map(|(key, value)| (key.clone(), json_to_value(value))).collect() }
}

/// The JSON of a value. Whole numbers are written without a fraction; a value without a kind is `null`.
#[must_use]
pub fn value_to_json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(value)) => Json::String(value.clone()),
        Some(Kind::ListValue(list)) => Json::Array(list.values.iter().map(value_to_json).collect()),
        Some(Kind::StructValue(value)) => Json::Object(struct_to_json(value)),
    }
}

#[allow(clippy::cast_possible_truncation)]
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Json::Number(Number::from(value as i64));
    }
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// The value of a JSON text. Every number becomes a 64-bit float, as the message defines.
#[must_use]
pub fn json_to_value(value: &Json) -> Value {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value.clone()),
        Json::Array(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(json_to_value).collect() })
        }
        Json::Object(object) => Kind::StructValue(json_to_struct(object)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_a_struct() {
        let json: Map<String, Json> =
            serde_json::from_str(r#"{"a":1,"b":[1.5,null,"x"],"c":{"d":true}}"#).expect("valid JSON");
        assert_eq!(struct_to_json(&json_to_struct(&json)), json);
    }
}
