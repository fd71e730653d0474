//! A transaction, and statements in it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite};

use super::{
    Dialect, Param, Row,
    bind::{bind_mysql, bind_postgres, bind_sqlite},
};
use crate::StoreError;

/// Longest time that one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time that a step of a migration may take.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// An open transaction. Dropped without [`Transaction::commit`] it leaves no trace.
pub struct Transaction<'c> {
    pub(super) dialect: Dialect,
    pub(super) inner: Inner<'c>,
    /// Whether statements are prepared once per connection, and reused.
    pub(super) prepared: bool,
    /// Statements that the database was sent, by all transactions.
    pub(super) statements: Arc<AtomicU64>,
    /// Whether the database finds keys in any letter case.
    pub(super) ignores_letter_case: bool,
}

pub(super) enum Inner<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres(sqlx::Transaction<'c, Postgres>),
    MySql(sqlx::Transaction<'c, MySql>),
}

/// Something that is under way. Boxed, because every store operation would otherwise contain the machinery of three
/// drivers once per statement, which takes minutes to compile.
type Boxed<'t, T> = BoxFuture<'t, Result<T, StoreError>>;

impl Transaction<'_> {
    /// The dialect of the database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the database finds keys in any letter case, so that rows which belong together may spell them
    /// differently.
    pub(crate) const fn ignores_letter_case(&self) -> bool {
        self.ignores_letter_case
    }

    /// A key as it is to be compared with those of other rows.
    pub(crate) fn comparable(&self, mut key: String) -> String {
        if self.ignores_letter_case {
            key.make_ascii_lowercase();
        }
        key
    }

    /// Runs a statement and gives the number of rows it changed (on MySQL: found).
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Unavailable`]; so for all of these.
    pub fn execute<'t>(&'t mut self, sql: &str, params: &'t [Param]) -> Boxed<'t, u64> {
        let (sql, prepared) = self.statement(sql);
        Box::pin(async move {
            match &mut self.inner {
                Inner::Sqlite(transaction) => {
                    let query = bind_sqlite(sql, params).persistent(prepared);
                    Ok(in_time(query.execute(&mut **transaction)).await?.rows_affected())
                }
                Inner::Postgres(transaction) => {
                    let query = bind_postgres(sql, params).persistent(prepared);
                    Ok(in_time(query.execute(&mut **transaction)).await?.rows_affected())
                }
                Inner::MySql(transaction) => {
                    let query = bind_mysql(sql, params).persistent(prepared);
                    Ok(in_time(query.execute(&mut **transaction)).await?.rows_affected())
                }
            }
        })
    }

    /// Runs a script of several statements without parameters.
    #[allow(clippy::missing_errors_doc)]
    pub fn script(&mut self, sql: &str) -> Boxed<'_, ()> {
        self.script_within(sql, STATEMENT_TIMEOUT)
    }

    /// The same for statements that change the schema, which may have to wait for others and to rewrite tables.
    pub(crate) fn patient_script(&mut self, sql: &str) -> Boxed<'_, ()> {
        self.script_within(sql, SCHEMA_TIMEOUT)
    }

    fn script_within(&mut self, sql: &str, limit: Duration) -> Boxed<'_, ()> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        Box::pin(async move {
            match &mut self.inner {
                Inner::Sqlite(transaction) => {
                    within(limit, script.execute(&mut **transaction)).await.map(drop)
                }
                Inner::Postgres(transaction) => {
                    within(limit, script.execute(&mut **transaction)).await.map(drop)
                }
                Inner::MySql(transaction) => {
                    within(limit, script.execute(&mut **transaction)).await.map(drop)
                }
            }
        })
    }

    /// All rows of a query.
    #[allow(clippy::missing_errors_doc)]
    pub fn fetch_all<'t>(&'t mut self, sql: &str, params: &'t [Param]) -> Boxed<'t, Vec<Row>> {
        let (sql, prepared) = self.statement(sql);
        Box::pin(async move {
            match &mut self.inner {
                Inner::Sqlite(transaction) => {
                    let query = bind_sqlite(sql, params).persistent(prepared);
                    let rows = in_time(query.fetch_all(&mut **transaction)).await?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
                Inner::Postgres(transaction) => {
                    let query = bind_postgres(sql, params).persistent(prepared);
                    let rows = in_time(query.fetch_all(&mut **transaction)).await?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                }
                Inner::MySql(transaction) => {
                    let query = bind_mysql(sql, params).persistent(prepared);
                    let rows = in_time(query.fetch_all(&mut **transaction)).await?;
                    Ok(rows.into_iter().map(Row::MySql).collect())
                }
            }
        })
    }

    fn statement(&self, sql: &str) -> (String, bool) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        (self.dialect.spell(sql), self.prepared)
    }

    /// The first row of a query, if there is one.
    #[allow(clippy::missing_errors_doc)]
    pub async fn fetch_optional(&mut self, sql: &str, params: &[Param]) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(sql, params).await?.into_iter().next())
    }

    /// Whether a query gives any row.
    #[allow(clippy::missing_errors_doc)]
    pub async fn exists(&mut self, sql: &str, params: &[Param]) -> Result<bool, StoreError> {
        Ok(self.fetch_optional(sql, params).await?.is_some())
    }

    /// The integer in the first column of the first row; 0 without a row.
    #[allow(clippy::missing_errors_doc)]
    pub async fn count(&mut self, sql: &str, params: &[Param]) -> Result<i64, StoreError> {
        self.fetch_optional(sql, params).await?.map_or(Ok(0), |row| row.int(0))
    }

    /// Makes the changes durable.
    ///
    /// # Errors
    /// [`StoreError::Database`]: nothing was changed. [`StoreError::Unavailable`]: the connection broke, and
    /// nobody can tell whether the changes were made.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let committing: BoxFuture<'_, Result<(), StoreError>> = match self.inner {
            Inner::Sqlite(transaction) => Box::pin(in_time(transaction.commit())),
            Inner::Postgres(transaction) => Box::pin(in_time(transaction.commit())),
            Inner::MySql(transaction) => Box::pin(in_time(transaction.commit())),
        };
        committing.await
    }
}

/// The outcome of something that the database does, if it comes in time.
pub(super) async fn in_time<T>(doing: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    within(STATEMENT_TIMEOUT, doing).await
}

async fn within<T>(
    limit: Duration,
    doing: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, doing).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", limit.as_secs()))),
    }
}
