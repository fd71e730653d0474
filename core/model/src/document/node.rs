//! The tree a document is read into: every value with its place in the text.

use std::rc::Rc;

/// Deepest nesting of a document. Far beyond any real one, and shallow enough to recurse over.
pub(crate) const MAX_DEPTH: usize = 128;

/// A place in a text, as editors count: both numbers start at 1, columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A value and where it starts. Children are shared, because an alias repeats its anchor's node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
    /// Nodes in this tree with every alias written out.
    pub(crate) weight: u64,
    /// Levels in this tree, at least 1.
    pub(crate) depth: usize,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

/// A value without parts.
#[derive(Debug)]
pub(crate) struct Scalar {
    /// The text between the quotes, or as it stands without quotes.
    pub(crate) text: String,
    /// What the text means.
    pub(crate) value: Value,
    /// Whether it stood without quotes.
    pub(crate) plain: bool,
}

/// What a scalar means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Within the range of `i64` or `u64`.
    Int(i128),
    Float(f64),
    /// A date or time, written out as RFC 3339.
    Time(String),
    Text,
    /// The key `<<`.
    Merge,
}

impl Node {
    pub(crate) fn scalar(place: Place, scalar: Scalar) -> Self {
        Self { place, content: Content::Scalar(scalar), weight: 1, depth: 1 }
    }

    pub(crate) fn list(place: Place, items: Vec<Rc<Node>>) -> Self {
        let (weight, depth) = measure(items.iter());
        Self { place, content: Content::List(items), weight, depth }
    }

    pub(crate) fn map(place: Place, entries: Vec<(Rc<Node>, Rc<Node>)>) -> Self {
        let (weight, depth) = measure(entries.iter().flat_map(|(key, value)| [key, value]));
        Self { place, content: Content::Map(entries), weight, depth }
    }

    /// The meaning, if the node is a scalar.
    pub(crate) fn value(&self) -> Option<&Value> {
        match &self.content {
            Content::Scalar(scalar) => Some(&scalar.value),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value() == Some(&Value::Null)
    }

    /// The kind of value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
            Content::Scalar(scalar) => match scalar.value {
                Value::Null => "nothing",
                Value::Bool(_) => "a boolean",
                Value::Int(_) | Value::Float(_) => "a number",
                Value::Time(_) => "a date",
                Value::Text | Value::Merge => "text",
            },
        }
    }
}

fn measure<'a>(children: impl Iterator<Item = &'a Rc<Node>>) -> (u64, usize) {
    children.fold((1, 1), |(weight, depth), child| {
        (u64::saturating_add(weight, child.weight), usize::max(depth, child.depth + 1))
    })
}
