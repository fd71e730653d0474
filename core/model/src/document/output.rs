//! What a document says, in order, before it is spelled in YAML or JSON.

/// A value to write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Null,
    Bool(bool),
    Text(String),
    /// A 32-bit number.
    Percentage(f32),
    /// A 64-bit number.
    Number(f64),
    List(Vec<Output>),
    /// Fields in the order of the format.
    Record(Vec<(&'static str, Output)>),
    /// Free-form members; each encoding has its own order for them.
    Map(Vec<(String, Output)>),
}
