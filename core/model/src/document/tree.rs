//! A text as a tree of values with their places, for readers of other things than documents.

use std::rc::Rc;

use crate::document::node::{Content, Node};
use crate::document::{DocumentError, Encoding, Place, decode_text, read_nodes};

/// A value with its place in the text. Aliases and merge keys are resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Where the value starts.
    pub place: Place,
    /// What it is.
    pub value: TreeValue,
}

/// What a value of a tree is.
#[derive(Debug, Clone, PartialEq)]
pub enum TreeValue {
    /// Nothing.
    Null,
    /// A scalar, as its text.
    Scalar(String),
    /// A list.
    List(Vec<Tree>),
    /// Keys as texts, with where they stand, in the order of the text.
    Map(Vec<(String, Place, Tree)>),
}

impl Tree {
    /// Reads the first document of a YAML or JSON text; `None` if there is none.
    ///
    /// # Errors
    /// [`DocumentError`] with the place.
    pub fn parse(text: &[u8], encoding: Encoding) -> Result<Option<Self>, DocumentError> {
        let text = decode_text(text, encoding)?;
        read_nodes(&text, encoding).next().map(|node| node.map(|node| Self::from_node(&node))).transpose()
    }

    fn from_node(node: &Rc<Node>) -> Self {
        let value = match &node.content {
            Content::Scalar(_) if node.is_null() => TreeValue::Null,
            Content::Scalar(scalar) => TreeValue::Scalar(scalar.text.clone()),
            Content::List(items) => TreeValue::List(items.iter().map(Self::from_node).collect()),
            Content::Map(entries) => TreeValue::Map(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let name = match &key.content {
                            Content::Scalar(scalar) => scalar.text.clone(),
                            Content::List(_) | Content::Map(_) => String::new(),
                        };
                        (name, key.place, Self::from_node(value))
                    })
                    .collect(),
            ),
        };
        Self { place: node.place, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_come_with_their_places() {
        let tree = Tree::parse(b"a:\n  b: 5\n", Encoding::Yaml).unwrap().unwrap();
        let TreeValue::Map(entries) = tree.value else { panic!("not a map") };
        let TreeValue::Map(inner) = &entries[0].2.value else { panic!("not a map") };
        assert_eq!(inner[0].0, "b");
        assert_eq!(inner[0].1, Place { line: 2, column: 3 });
        assert_eq!(inner[0].2.value, TreeValue::Scalar("5".to_owned()));
    }
}
