//! A transaction, and statements in it.

use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};

use super::{Dialect, Param, Row, value::sqlite_time};
use crate::StoreError;

/// An open transaction. Dropped without [`Transaction::commit`] it leaves no trace.
pub struct Transaction<'c>(pub(super) Inner<'c>);

pub(super) enum Inner<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
}

impl Transaction<'_> {
    /// The dialect of the database.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Inner::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Runs a statement and gives the number of rows it changed.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn execute(&mut self, sql: &str, params: &[Param]) -> Result<u64, StoreError> {
        let sql = self.dialect().spell(sql);
        match &mut self.0 {
            Inner::Sqlite(transaction) => {
                Ok(bind_sqlite(sql, params).execute(&mut **transaction).await?.rows_affected())
            }
        }
    }

    /// Runs a script of several statements without parameters.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        match &mut self.0 {
            Inner::Sqlite(transaction) => {
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut **transaction).await?;
            }
        }
        Ok(())
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn fetch_all(&mut self, sql: &str, params: &[Param]) -> Result<Vec<Row>, StoreError> {
        let sql = self.dialect().spell(sql);
        match &mut self.0 {
            Inner::Sqlite(transaction) => {
                let rows = bind_sqlite(sql, params).fetch_all(&mut **transaction).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn fetch_optional(&mut self, sql: &str, params: &[Param]) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(sql, params).await?.into_iter().next())
    }

    /// Whether a query gives any row.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn exists(&mut self, sql: &str, params: &[Param]) -> Result<bool, StoreError> {
        Ok(self.fetch_optional(sql, params).await?.is_some())
    }

    /// The integer in the first column of the first row; 0 without a row.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn count(&mut self, sql: &str, params: &[Param]) -> Result<i64, StoreError> {
        self.fetch_optional(sql, params).await?.map_or(Ok(0), |row| row.int(0))
    }

    /// Makes the changes durable.
    ///
    /// # Errors
    /// [`StoreError::Database`]; then nothing was changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::Sqlite(transaction) => Ok(transaction.commit().await?),
        }
    }
}

fn bind_sqlite<'q>(sql: String, params: &[Param]) -> Query<'q, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for param in params {
        query = match param {
            Param::Null => query.bind(None::<String>),
            Param::Bool(value) => query.bind(*value),
            Param::Int(value) => query.bind(*value),
            Param::Float(value) => query.bind(*value),
            Param::Text(value) | Param::Json(value) => query.bind(value.clone()),
            Param::Time(micros) => query.bind(sqlite_time(*micros)),
        };
    }
    query
}
