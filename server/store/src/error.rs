//! What a store operation can fail with.

/// Failure of a store operation. The texts are those of Flipt, because clients compare them
/// (api spec, sections 3.3 and 3.4).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Indicates that the resource, or one it refers to, does not exist.
    #[error("{0} not found")]
    NotFound(String),

    /// Indicates that the request contradicts the stored state; nothing was changed.
    #[error("{0}")]
    Invalid(String),

    /// Indicates a write to storage that only reads. The text is the API's for read-only mode.
    #[error("modification is not allowed in read-only mode")]
    ReadOnly,

    /// Indicates that the resource exists already; nothing was changed.
    #[error("{0}")]
    Exists(String),

    /// Indicates that the resource changed after the revision that the request expects; nothing was changed.
    #[error("{0}")]
    Conflict(String),

    /// Indicates that the database schema is older than this program needs.
    #[error("migrations pending, please backup your database and run `flipt migrate`")]
    MigrationsPending,

    /// Indicates that the database holds something this program cannot read.
    #[error("database content: {0}")]
    Content(String),

    /// Indicates that the database refused or failed a statement.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
