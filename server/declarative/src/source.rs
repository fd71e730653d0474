//! Where documents come from.

use async_trait::async_trait;

/// All documents of a source at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Paths below the root, with `/`, and the bytes of every selected file, in the order of loading.
    pub files: Vec<(String, Vec<u8>)>,
    /// When the tree was changed last as far as the source can tell, in microseconds since the Unix epoch. Two
    /// readers of one source see the same, a later tree has a later one.
    pub changed_at: i64,
}

/// What asking a source gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Nothing has changed since the tree that was given last.
    Unchanged,
    /// The documents as they are now.
    Tree(Tree),
}

/// A source that cannot be read. The state that was loaded before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What cannot be read, and why.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// A tree of documents that changes from outside.
#[async_trait]
pub trait Source: Send + 'static {
    /// What it is called in logs.
    fn describe(&self) -> String;

    /// Identity of the source for those who compare revisions: the same after every restart, and on every
    /// replica that reads the same source.
    fn identity(&self) -> String;

    /// The documents, unless they are those given last.
    ///
    /// # Guarantees
    /// A tree is complete: it is never read while it is being written, as far as the source can tell.
    ///
    /// # Errors
    /// [`SourceError`]; the next call tries again in full.
    async fn fetch(&mut self) -> Result<Fetched, SourceError>;
}
