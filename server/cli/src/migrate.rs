//! `flipt migrate`.

use std::process::ExitCode;

use flipt_store::migrations::{self, Policy};

use crate::{arguments::MigrateOptions, config::Sources, database, failure::Failure, progress::Progress};

/// Runs all pending migrations.
pub(crate) async fn run(sources: &Sources, options: &MigrateOptions) -> Result<ExitCode, Failure> {
    debug_assert_eq!(options.database, "default");
    let config = sources.load_and_log(false)?;
    let database = database::open(&config).await?;
    let progress = Progress::of("migrating the database");
    let migrated = migrations::run(&database, Policy::Forced)
        .await
        .map_err(|error| Failure::new(format!("running migrator {error}")))?;
    drop(progress);
    match migrated.from {
        Some(from) if from >= migrated.to => {
            tracing::info!(version = migrated.to, "database schema is current")
        }
        from => tracing::info!(from, to = migrated.to, "database schema migrated"),
    }
    database.close().await;
    Ok(ExitCode::SUCCESS)
}
