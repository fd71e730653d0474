//! The recorded evaluations: one document, thousands of questions about it.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// One question with its recorded answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    /// Namespace of the flag.
    pub namespace_key: String,
    /// The flag.
    pub flag_key: String,
    /// Which endpoint is asked.
    #[serde(rename = "type")]
    pub endpoint: Endpoint,
    /// The entity.
    pub entity_id: String,
    /// Properties of the entity.
    pub context: BTreeMap<String, String>,
    /// The members of the answer that count; segment keys sorted.
    pub result: Value,
}

/// An endpoint of the evaluation API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// Indicates `/evaluate/v1/variant`.
    Variant,
    /// Indicates `/evaluate/v1/boolean`.
    Boolean,
}

impl Endpoint {
    /// Its path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Variant => "/evaluate/v1/variant",
            Self::Boolean => "/evaluate/v1/boolean",
        }
    }
}

/// The document that the evaluations are about, as YAML.
///
/// # Errors
/// [`Error::File`].
pub fn document() -> Result<String, Error> {
    let path = crate::root().join("evaluations/document.yaml");
    fs::read_to_string(&path).map_err(Error::file(path))
}

/// All recorded evaluations.
///
/// # Errors
/// [`Error::File`], [`Error::Form`].
pub fn evaluations() -> Result<Vec<Evaluation>, Error> {
    let path = crate::root().join("evaluations/cases.jsonl");
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .map_err(|error| Error::Form { path: path.clone(), reason: error.to_string() })
        })
        .collect()
}

impl Evaluation {
    /// The part of an answer that counts, in the form of [`Evaluation::result`].
    #[must_use]
    pub fn reduce(&self, answer: &Value) -> Value {
        let mut reduced = self.result.clone();
        if let Value::Object(members) = &mut reduced {
            for (name, value) in members {
                *value = answer.get(name).cloned().unwrap_or_default();
                if let (true, Value::Array(keys)) = (name == "segmentKeys", value) {
                    keys.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                }
            }
        }
        reduced
    }
}
