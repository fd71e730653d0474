//! Opening a database and its connections.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    Executor as _, MySqlPool, PgPool, Pool, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    DatabaseUrl, Dialect, Transaction, UrlError,
    transaction::{Inner, in_time},
    url::ServerUrl,
};
use crate::StoreError;

/// How long a statement waits for another process's lock on a SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection, or for a new one.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at most where the configuration sets no limit. Evaluations need none: even a busy server is
/// served by a few, and several replicas must fit into what the database allows.
const DEFAULT_CONNECTIONS: u32 = 16;
/// How long a connection beyond those kept stays open without work.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What every connection to MySQL is set to: identifiers in double quotes, no silent truncation, and reads of
/// one state within a transaction.
/// The zero date stays allowed: Flipt leaves it where a time did not fit.
const MYSQL_SESSION: &str = "SET SESSION sql_mode = \
     'ANSI_QUOTES,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     SESSION innodb_lock_wait_timeout = 10; \
     SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
/// Channel on which writers tell other servers.
const CHANNEL: &str = "flipt_changes";

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// Connections that are kept although they are idle. Writing on SQLite always uses one more.
    pub idle_connections: u32,
    /// Connections at most; a safe number if 0. Ignored on SQLite.
    pub open_connections: u32,
    /// Age at which a connection is replaced; never if zero.
    pub lifetime: Duration,
    /// Whether statements are prepared once per connection and reused. Behind a pool that hands connections
    /// from one transaction to the next, such as PgBouncer, they must not be.
    pub prepared_statements: bool,
    /// Whether a database file that does not exist is made, with its folder.
    pub create: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            idle_connections: 4,
            open_connections: 0,
            lifetime: Duration::ZERO,
            prepared_statements: true,
            create: true,
        }
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
    /// Indicates that the server of the database does not let us in.
    #[error("pinging db: {place}: {source}")]
    Connect {
        /// Kind, host, port and name of the database.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
}

/// An open database.
#[derive(Debug, Clone)]
pub struct Database {
    dialect: Dialect,
    place: Arc<str>,
    pools: Pools,
    prepared: bool,
    statements: Arc<AtomicU64>,
    ignores_letter_case: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Pools {
    /// One connection to write, several to read.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// A pool for the one connection that listens, so that it takes none from the others.
fn listening(pool: &PgPool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(pool.connect_options().as_ref().clone())
}

impl Database {
    /// Opens the database with this URL; a missing SQLite file is made if the options say so,
    /// its folder too (mode 0700).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn open(url: &str, options: DatabaseOptions) -> Result<Self, ConnectError> {
        let (dialect, place, pools) = match DatabaseUrl::parse(url)? {
            DatabaseUrl::Sqlite(path) => {
                let place = format!("sqlite3 {}", path.display());
                (Dialect::Sqlite, place, open_sqlite(&path, options).await?)
            }
            DatabaseUrl::Server(server) => {
                let opened = match server.dialect {
                    Dialect::MySql => open_mysql(&server, options).await,
                    _ => open_postgres(&server, options).await,
                };
                let connect = |source| ConnectError::Connect { place: server.place(), source };
                (server.dialect, server.place(), opened.map_err(connect)?)
            }
        };
        Ok(Self {
            dialect,
            place: place.into(),
            pools,
            prepared: options.prepared_statements,
            statements: Arc::default(),
            ignores_letter_case: Arc::default(),
        })
    }

    /// The dialect of the database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Kind, host, port and name of the database, or its file; without user and password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many statements the database was sent so far.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Connections that are open, and how many of them are idle.
    #[must_use]
    pub fn connections(&self) -> (u32, usize) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                (writer.size() + readers.size(), writer.num_idle() + readers.num_idle())
            }
            Pools::Postgres(pool) => (pool.size(), pool.num_idle()),
            Pools::MySql(pool) => (pool.size(), pool.num_idle()),
        }
    }

    /// Starts a transaction that writes. On SQLite there is one at a time; others wait.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Unavailable`].
    pub fn write(&self) -> BoxFuture<'_, Result<Transaction, StoreError>> {
        Box::pin(async move {
            let begin = self.dialect.begin_write();
            let inner = match &self.pools {
                Pools::Sqlite { writer, .. } => Inner::Sqlite(begin_on(writer, begin).await?),
                Pools::Postgres(pool) => Inner::Postgres(begin_on(pool, begin).await?),
                Pools::MySql(pool) => Inner::MySql(begin_on(pool, begin).await?),
            };
            Ok(self.transaction(inner))
        })
    }

    /// Starts a transaction that reads one consistent state.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Unavailable`].
    pub fn read(&self) -> BoxFuture<'_, Result<Transaction, StoreError>> {
        Box::pin(async move {
            let begin = self.dialect.begin_read();
            let inner = match &self.pools {
                Pools::Sqlite { readers, .. } => Inner::Sqlite(begin_on(readers, begin).await?),
                Pools::Postgres(pool) => Inner::Postgres(begin_on(pool, begin).await?),
                Pools::MySql(pool) => Inner::MySql(begin_on(pool, begin).await?),
            };
            Ok(self.transaction(inner))
        })
    }

    fn transaction(&self, inner: Inner) -> Transaction {
        Transaction {
            dialect: self.dialect,
            inner: Some(inner),
            prepared: self.prepared,
            statements: Arc::clone(&self.statements),
            ignores_letter_case: self.ignores_letter_case.load(Ordering::Relaxed),
        }
    }

    /// Finds out whether the migrated database finds keys in any letter case: on MySQL the collation of the column
    /// says so (api spec, section 10).
    pub(crate) async fn learn_letter_case(&self) -> Result<(), StoreError> {
        if self.dialect != Dialect::MySql {
            return Ok(());
        }
        let mut transaction = self.read().await?;
        let sql = "SELECT collation_name FROM information_schema.columns
                   WHERE table_schema = DATABASE() AND table_name = 'flags' AND column_name = 'key'";
        let collation = transaction.fetch_optional(sql, &[]).await?.map(|row| row.text(0)).transpose()?;
        let ignores = collation.is_some_and(|collation| collation.ends_with("_ci"));
        self.ignores_letter_case.store(ignores, Ordering::Relaxed);
        Ok(())
    }

    /// Whether writers can tell other servers through the database. Behind a pool that hands connections from
    /// one transaction to the next, nobody could listen.
    pub(crate) const fn notifies(&self) -> bool {
        matches!(self.dialect, Dialect::Postgres) && self.prepared
    }

    /// What wakes up when another server has written, where the database offers such a thing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        let Pools::Postgres(pool) = &self.pools else { return Ok(None) };
        if !self.notifies() {
            return Ok(None);
        }
        let pool = listening(pool);
        let listener = in_time(async move {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            Ok(listener)
        });
        Ok(Some(Listener(listener.await?)))
    }

    /// Closes every connection, after the transactions that are still open.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
            Pools::MySql(pool) => pool.close().await,
        }
    }
}

/// Tells of writes of other servers as they happen.
pub struct Listener(PgListener);

impl Listener {
    /// Waits for the next write; also returns when the connection was lost and is there again, because writes
    /// may have been missed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; trying again connects anew.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        self.0.try_recv().await?;
        // Several writes are caught up with at once.
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}

/// Tells listeners of a write when the transaction is committed.
pub(crate) async fn notify(transaction: &mut Transaction) -> Result<(), StoreError> {
    let sql = "SELECT pg_notify(?, '')";
    transaction.fetch_all(sql, super::params![CHANNEL]).await.map(drop)
}

/// Begins a transaction on a connection of a pool.
async fn begin_on<DB: sqlx::Database>(
    pool: &Pool<DB>,
    begin: &'static str,
) -> Result<sqlx::Transaction<'static, DB>, StoreError> {
    let pool = pool.clone();
    in_time(async move { pool.begin_with(begin).await }).await
}

async fn open_sqlite(path: &Path, options: DatabaseOptions) -> Result<Pools, ConnectError> {
    let folder = path.parent().filter(|folder| options.create && !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        create_private_folder(folder)
            .map_err(|source| ConnectError::Folder { path: folder.to_owned(), source })?;
    }
    let mut connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(options.create)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // An acknowledged write must survive a power cut, not only the death of the process.
        .synchronous(SqliteSynchronous::Full);
    if !options.prepared_statements {
        connect = connect.statement_cache_capacity(0);
    }
    // The mode stays in the file: who only looks leaves it as it is.
    let connect = if options.create { connect.journal_mode(SqliteJournalMode::Wal) } else { connect };
    let open = |source| ConnectError::Open { path: path.to_owned(), source };
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connect.clone())
        .await
        .map_err(open)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.idle_connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(connect)
        .await
        .map_err(open)?;
    Ok(Pools::Sqlite { writer, readers })
}

/// Connections at most.
fn limit(options: DatabaseOptions) -> u32 {
    match options.open_connections {
        0 => DEFAULT_CONNECTIONS.max(options.idle_connections),
        limit => limit,
    }
}

fn lifetime(options: DatabaseOptions) -> Option<Duration> {
    (!options.lifetime.is_zero()).then_some(options.lifetime)
}

async fn open_postgres(server: &ServerUrl, options: DatabaseOptions) -> Result<Pools, sqlx::Error> {
    let mut connect = PgConnectOptions::from_str(server.url.as_str())?
        .application_name("flipt")
        // A pooler in between refuses start-up parameters that it does not know; numbers come in binary.
        .extra_float_digits(None);
    let mut acquire = ACQUIRE_TIMEOUT;
    for (name, value) in &server.settings {
        match (name.as_str(), value.parse()) {
            // Of libpq, where 0 means no limit.
            ("connect_timeout", Ok(0)) => {}
            ("connect_timeout", Ok(seconds)) => acquire = Duration::from_secs(seconds),
            _ if super::url::IGNORED_BY_POSTGRES.contains(&name.as_str()) => {
                tracing::warn!(parameter = name, "parameter of db.url has no effect");
            }
            _ => connect = connect.options([(name.as_str(), value.as_str())]),
        }
    }
    if !options.prepared_statements {
        connect = connect.statement_cache_capacity(0);
    }
    let pool = PgPoolOptions::new()
        .max_connections(limit(options))
        .min_connections(options.idle_connections.min(limit(options)))
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(lifetime(options))
        .acquire_timeout(acquire)
        .connect_with(connect)
        .await?;
    Ok(Pools::Postgres(pool))
}

async fn open_mysql(server: &ServerUrl, options: DatabaseOptions) -> Result<Pools, sqlx::Error> {
    let mut connect = MySqlConnectOptions::from_str(server.url.as_str())?;
    for (name, value) in &server.settings {
        if name == "tls" {
            use sqlx::mysql::MySqlSslMode as Mode;
            connect = connect.ssl_mode(match value.as_str() {
                "false" => Mode::Disabled,
                "preferred" => Mode::Preferred,
                "skip-verify" => Mode::Required,
                _ => Mode::VerifyIdentity,
            });
        } else {
            tracing::warn!(parameter = name, "parameter of db.url has no effect");
        }
    }
    if !options.prepared_statements {
        connect = connect.statement_cache_capacity(0);
    }
    let pool = MySqlPoolOptions::new()
        .max_connections(limit(options))
        .min_connections(options.idle_connections.min(limit(options)))
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(lifetime(options))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(sqlx::raw_sql(MYSQL_SESSION)).await.map(drop) })
        })
        .connect_with(connect)
        .await?;
    Ok(Pools::MySql(pool))
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
