//! The configuration file as a tree of values with their places.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use flipt_model::document::{DocumentError, Encoding, Place, Tree, TreeValue};

use crate::value::{Node, Value};

/// A configuration file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Indicates that the file cannot be opened.
    #[error("open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Indicates an extension without a format.
    #[error("Unsupported Config Type {0:?}: use .yml, .yaml, .json or .toml")]
    Extension(String),
    /// Indicates text that is not of the format.
    #[error("While parsing config: {path}: {detail}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        detail: String,
    },
}

/// Reads a file; `None` if it holds nothing. `${NAME}` values are replaced from the environment.
pub(crate) fn read(path: &Path, environment: &BTreeMap<String, String>) -> Result<Option<Node>, FileError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let syntax = |detail: String| FileError::Syntax { path: path.to_owned(), detail };
    let parse: fn(&str) -> Result<Option<Node>, String> = match extension {
        "yml" | "yaml" => |text| tree(text, Encoding::Yaml),
        "json" => |text| tree(text, Encoding::Json),
        "toml" => toml_tree,
        other => return Err(FileError::Extension(other.to_owned())),
    };
    let text =
        std::fs::read_to_string(path).map_err(|source| FileError::Open { path: path.to_owned(), source })?;
    let mut node = parse(&text).map_err(syntax)?;
    if let Some(node) = &mut node {
        substitute(node, environment);
    }
    Ok(node)
}

fn tree(text: &str, encoding: Encoding) -> Result<Option<Node>, String> {
    let describe = |error: DocumentError| {
        let text = error.to_string();
        text.strip_prefix("unmarshalling document: ").unwrap_or(&text).to_owned()
    };
    Ok(Tree::parse(text.as_bytes(), encoding).map_err(describe)?.map(from_tree))
}

fn from_tree(tree: Tree) -> Node {
    let value = match tree.value {
        TreeValue::Null => Value::Null,
        TreeValue::Scalar(text) => Value::Scalar(text),
        TreeValue::List(items) => Value::List(items.into_iter().map(from_tree).collect()),
        TreeValue::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, place, value)| (key.to_lowercase(), Some(place), from_tree(value)))
                .collect(),
        ),
    };
    Node { place: Some(tree.place), value }
}

fn toml_tree(text: &str) -> Result<Option<Node>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| place_of(text, span.start));
        let place = place.map_or_else(String::new, |at| format!("line {}, column {}: ", at.line, at.column));
        format!("{place}{}", error.message())
    })?;
    Ok(Some(from_toml(toml::Value::Table(table))))
}

fn place_of(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line, column }
}

fn from_toml(value: toml::Value) -> Node {
    let value = match value {
        toml::Value::String(text) => Value::Scalar(text),
        toml::Value::Array(items) => Value::List(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => Value::Map(
            table.into_iter().map(|(key, value)| (key.to_lowercase(), None, from_toml(value))).collect(),
        ),
        toml::Value::Integer(number) => Value::Scalar(number.to_string()),
        toml::Value::Float(number) => Value::Scalar(number.to_string()),
        toml::Value::Boolean(value) => Value::Scalar(value.to_string()),
        toml::Value::Datetime(time) => Value::Scalar(time.to_string()),
    };
    Node { place: None, value }
}

/// Replaces every scalar that is nothing but `${NAME}`.
fn substitute(node: &mut Node, environment: &BTreeMap<String, String>) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(text) => {
            let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            if let Some(name) = name.filter(|name| is_variable(name)) {
                *text = environment.get(name).cloned().unwrap_or_default();
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| substitute(item, environment)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, _, value)| substitute(value, environment)),
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
