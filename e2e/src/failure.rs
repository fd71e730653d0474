//! Why something could not be started, asked or waited for.

/// A failure, as a sentence that names what and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What most functions of this library answer.
pub type Result<T> = std::result::Result<T, Failure>;
