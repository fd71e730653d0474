//! A configuration value as written, with its place.

use flipt_model::document::Place;

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it stands; formats without places have none.
    pub(crate) place: Option<Place>,
    pub(crate) value: Value,
}

/// What a value is. Keys are in lower case, because they are compared without regard to case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Option<Place>, Node)>),
}

impl Node {
    /// The value below a dotted path.
    pub(crate) fn get(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| match &node.value {
            // As in the parsers that Flipt uses, the last of repeated keys counts.
            Value::Map(entries) => entries.iter().rev().find(|(name, _, _)| name == key).map(|(_, _, n)| n),
            _ => None,
        })
    }
}
