//! A transaction, and statements in it.
//!
//! Every statement runs in a task of its own, which goes on to its end although whoever waits for it goes away: drivers
//! lose track of a connection whose answer nobody reads, and with it a place in the pool.

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

/// Longest time that anybody waits for one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time that a step of a migration may take.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// An open transaction. Dropped without [`Transaction::commit`] it leaves no trace.
pub struct Transaction {
    pub(super) dialect: Dialect,
    /// Gone while a statement runs, and for good if nobody waited for its end.
    pub(super) inner: Option<Inner>,
    /// Whether statements are prepared once per connection, and reused.
    pub(super) prepared: bool,
    /// Statements that the database was sent, by all transactions.
    pub(super) statements: Arc<AtomicU64>,
    /// Whether the database finds keys in any letter case.
    pub(super) ignores_letter_case: bool,
}

pub(super) enum Inner {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
    MySql(sqlx::Transaction<'static, MySql>),
}

/// Something that is under way. Boxed, because every store operation would otherwise contain the machinery of three
/// drivers once per statement, which takes minutes to compile.
type Boxed<'t, T> = BoxFuture<'t, Result<T, StoreError>>;

impl Transaction {
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
    pub fn execute(&mut self, sql: &str, params: &[Param]) -> Boxed<'_, u64> {
        let (sql, params, prepared) = self.statement(sql, params);
        self.run(STATEMENT_TIMEOUT, move |inner| {
            Box::pin(async move {
                Ok(match inner {
                    Inner::Sqlite(transaction) => {
                        let query = bind_sqlite(sql, &params).persistent(prepared);
                        query.execute(&mut **transaction).await?.rows_affected()
                    }
                    Inner::Postgres(transaction) => {
                        let query = bind_postgres(sql, &params).persistent(prepared);
                        query.execute(&mut **transaction).await?.rows_affected()
                    }
                    Inner::MySql(transaction) => {
                        let query = bind_mysql(sql, &params).persistent(prepared);
                        query.execute(&mut **transaction).await?.rows_affected()
                    }
                })
            })
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
        self.run(limit, move |inner| {
            Box::pin(async move {
                match inner {
                    Inner::Sqlite(transaction) => script.execute(&mut **transaction).await.map(drop),
                    Inner::Postgres(transaction) => script.execute(&mut **transaction).await.map(drop),
                    Inner::MySql(transaction) => script.execute(&mut **transaction).await.map(drop),
                }
            })
        })
    }

    /// All rows of a query.
    #[allow(clippy::missing_errors_doc)]
    pub fn fetch_all(&mut self, sql: &str, params: &[Param]) -> Boxed<'_, Vec<Row>> {
        let (sql, params, prepared) = self.statement(sql, params);
        self.run(STATEMENT_TIMEOUT, move |inner| {
            Box::pin(async move {
                Ok(match inner {
                    Inner::Sqlite(transaction) => {
                        let query = bind_sqlite(sql, &params).persistent(prepared);
                        let rows = query.fetch_all(&mut **transaction).await?;
                        rows.into_iter().map(Row::Sqlite).collect()
                    }
                    Inner::Postgres(transaction) => {
                        let query = bind_postgres(sql, &params).persistent(prepared);
                        let rows = query.fetch_all(&mut **transaction).await?;
                        rows.into_iter().map(Row::Postgres).collect()
                    }
                    Inner::MySql(transaction) => {
                        let query = bind_mysql(sql, &params).persistent(prepared);
                        let rows = query.fetch_all(&mut **transaction).await?;
                        rows.into_iter().map(Row::MySql).collect()
                    }
                })
            })
        })
    }

    fn statement(&self, sql: &str, params: &[Param]) -> (String, Vec<Param>, bool) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        (self.dialect.spell(sql), params.to_vec(), self.prepared)
    }

    /// Does something with the connection, in a task of its own.
    fn run<T: Send + 'static>(
        &mut self,
        limit: Duration,
        action: impl for<'i> FnOnce(&'i mut Inner) -> BoxFuture<'i, Result<T, sqlx::Error>> + Send + 'static,
    ) -> Boxed<'_, T> {
        Box::pin(async move {
            let Some(mut inner) = self.inner.take() else { return Err(cut_off()) };
            let running = async move {
                let outcome = action(&mut inner).await;
                (inner, outcome)
            };
            let (inner, outcome) = to_its_end(limit, running).await?;
            self.inner = Some(inner);
            Ok(outcome?)
        })
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
        let inner = self.inner.ok_or_else(cut_off)?;
        let committing: BoxFuture<'static, Result<(), sqlx::Error>> = match inner {
            Inner::Sqlite(transaction) => Box::pin(transaction.commit()),
            Inner::Postgres(transaction) => Box::pin(transaction.commit()),
            Inner::MySql(transaction) => Box::pin(transaction.commit()),
        };
        Ok(to_its_end(STATEMENT_TIMEOUT, committing).await??)
    }
}

fn cut_off() -> StoreError {
    StoreError::Unavailable("a statement before did not end in time".to_owned())
}

/// Waits for something that the database does, which goes on even if nobody waits for it any longer.
pub(super) async fn to_its_end<T: Send + 'static>(
    limit: Duration,
    doing: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, tokio::spawn(doing)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(StoreError::Content(format!("statement interrupted: {error}"))),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// The same for what takes no longer than a statement, and may fail.
pub(super) async fn in_time<T: Send + 'static>(
    doing: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, StoreError> {
    Ok(to_its_end(STATEMENT_TIMEOUT, doing).await??)
}
