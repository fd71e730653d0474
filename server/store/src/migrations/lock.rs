//! Who may migrate: one program at a time (storage spec, section 3.3).

use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, sleep};

use crate::{
    Database, StoreError,
    database::{Dialect, Param, Transaction, params},
    sql::new_id,
};

/// How long to wait for another program.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often to look.
const INTERVAL: Duration = Duration::from_millis(100);
/// Number of PostgreSQL's advisory lock; any that nobody else uses.
const ADVISORY_LOCK: i64 = 0x666c_6970_7400;
/// Name of MySQL's lock: names are common to all databases of a server.
const MYSQL_LOCK: &str = "CONCAT('flipt.migrations.', MD5(DATABASE()))";
/// How long a lease on CockroachDB counts if its holder does not give it back.
const LEASE: Duration = Duration::from_secs(180);

fn busy() -> StoreError {
    StoreError::Unavailable(format!(
        "another program has been migrating for more than {} s",
        PATIENCE.as_secs()
    ))
}

/// Takes the lock for a transaction. SQLite's write transactions exclude each other.
pub(super) async fn acquire(transaction: &mut Transaction) -> Result<(), StoreError> {
    match transaction.dialect() {
        Dialect::Sqlite | Dialect::Cockroach => Ok(()),
        Dialect::Postgres => {
            let deadline = Instant::now() + PATIENCE;
            // Ends with the transaction. Looked for again and again, because waiting has no limit of its own.
            while !transaction
                .fetch_optional("SELECT pg_try_advisory_xact_lock(?)", params![ADVISORY_LOCK])
                .await?
                .map_or(Ok(false), |row| row.bool(0))?
            {
                if Instant::now() > deadline {
                    return Err(busy());
                }
                sleep(INTERVAL).await;
            }
            Ok(())
        }
        Dialect::MySql => {
            let sql = format!("SELECT GET_LOCK({MYSQL_LOCK}, {})", PATIENCE.as_secs());
            if transaction.count(&sql, &[]).await? == 1 { Ok(()) } else { Err(busy()) }
        }
    }
}

/// Gives back what does not end with the transaction.
pub(super) async fn release(transaction: &mut Transaction) -> Result<(), StoreError> {
    if transaction.dialect() == Dialect::MySql {
        let sql = format!("SELECT RELEASE_LOCK({MYSQL_LOCK})");
        transaction.fetch_all(&sql, &[]).await?;
    }
    Ok(())
}

/// Does something while holding a lease, for databases without locks that outlive a transaction. A lease whose
/// holder died counts for a few minutes.
pub(super) async fn with_lease<T, F: Future<Output = Result<T, StoreError>>>(
    database: &Database,
    action: impl FnOnce() -> F,
) -> Result<T, StoreError> {
    let holder = new_id();
    // Several may do this at once.
    super::tolerate(
        super::run_alone(
            database,
            "CREATE TABLE IF NOT EXISTS migration_lease (
               name VARCHAR(255) PRIMARY KEY NOT NULL, holder VARCHAR(255) NOT NULL, held_until BIGINT NOT NULL)",
        )
        .await,
    )?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match take_lease(database, &holder).await {
            Ok(true) => break,
            // Lost against another program that wants it too.
            Ok(false) => {}
            Err(error) if error.is_lost_race() || error.is_duplicate() => {}
            Err(error) => return Err(error),
        }
        if Instant::now() > deadline {
            return Err(busy());
        }
        sleep(INTERVAL).await;
    }
    let outcome = action().await;
    let mut transaction = database.write().await?;
    let sql = "DELETE FROM migration_lease WHERE holder = ?";
    transaction.execute(sql, params![&holder]).await?;
    transaction.commit().await?;
    outcome
}

async fn take_lease(database: &Database, holder: &str) -> Result<bool, StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let mut transaction = database.write().await?;
    let held = transaction
        .fetch_optional("SELECT held_until FROM migration_lease WHERE name = ? FOR UPDATE", params!["schema"])
        .await?;
    let (holder, until) = (Param::from(holder), Param::Int(seconds(now + LEASE)));
    match held {
        Some(row) if row.int(0)? > seconds(now) => return Ok(false),
        Some(_) => {
            let sql = "UPDATE migration_lease SET holder = ?, held_until = ? WHERE name = ?";
            transaction.execute(sql, &[holder, until, "schema".into()]).await?;
        }
        None => {
            let sql = "INSERT INTO migration_lease (name, holder, held_until) VALUES (?, ?, ?)";
            transaction.execute(sql, &["schema".into(), holder, until]).await?;
        }
    }
    transaction.commit().await?;
    Ok(true)
}
