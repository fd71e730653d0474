//! Values on their way into and out of statements.

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::{
    Column as _, Row as _, TypeInfo as _, ValueRef as _, mysql::MySqlRow, postgres::PgRow, sqlite::SqliteRow,
};

use crate::StoreError;

/// One statement parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// `NULL`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// An instant, in microseconds since the Unix epoch.
    Time(i64),
    /// A JSON document as text.
    Json(String),
}

impl From<bool> for Param {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<i32> for Param {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}
impl From<i64> for Param {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<f32> for Param {
    fn from(value: f32) -> Self {
        Self::Float(value.into())
    }
}
impl From<&str> for Param {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<&String> for Param {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}
impl From<String> for Param {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl<T: Into<Self>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Text of an instant in a SQLite column, the form Flipt's driver writes: sorts as time does.
pub(super) fn sqlite_time(micros: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string())
        .unwrap_or_default()
}

fn parse_sqlite_time(text: &str) -> Option<i64> {
    for format in ["%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f%:z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.timestamp_micros());
        }
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    None
}

/// One row of an answer, read by column position.
pub enum Row {
    /// A row of SQLite.
    Sqlite(SqliteRow),
    /// A row of PostgreSQL or CockroachDB.
    Postgres(PgRow),
    /// A row of MySQL or MariaDB.
    MySql(MySqlRow),
}

impl Row {
    /// Text; `NULL` reads as empty.
    ///
    /// # Errors
    /// [`StoreError::Database`] if the column is missing or holds something else; so for all of these.
    pub fn text(&self, column: usize) -> Result<String, StoreError> {
        Ok(self.optional_text(column)?.unwrap_or_default())
    }

    /// Text or `NULL`. JSON reads as text.
    #[allow(clippy::missing_errors_doc)]
    pub fn optional_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get_unchecked(column)?),
            Self::MySql(row) => Ok(row.try_get_unchecked(column)?),
            Self::Postgres(row) => {
                let mut text: Option<String> = row.try_get_unchecked(column)?;
                // The binary form of `jsonb` is its version, 1, and the text.
                if row.try_column(column)?.type_info().name() == "JSONB" {
                    text = text.map(|text| text.trim_start_matches('\u{1}').to_owned());
                }
                Ok(text)
            }
        }
    }

    /// An integer of any width.
    #[allow(clippy::missing_errors_doc)]
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get_unchecked(column)?),
            Self::MySql(row) => Ok(row.try_get_unchecked(column)?),
            Self::Postgres(row) => match row.try_column(column)?.type_info().name() {
                "INT2" => Ok(row.try_get::<i16, _>(column)?.into()),
                "INT4" => Ok(row.try_get::<i32, _>(column)?.into()),
                _ => Ok(row.try_get::<i64, _>(column)?),
            },
        }
    }

    /// A 32-bit integer.
    #[allow(clippy::missing_errors_doc)]
    pub fn int32(&self, column: usize) -> Result<i32, StoreError> {
        let value = self.int(column)?;
        i32::try_from(value)
            .map_err(|_| StoreError::Content(format!("column {column}: {value} does not fit 32 bits")))
    }

    /// A boolean.
    #[allow(clippy::missing_errors_doc)]
    pub fn bool(&self, column: usize) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get_unchecked(column)?),
            Self::Postgres(row) => Ok(row.try_get(column)?),
            Self::MySql(row) => Ok(row.try_get_unchecked(column)?),
        }
    }

    /// A percentage: stored wide, used with 32 bits.
    #[allow(clippy::missing_errors_doc, clippy::cast_possible_truncation)]
    pub fn percentage(&self, column: usize) -> Result<f32, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get_unchecked::<f64, _>(column)? as f32),
            Self::Postgres(row) => Ok(row.try_get::<f64, _>(column)? as f32),
            Self::MySql(row) => Ok(row.try_get_unchecked::<f64, _>(column)? as f32),
        }
    }

    /// An instant in microseconds since the Unix epoch, or `NULL`.
    #[allow(clippy::missing_errors_doc)]
    pub fn optional_time(&self, column: usize) -> Result<Option<i64>, StoreError> {
        let micros = |time: NaiveDateTime| time.and_utc().timestamp_micros();
        match self {
            Self::Sqlite(row) => {
                let text: Option<String> = row.try_get_unchecked(column)?;
                text.map(|text| {
                    parse_sqlite_time(&text).ok_or_else(|| {
                        StoreError::Content(format!("column {column}: {text:?} is not a time"))
                    })
                })
                .transpose()
            }
            Self::Postgres(row) => Ok(row.try_get_unchecked::<Option<NaiveDateTime>, _>(column)?.map(micros)),
            Self::MySql(row) => {
                if row.try_get_raw(column)?.is_null() {
                    return Ok(None);
                }
                // What is no time is the zero date, which Flipt leaves where a time did not fit the column
                // (api spec, section 10): long past, as there.
                let time = row.try_get_unchecked::<NaiveDateTime, _>(column);
                Ok(Some(time.map(micros).unwrap_or_default()))
            }
        }
    }

    /// An instant in microseconds since the Unix epoch.
    #[allow(clippy::missing_errors_doc)]
    pub fn time(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.optional_time(column)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_and_flipts_own_spellings_are_read() {
        let micros = 1_780_000_000_123_450;
        assert_eq!(parse_sqlite_time(&sqlite_time(micros)), Some(micros));
        assert_eq!(parse_sqlite_time("2026-11-21 13:50:11"), parse_sqlite_time("2026-11-21 13:50:11+00:00"),);
        assert_eq!(
            parse_sqlite_time("2026-11-21 13:50:12.732284761+00:00").map(|micros| micros % 1_000_000),
            Some(732_284),
        );
    }
}
