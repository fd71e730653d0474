//! Parameters as each driver takes them.

use chrono::{DateTime, NaiveDateTime};
use sqlx::{
    AssertSqlSafe, Encode, MySql, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    mysql::MySqlArguments,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
    query::Query,
    sqlite::SqliteArguments,
};

use super::{Param, value::sqlite_time};

/// A type that PostgreSQL finds out from where the parameter stands.
const UNKNOWN: PgTypeInfo = PgTypeInfo::with_oid(Oid(705));
/// `json`, which every column of JSON takes.
const JSON: PgTypeInfo = PgTypeInfo::with_oid(Oid(114));

/// `NULL` for a column of any type.
struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        UNKNOWN
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// JSON as text, byte for byte.
struct Json(String);

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        JSON
    }
}

impl Encode<'_, Postgres> for Json {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// An instant for a column without time zone, which holds UTC.
fn utc(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

pub(super) fn bind_sqlite<'q>(sql: String, params: &[Param]) -> Query<'q, Sqlite, SqliteArguments> {
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

pub(super) fn bind_postgres<'q>(sql: String, params: &[Param]) -> Query<'q, Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for param in params {
        query = match param {
            Param::Null => query.bind(Null),
            Param::Bool(value) => query.bind(*value),
            Param::Int(value) => query.bind(*value),
            Param::Float(value) => query.bind(*value),
            Param::Text(value) => query.bind(value.clone()),
            Param::Json(value) => query.bind(Json(value.clone())),
            Param::Time(micros) => query.bind(utc(*micros)),
        };
    }
    query
}

pub(super) fn bind_mysql<'q>(sql: String, params: &[Param]) -> Query<'q, MySql, MySqlArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for param in params {
        query = match param {
            Param::Null => query.bind(None::<String>),
            Param::Bool(value) => query.bind(*value),
            Param::Int(value) => query.bind(*value),
            Param::Float(value) => query.bind(*value),
            Param::Text(value) | Param::Json(value) => query.bind(value.clone()),
            Param::Time(micros) => query.bind(utc(*micros)),
        };
    }
    query
}
