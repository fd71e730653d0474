//! Documents as JSON values that know where they stand, for rules beyond the schema.

use std::collections::BTreeMap;

use serde_json::{Number, Value as Json};

use crate::document::decode::{At, Path, key_text};
use crate::document::node::{Content, Value};
use crate::document::{DocumentError, Encoding, Place, decode_text, read_nodes};

/// A document with the places of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct LocatedDocument {
    /// The document; dates are texts.
    pub value: Json,
    places: BTreeMap<String, Place>,
}

impl LocatedDocument {
    /// Where the value with this path stands, or else the nearest one around it. A path is keys and list positions
    /// (from 0) from the top of the document, joined with dots.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            path = match path.rfind('.') {
                Some(dot) => &path[..dot],
                None if path.is_empty() => return Place { line: 1, column: 1 },
                None => "",
            };
        }
    }
}

/// Every document of a file.
///
/// # Errors
/// The file is not YAML or JSON, or repeats a key.
pub fn located_documents(text: &[u8], encoding: Encoding) -> Result<Vec<LocatedDocument>, DocumentError> {
    let text = decode_text(text, encoding)?;
    read_nodes(&text, encoding)
        .map(|node| {
            let node = node?;
            let mut places = BTreeMap::new();
            let value = value(At { node: &node, path: Path::Top, encoding }, &mut places)?;
            Ok(LocatedDocument { value, places })
        })
        .collect()
}

fn value(at: At<'_, '_>, places: &mut BTreeMap<String, Place>) -> Result<Json, DocumentError> {
    places.insert(at.path.to_string(), at.node.place);
    Ok(match &at.node.content {
        Content::Scalar(scalar) => match &scalar.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(number) => i64::try_from(*number)
                .map(Json::from)
                .or_else(|_| u64::try_from(*number).map(Json::from))
                .unwrap_or(Json::Null),
            Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Value::Time(_) | Value::Text | Value::Merge => Json::String(scalar.text.clone()),
        },
        Content::List(_) => {
            let mut items = Vec::new();
            for (index, node) in at.items()? {
                let path = Path::Index(&at.path, index);
                items.push(value(At { node, path, encoding: at.encoding }, places)?);
            }
            Json::Array(items)
        }
        Content::Map(_) => {
            let mut members = serde_json::Map::new();
            for (key, node) in at.entries()? {
                let name = key_text(key).unwrap_or_default();
                let path = Path::Key(&at.path, name);
                members.insert(name.to_owned(), value(At { node, path, encoding: at.encoding }, places)?);
            }
            Json::Object(members)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_stand_and_what_is_missing_is_near() {
        let text = b"flags:\n- key: a\n  enabled: true\n---\nnamespace: b\n";
        let documents = located_documents(text, Encoding::Yaml).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].value["flags"][0]["enabled"], true);
        for (path, line) in [("flags.0.enabled", 3), ("flags.0.name", 2), ("flags.7", 2), ("", 1)] {
            assert_eq!(documents[0].place(path).line, line, "{path}");
        }
        assert_eq!(documents[1].place("namespace").line, 5);
    }
}
