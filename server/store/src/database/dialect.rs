//! What differs between databases: the one place for it.

/// A family of databases that share SQL spelling and value formats.
///
/// Statements are written with `?` placeholders and double-quoted identifiers; a dialect that spells them
/// otherwise translates them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite 3.35 or later, in a file.
    Sqlite,
    /// PostgreSQL 12 or later.
    Postgres,
    /// CockroachDB, through the protocol of PostgreSQL.
    Cockroach,
    /// MySQL 8 or MariaDB 10.6, or later.
    MySql,
}

impl Dialect {
    /// Name as Flipt uses it in metrics and logs (storage spec, section 2.4).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite3",
            Self::Postgres => "postgres",
            Self::Cockroach => "cockroachdb",
            Self::MySql => "mysql",
        }
    }

    /// Schema version that Flipt v1.61.1 leaves behind (storage spec, section 3.1).
    #[must_use]
    pub const fn flipt_schema_version(self) -> i64 {
        match self {
            Self::Sqlite | Self::MySql => 15,
            Self::Postgres => 16,
            Self::Cockroach => 13,
        }
    }

    /// The statement as this database spells it. A question mark in a literal is not allowed.
    #[must_use]
    pub fn spell(self, sql: &str) -> String {
        match self {
            // MySQL takes double quotes around identifiers because every connection asks for it.
            Self::Sqlite | Self::MySql => sql.to_owned(),
            Self::Postgres | Self::Cockroach => numbered(sql),
        }
    }

    /// How a write transaction starts. SQLite takes the write lock at once: a transaction that upgrades
    /// later can fail although it waited. Elsewhere the environment's row is locked first, so that all that
    /// is read afterwards is current although each statement reads for itself.
    #[must_use]
    pub const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::Cockroach => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            Self::MySql => "START TRANSACTION",
        }
    }

    /// How a transaction starts that reads one consistent state.
    #[must_use]
    pub const fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres | Self::Cockroach => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        }
    }

    /// What makes a query keep others from writing the rows it finds, until the transaction ends.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            // Its write transactions have the database for themselves.
            Self::Sqlite => "",
            Self::Postgres | Self::Cockroach | Self::MySql => " FOR UPDATE",
        }
    }

    /// Whether the schema can be changed within a transaction, together with what is recorded about it.
    #[must_use]
    pub const fn changes_schema_in_transactions(self) -> bool {
        match self {
            Self::Sqlite | Self::Postgres => true,
            // MySQL commits before and after each change; CockroachDB allows one per transaction.
            Self::Cockroach | Self::MySql => false,
        }
    }
}

/// `?` replaced by `$1`, `$2`, …
fn numbered(sql: &str) -> String {
    let mut spelled = String::with_capacity(sql.len() + 16);
    let mut number = 0_usize;
    for character in sql.chars() {
        if character == '?' {
            number += 1;
            spelled.push('$');
            spelled.push_str(&number.to_string());
        } else {
            spelled.push(character);
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_for_postgresql() {
        let sql = r#"SELECT 1 FROM t WHERE "key" = ? AND b = ?"#;
        assert_eq!(Dialect::Postgres.spell(sql), r#"SELECT 1 FROM t WHERE "key" = $1 AND b = $2"#);
        assert_eq!(Dialect::MySql.spell(sql), sql);
    }
}
