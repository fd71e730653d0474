//! What differs between databases: the one place for it.

/// A family of databases that share SQL spelling and value formats.
///
/// Statements are written with `?` placeholders and double-quoted identifiers; a dialect that spells them
/// otherwise translates them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.35 or later, in a file.
    Sqlite,
}

impl Dialect {
    /// Name as Flipt uses it in metrics and logs (storage spec, section 2.4).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite3",
        }
    }

    /// Schema version that Flipt v1.61.1 leaves behind (storage spec, section 3.1).
    #[must_use]
    pub const fn flipt_schema_version(self) -> i64 {
        match self {
            Self::Sqlite => 15,
        }
    }

    /// The statement as this database spells it.
    #[must_use]
    pub fn spell(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql.to_owned(),
        }
    }

    /// How a write transaction starts. SQLite takes the write lock at once: a transaction that upgrades
    /// later can fail although it waited.
    #[must_use]
    pub const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
        }
    }
}
