//! The steps of each database's schema.

use crate::database::Dialect;

/// One step of the schema.
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) summary: &'static str,
    pub(super) sql: &'static str,
}

const fn flipts(version: i64, sql: &'static str) -> Migration {
    Migration { version, summary: "the tables of Flipt v1.61", sql }
}

const fn environments(version: i64) -> Migration {
    Migration {
        version,
        summary: "versions of the whole state, the order of segments in rules, indexes",
        sql: include_str!("ours/environments.sql"),
    }
}

const fn environment_of_namespaces(version: i64) -> Migration {
    Migration {
        version,
        summary: "environments above namespaces, and revisions of resources",
        sql: include_str!("ours/environment_of_namespaces.sql"),
    }
}

const fn changes(version: i64) -> Migration {
    Migration {
        version,
        summary: "the log of changes that other servers read",
        sql: include_str!("ours/changes.sql"),
    }
}

const fn resource_owners(version: i64) -> Migration {
    Migration {
        version,
        summary: "which object of a cluster owns a resource",
        sql: include_str!("ours/resource_owners.sql"),
    }
}

const SQLITE: &[Migration] = &[
    flipts(15, include_str!("sqlite/flipt.sql")),
    environments(16),
    environment_of_namespaces(17),
    changes(18),
    resource_owners(19),
];

const POSTGRES: &[Migration] = &[
    flipts(16, include_str!("postgres/flipt.sql")),
    environments(17),
    environment_of_namespaces(18),
    changes(19),
    resource_owners(20),
];

const COCKROACH: &[Migration] = &[
    flipts(13, include_str!("postgres/flipt.sql")),
    environments(14),
    environment_of_namespaces(15),
    changes(16),
    resource_owners(17),
];

const MYSQL: &[Migration] = &[
    flipts(15, include_str!("mysql/flipt.sql")),
    environments(16),
    environment_of_namespaces(17),
    changes(18),
    Migration {
        version: 19,
        summary: "microseconds for the time of the last change, and credentials that end after 2038",
        sql: include_str!("mysql/precision.sql"),
    },
    resource_owners(20),
];

/// Every step, in order of its version.
pub(super) const fn of(dialect: Dialect) -> &'static [Migration] {
    match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
        Dialect::Cockroach => COCKROACH,
        Dialect::MySql => MYSQL,
    }
}

/// The statements of a step. Each ends with a semicolon at the end of a line.
pub(super) fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split_inclusive(";\n").map(str::trim).filter(|statement| {
        statement.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_split_into_its_statements() {
        let sql = "-- why\nCREATE TABLE a (\n  b INT\n);\n\n-- more\nINSERT INTO a\nVALUES (1);\n-- end\n";
        let split: Vec<&str> = statements(sql).collect();
        assert_eq!(split.len(), 2);
        assert!(split[0].ends_with("b INT\n);") && split[1].ends_with("VALUES (1);"), "{split:?}");
    }

    #[test]
    fn versions_rise_and_begin_with_flipts_own() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Cockroach, Dialect::MySql] {
            let steps = of(dialect);
            assert_eq!(steps[0].version, dialect.flipt_schema_version());
            assert!(steps.windows(2).all(|pair| pair[0].version + 1 == pair[1].version));
        }
    }
}
