//! Opening a database and its connections.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{DatabaseUrl, Dialect, Transaction, UrlError, transaction::Inner};
use crate::StoreError;

/// How long a statement waits for another process's lock on a SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// Connections kept for reading. Writing on SQLite always uses one.
    pub readers: u32,
    /// Whether a database file that does not exist is made, with its folder.
    pub create: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { readers: 4, create: true }
    }
}

/// A database that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Indicates an unusable URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Indicates that the folder of a database file could not be made.
    #[error("creating folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Indicates that the database file could not be opened.
    #[error("opening {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
}

/// An open database: one place to write, several connections to read.
#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// Opens the database with this URL; a missing SQLite file is made if the options say so,
    /// its folder too (mode 0700).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn open(url: &str, options: DatabaseOptions) -> Result<Self, ConnectError> {
        let DatabaseUrl::Sqlite(path) = DatabaseUrl::parse(url)?;
        let folder = path.parent().filter(|folder| options.create && !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            create_private_folder(folder)
                .map_err(|source| ConnectError::Folder { path: folder.to_owned(), source })?;
        }
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(options.create)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // An acknowledged write must survive a power cut, not only the death of the process.
            .synchronous(SqliteSynchronous::Full);
        // The mode stays in the file: who only looks leaves it as it is.
        let connect = if options.create { connect.journal_mode(SqliteJournalMode::Wal) } else { connect };
        let open = |source| ConnectError::Open { path: path.clone(), source };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect.clone())
            .await
            .map_err(open)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(connect)
            .await
            .map_err(open)?;
        Ok(Self { writer, readers })
    }

    /// The dialect of the database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    /// Starts a transaction that writes. On SQLite there is one at a time; others wait.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn write(&self) -> Result<Transaction<'static>, StoreError> {
        let transaction = self.writer.begin_with(self.dialect().begin_write()).await?;
        Ok(Transaction(Inner::Sqlite(transaction)))
    }

    /// Starts a transaction that reads one consistent state.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn read(&self) -> Result<Transaction<'static>, StoreError> {
        Ok(Transaction(Inner::Sqlite(self.readers.begin().await?)))
    }

    /// Closes every connection, after the transactions that are still open.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
