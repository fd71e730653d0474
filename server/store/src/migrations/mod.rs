//! Schema migrations, forward only, with Flipt's own bookkeeping: table `schema_migrations` with one row,
//! whose numbering ours continues (storage spec, section 3).
//!
//! Every step only adds, so that a server of the version before goes on beside a newer one.

mod lock;
mod steps;

use crate::{
    Database, StoreError,
    database::{Dialect, Transaction, params},
    error::mysql_number,
    writer::retried,
};

use steps::Migration;

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

/// A step that would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedStep {
    /// Version that it leads to.
    pub version: i64,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// What a migration run would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Version now; `None` on an empty database.
    pub from: Option<i64>,
    /// Version afterwards.
    pub to: i64,
    /// What would run, in this order.
    pub steps: Vec<PlannedStep>,
}

/// Brings the schema up to date. Of several programs that start at once, one does it and the others wait, for
/// at most 15 seconds.
///
/// # Errors
/// [`StoreError::MigrationsPending`] if the policy forbids what is needed, [`StoreError::Invalid`] for a
/// database that a failed migration left dirty or that no migration leads from, [`StoreError::Database`],
/// [`StoreError::Unavailable`], also if others hold the lock for too long.
pub async fn run(database: &Database, policy: Policy) -> Result<Migrated, StoreError> {
    // A look first: whoever may only read can start on a database that is current.
    let from = recorded(database).await?;
    if pending(database.dialect(), from, policy)?.is_empty() {
        return Ok(Migrated { from, to: from.unwrap_or_default() });
    }
    if database.dialect() == Dialect::Cockroach {
        return lock::with_lease(database, || one_by_one(database, policy)).await;
    }
    let mut transaction = database.write().await?;
    lock::acquire(&mut transaction).await?;
    let migrated = advance(&mut transaction, policy).await;
    let released = lock::release(&mut transaction).await;
    let migrated = migrated?;
    released?;
    transaction.commit().await?;
    Ok(migrated)
}

/// What [`run`] would do with [`Policy::Forced`], found out by reading alone.
///
/// # Errors
/// As those of [`run`].
pub async fn plan(database: &Database) -> Result<Plan, StoreError> {
    let from = recorded(database).await?;
    let pending = pending(database.dialect(), from, Policy::Forced)?;
    Ok(Plan {
        from,
        to: pending.last().map_or(from.unwrap_or_default(), |step| step.version),
        steps: pending
            .iter()
            .map(|step| PlannedStep { version: step.version, summary: step.summary, sql: step.sql })
            .collect(),
    })
}

/// How many rows of each kind a migrated database, or one of Flipt, holds.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Unavailable`].
pub async fn contents(database: &Database) -> Result<Vec<(&'static str, i64)>, StoreError> {
    let mut transaction = database.read().await?;
    let mut counts = Vec::new();
    for (table, name) in [
        ("namespaces", "namespaces"),
        ("flags", "flags"),
        ("variants", "variants"),
        ("segments", "segments"),
        ("constraints", "constraints"),
        ("rules", "rules"),
        ("distributions", "distributions"),
        ("rollouts", "rollouts"),
        ("authentications", "credentials"),
    ] {
        counts.push((name, transaction.count(&format!("SELECT COUNT(*) FROM {table}"), &[]).await?));
    }
    Ok(counts)
}

/// Checks by reading alone that the schema is as new as this program needs.
///
/// # Errors
/// [`StoreError::MigrationsPending`], also for an empty database; [`StoreError::Database`],
/// [`StoreError::Unavailable`].
pub async fn check(database: &Database) -> Result<(), StoreError> {
    match recorded(database).await? {
        Some(version) if version >= newest(database.dialect()) => Ok(()),
        _ => Err(StoreError::MigrationsPending),
    }
}

fn newest(dialect: Dialect) -> i64 {
    steps::of(dialect).last().map_or(0, |step| step.version)
}

/// The steps to run.
fn pending(dialect: Dialect, from: Option<i64>, policy: Policy) -> Result<&'static [Migration], StoreError> {
    let steps = steps::of(dialect);
    match from {
        None => Ok(steps),
        // A newer program ran here: migrations only add, so this one can serve.
        Some(version) if version >= newest(dialect) => Ok(&[]),
        // Ours, on top of Flipt's last, only add: a database of Flipt v1.61 is taken over as it is.
        Some(version) if version >= dialect.flipt_schema_version() => {
            let first = steps.iter().position(|step| step.version > version).unwrap_or(steps.len());
            Ok(steps.get(first..).unwrap_or_default())
        }
        Some(_) if policy == Policy::FirstRun => Err(StoreError::MigrationsPending),
        Some(version) => Err(StoreError::Invalid(format!(
            "schema version {version} is older than {}: upgrade the database with Flipt v1.61 first",
            dialect.flipt_schema_version()
        ))),
    }
}

/// The recorded version, read without changing anything; `None` on an empty database.
async fn recorded(database: &Database) -> Result<Option<i64>, StoreError> {
    let found: Result<_, StoreError> = retried!({
        let mut transaction = database.read().await?;
        version(&mut transaction).await
    });
    match found {
        Err(StoreError::Database(sqlx::Error::Database(error)))
            if matches!(error.code().as_deref(), Some("42P01" | "42S02"))
                || error.message().contains("no such table") =>
        {
            Ok(None)
        }
        outcome => outcome,
    }
}

async fn version(transaction: &mut Transaction) -> Result<Option<i64>, StoreError> {
    let recorded = transaction.fetch_optional("SELECT version, dirty FROM schema_migrations", &[]).await?;
    match recorded {
        None => Ok(None),
        Some(row) if row.bool(1)? => Err(StoreError::Invalid(format!(
            "Dirty database version {}. Fix and force version.",
            row.int(0)?
        ))),
        Some(row) => Ok(Some(row.int(0)?)),
    }
}

/// Runs every pending step in this transaction, which holds the lock.
pub(crate) async fn advance(transaction: &mut Transaction, policy: Policy) -> Result<Migrated, StoreError> {
    let dialect = transaction.dialect();
    transaction.script(bookkeeping(dialect)).await?;
    let from = version(transaction).await?;
    let mut to = from.unwrap_or_default();
    for step in pending(dialect, from, policy)? {
        if dialect.changes_schema_in_transactions() {
            transaction.patient_script(step.sql).await?;
        } else {
            for statement in steps::statements(step.sql) {
                tolerate(transaction.patient_script(statement).await)?;
            }
        }
        record(transaction, step.version).await?;
        to = step.version;
    }
    Ok(Migrated { from, to })
}

/// Runs every pending step, each statement in a transaction of its own.
async fn one_by_one(database: &Database, policy: Policy) -> Result<Migrated, StoreError> {
    run_alone(database, bookkeeping(database.dialect())).await?;
    let from = recorded(database).await?;
    let mut to = from.unwrap_or_default();
    for step in pending(database.dialect(), from, policy)? {
        for statement in steps::statements(step.sql) {
            tolerate(run_alone(database, statement).await)?;
        }
        let mut transaction = database.write().await?;
        record(&mut transaction, step.version).await?;
        transaction.commit().await?;
        to = step.version;
    }
    Ok(Migrated { from, to })
}

async fn run_alone(database: &Database, statement: &str) -> Result<(), StoreError> {
    retried!({
        let mut transaction = database.write().await?;
        transaction.patient_script(statement).await?;
        transaction.commit().await
    })
}

/// What is there already was made by a run that did not get to its end.
pub(super) fn tolerate(outcome: Result<(), StoreError>) -> Result<(), StoreError> {
    if let Err(StoreError::Database(sqlx::Error::Database(error))) = &outcome {
        let exists = match mysql_number(error.as_ref()) {
            // Table, column, row, index, foreign key.
            // 1005 stands for many failures; errno 121 is a foreign key of that name.
            Some(1005) => error.message().contains("errno: 121"),
            Some(number) => matches!(number, 1050 | 1060 | 1061 | 1062 | 1826 | 1022),
            None => matches!(error.code().as_deref(), Some("42P07" | "42701" | "42710" | "23505")),
        };
        if exists {
            return Ok(());
        }
    }
    outcome
}

/// The table of the recorded version, as Flipt's migrations make it.
const fn bookkeeping(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS schema_migrations (version uint64,dirty bool);
             CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON schema_migrations (version);"
        }
        Dialect::Postgres | Dialect::Cockroach | Dialect::MySql => {
            "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT NOT NULL PRIMARY KEY, dirty BOOLEAN NOT NULL)"
        }
    }
}

async fn record(transaction: &mut Transaction, version: i64) -> Result<(), StoreError> {
    // One statement where there is a row, so that it cannot get lost in between where each commits by itself.
    let changed = transaction
        .execute("UPDATE schema_migrations SET version = ?, dirty = ?", params![version, false])
        .await?;
    if changed == 0 {
        transaction
            .execute("INSERT INTO schema_migrations (version, dirty) VALUES (?, ?)", params![version, false])
            .await?;
    }
    Ok(())
}
