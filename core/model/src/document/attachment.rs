//! Free-form values: attachments become JSON text, metadata becomes JSON values.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

use crate::document::decode::{At, Path, key_text};
use crate::document::node::{Content, Value};
use crate::document::{DocumentError, Encoding};
use crate::json::canonical_json;

/// Integers a 64-bit float holds without loss.
const EXACT_INTEGERS: i128 = 1 << 53;

/// The JSON text of an attachment; empty for null.
pub(crate) fn attachment(at: At<'_, '_>) -> Result<String, DocumentError> {
    match value(at)? {
        Json::Null => Ok(String::new()),
        value => Ok(canonical_json(&value)),
    }
}

fn value(at: At<'_, '_>) -> Result<Json, DocumentError> {
    let refuse = |detail: &str| DocumentError::Attachment { place: at.node.place, detail: detail.to_owned() };
    match &at.node.content {
        Content::Scalar(scalar) => Ok(match &scalar.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            // JSON documents are read into floats, YAML documents keep 64 bits.
            Value::Int(number) if at.encoding == Encoding::Json => float_or_null(*number as f64),
            Value::Int(number) => i64::try_from(*number)
                .map(Json::from)
                .or_else(|_| u64::try_from(*number).map(Json::from))
                .unwrap_or(Json::Null),
            Value::Float(number) if number.is_nan() => return Err(refuse("json: unsupported value: NaN")),
            Value::Float(number) if number.is_infinite() => {
                let sign = if *number > 0.0 {
                    "json: unsupported value: +Inf"
                } else {
                    "json: unsupported value: -Inf"
                };
                return Err(refuse(sign));
            }
            Value::Float(number) => float_or_null(*number),
            Value::Time(time) => Json::String(time.clone()),
            Value::Text | Value::Merge => Json::String(scalar.text.clone()),
        }),
        Content::List(_) => at
            .items()?
            .map(|(index, node)| {
                value(At { node, path: Path::Index(&at.path, index), encoding: at.encoding })
            })
            .collect::<Result<_, _>>()
            .map(Json::Array),
        Content::Map(_) => {
            let mut map = Map::new();
            for (key, node) in at.entries()? {
                let (Some(&Value::Text), Some(name)) = (key.value(), key_text(key)) else {
                    return Err(DocumentError::Attachment {
                        place: key.place,
                        detail: "json: unsupported type: map[interface {}]interface {}".to_owned(),
                    });
                };
                let member = value(At { node, path: Path::Key(&at.path, name), encoding: at.encoding })?;
                map.insert(name.to_owned(), member);
            }
            Ok(Json::Object(map))
        }
    }
}

/// The metadata of a flag. Every number is a 64-bit float; those a whole number describes exactly are kept as
/// whole numbers, so that they are written as such.
pub(crate) fn metadata(at: At<'_, '_>) -> Result<BTreeMap<String, Json>, DocumentError> {
    members(at).map(|members| members.into_iter().collect())
}

fn members(at: At<'_, '_>) -> Result<Map<String, Json>, DocumentError> {
    let mut map = Map::new();
    for (key, node) in at.entries()? {
        let key_at = At { node: key, path: at.path, encoding: at.encoding };
        let name = key_text(key)
            .ok_or_else(|| key_at.refuse(format!("expected text as key, found {}", key.kind())))?;
        let member = metadata_value(At { node, path: Path::Key(&at.path, name), encoding: at.encoding })?;
        map.insert(name.to_owned(), member);
    }
    Ok(map)
}

fn metadata_value(at: At<'_, '_>) -> Result<Json, DocumentError> {
    match &at.node.content {
        Content::Scalar(scalar) => Ok(match &scalar.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(number) => metadata_number(*number as f64),
            Value::Float(number) if !number.is_finite() => {
                return Err(at.refuse(format!("{} is not a metadata value", scalar.text)));
            }
            Value::Float(number) => metadata_number(*number),
            Value::Time(_) => {
                return Err(at.refuse(format!("{} is a date; metadata needs it in quotes", scalar.text)));
            }
            Value::Text | Value::Merge => Json::String(scalar.text.clone()),
        }),
        Content::List(_) => at
            .items()?
            .map(|(index, node)| {
                metadata_value(At { node, path: Path::Index(&at.path, index), encoding: at.encoding })
            })
            .collect::<Result<_, _>>()
            .map(Json::Array),
        Content::Map(_) => members(at).map(Json::Object),
    }
}

fn metadata_number(number: f64) -> Json {
    let whole = number as i128;
    if number.fract() == 0.0 && whole.abs() <= EXACT_INTEGERS && !(whole == 0 && number.is_sign_negative()) {
        return Json::from(whole as i64);
    }
    float_or_null(number)
}

fn float_or_null(number: f64) -> Json {
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}
