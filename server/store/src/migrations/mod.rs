//! Schema migrations, forward only, with Flipt's own bookkeeping: table `schema_migrations` with one row,
//! whose numbering ours continues (storage spec, section 3).

use crate::{
    Database, StoreError,
    database::{Dialect, Transaction, params},
};

/// One step of the schema.
struct Migration {
    version: i64,
    sql: &'static str,
}

const SQLITE: &[Migration] = &[
    Migration { version: 15, sql: include_str!("sqlite/0015_flipt.sql") },
    Migration { version: 16, sql: include_str!("sqlite/0016_environments.sql") },
    Migration { version: 17, sql: include_str!("sqlite/0017_environment_of_namespaces.sql") },
];

const fn steps(dialect: Dialect) -> &'static [Migration] {
    match dialect {
        Dialect::Sqlite => SQLITE,
    }
}

/// When pending migrations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// On an empty database, and the additions of this program on a database as Flipt v1.61 leaves it; one that
    /// is older is refused. For servers and importers.
    FirstRun,
    /// Always. For `flipt migrate` and `--force-migrate`.
    Forced,
}

/// What a migration run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Version before; `None` on an empty database.
    pub from: Option<i64>,
    /// Version now.
    pub to: i64,
}

/// Brings the schema up to date, in one transaction.
///
/// # Errors
/// [`StoreError::MigrationsPending`] if the policy forbids what is needed, [`StoreError::Invalid`] for a
/// database that a failed migration left dirty or that no migration leads from, [`StoreError::Database`].
pub async fn run(database: &Database, policy: Policy) -> Result<Migrated, StoreError> {
    let mut transaction = database.write().await?;
    let migrated = advance(&mut transaction, policy).await?;
    transaction.commit().await?;
    Ok(migrated)
}

/// Checks by reading alone that the schema is as new as this program needs.
///
/// # Errors
/// [`StoreError::MigrationsPending`], also for an empty database; [`StoreError::Database`].
pub async fn check(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.read().await?;
    let newest = steps(transaction.dialect()).last().map_or(0, |step| step.version);
    let recorded = transaction.fetch_optional("SELECT version FROM schema_migrations", &[]).await;
    match recorded {
        Ok(Some(row)) if row.int(0)? >= newest => Ok(()),
        Ok(_) => Err(StoreError::MigrationsPending),
        // Without the table nothing was ever migrated.
        Err(StoreError::Database(sqlx::Error::Database(error)))
            if error.message().contains("schema_migrations") =>
        {
            Err(StoreError::MigrationsPending)
        }
        Err(error) => Err(error),
    }
}

/// Runs every step above the recorded version.
pub(crate) async fn advance(
    transaction: &mut Transaction<'_>,
    policy: Policy,
) -> Result<Migrated, StoreError> {
    transaction
        .script(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version uint64,dirty bool);
             CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON schema_migrations (version);",
        )
        .await?;
    let recorded = transaction.fetch_optional("SELECT version, dirty FROM schema_migrations", &[]).await?;
    let from = match recorded {
        None => None,
        Some(row) if row.bool(1)? => {
            return Err(StoreError::Invalid(format!(
                "Dirty database version {}. Fix and force version.",
                row.int(0)?
            )));
        }
        Some(row) => Some(row.int(0)?),
    };
    let dialect = transaction.dialect();
    let newest = steps(dialect).last().map_or(0, |step| step.version);
    match from {
        // A newer program ran here: migrations only add, so this one can serve.
        Some(version) if version >= newest => return Ok(Migrated { from, to: version }),
        // Ours, on top of Flipt's last, only add: a database of Flipt v1.61 is taken over as it is.
        Some(version) if version >= dialect.flipt_schema_version() => {}
        Some(_) if policy == Policy::FirstRun => return Err(StoreError::MigrationsPending),
        Some(version) => {
            return Err(StoreError::Invalid(format!(
                "schema version {version} is older than {}: upgrade the database with Flipt v1.61 first",
                dialect.flipt_schema_version()
            )));
        }
        None => {}
    }
    for step in steps(dialect).iter().filter(|step| from.is_none_or(|version| step.version > version)) {
        transaction.script(step.sql).await?;
    }
    transaction.execute("DELETE FROM schema_migrations", &[]).await?;
    transaction
        .execute("INSERT INTO schema_migrations (version, dirty) VALUES (?, ?)", params![newest, false])
        .await?;
    Ok(Migrated { from, to: newest })
}
