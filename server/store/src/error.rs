//! What a store operation can fail with.

use sqlx::{error::ErrorKind, mysql::MySqlDatabaseError};

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

    /// Indicates a change of something that an object of a cluster owns; nothing was changed.
    #[error("{0}")]
    Managed(String),

    /// Indicates that the write needs something that is not there yet; nothing was changed.
    #[error("{0}")]
    Precondition(String),

    /// Indicates that the database schema is older than this program needs.
    #[error("migrations pending, please backup your database and run `flipt migrate`")]
    MigrationsPending,

    /// Indicates that the database holds something this program cannot read.
    #[error("database content: {0}")]
    Content(String),

    /// Indicates that the database cannot be asked now; trying again later may help. If it happened at the end
    /// of a write, nobody can tell whether the write was made. The text is for logs.
    #[error("failed to connect to database: {0}")]
    Unavailable(String),

    /// Indicates that the transaction lost against others, again and again; nothing was changed.
    #[error("database: too many writes at once; try again")]
    Contended,

    /// Indicates that the database refused or failed a statement.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the transaction lost against another one, and would succeed if it were tried again.
    pub(crate) fn is_lost_race(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        // SQLSTATE of serialization failures, which MySQL uses for deadlocks, and of PostgreSQL's deadlocks;
        // MySQL's number for a table that was changed by a migration meanwhile.
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
            || mysql_number(error.as_ref()) == Some(1412)
    }

    /// Whether something with the same unique key exists already.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.kind() == ErrorKind::UniqueViolation)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => return Self::Unavailable(error.to_string()),
            _ => return Self::Database(error),
        };
        match code.as_str() {
            // Shutting down, starting up, too many connections, timeouts, a pooler that has lost its server
            // (PostgreSQL, PgBouncer); an ambiguous commit (CockroachDB); shutting down, too many connections (MySQL);
            // credentials that no longer count.
            "57P01" | "57P02" | "57P03" | "57P04" | "53300" | "57014" | "55P03" | "08P01" | "40003"
            | "08S01" | "08004" | "28000" | "28P01" => Self::Unavailable(error.to_string()),
            // SQLite's lock, after having waited for it.
            "5" | "261" | "517" => Self::Unavailable(error.to_string()),
            "22001" => {
                Self::Invalid("a key, name or other short text is longer than 255 characters".to_owned())
            }
            "22021" | "22P05" => Self::Invalid("text must not contain the character NUL".to_owned()),
            // A database, or a server of it, that only reads.
            "25006" | "8" => Self::ReadOnly,
            _ if is_read_only_mysql(&error) => Self::ReadOnly,
            _ if is_unavailable_mysql(&error) => Self::Unavailable(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

/// `ER_OPTION_PREVENTS_STATEMENT` with `read_only`, `ER_READ_ONLY_MODE`: neither has a code of its own in SQL.
fn is_read_only_mysql(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    match mysql_number(error.as_ref()) {
        Some(1836) => true,
        Some(1290) => error.message().contains("read"),
        _ => false,
    }
}

/// Lock wait timeout, query interrupted, connection killed, too many connections of a user, shutting down.
fn is_unavailable_mysql(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    matches!(mysql_number(error.as_ref()), Some(1205 | 1317 | 1927 | 1203 | 1053 | 1045))
}

/// MySQL's own number of an error.
pub(crate) fn mysql_number(error: &dyn sqlx::error::DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}
