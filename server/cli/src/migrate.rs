//! `flipt migrate`.

use std::{fmt::Write as _, process::ExitCode};

use flipt_config::Config;
use flipt_store::{
    Dialect,
    migrations::{self, Plan, Policy},
};

use crate::{arguments::MigrateOptions, config::Sources, database, failure::Failure, progress::Progress};

/// Runs all pending migrations, or says what they would do.
pub(crate) async fn run(sources: &Sources, options: &MigrateOptions) -> Result<ExitCode, Failure> {
    debug_assert_eq!(options.database, "default");
    let config = sources.load_and_log(false)?;
    if options.dry_run {
        print!("{}", describe(&config).await?);
        return Ok(ExitCode::SUCCESS);
    }
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

/// What a run would do, for a person to read. Nothing is changed.
async fn describe(config: &Config) -> Result<String, Failure> {
    let database = database::look_at(config).await?;
    let failed = |error| Failure::new(format!("running migrator {error}"));
    let plan = migrations::plan(&database).await.map_err(failed)?;
    let contents = match plan.from {
        Some(_) => migrations::contents(&database).await.map_err(failed)?,
        None => Vec::new(),
    };
    let mut text = format!("database:  {}\n", database.place());
    let by_flipt = plan.from == Some(database.dialect().flipt_schema_version());
    let origin = if by_flipt { " (as Flipt v1.61 leaves it)" } else { "" };
    match plan.from {
        Some(from) => writeln!(text, "schema:    version {from}{origin}"),
        None => writeln!(text, "schema:    none; the database is empty"),
    }
    .map_err(Failure::new)?;
    if !contents.is_empty() {
        let counts: Vec<String> = contents.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(text, "contents:  {}", counts.join(", ")).map_err(Failure::new)?;
    }
    write_steps(&mut text, &plan, database.dialect()).map_err(Failure::new)?;
    database.close().await;
    Ok(text)
}

fn write_steps(text: &mut String, plan: &Plan, dialect: Dialect) -> std::fmt::Result {
    if plan.steps.is_empty() {
        return writeln!(text, "\nNothing to do: the schema is current.");
    }
    writeln!(text, "\nA migration would lead to version {}:", plan.to)?;
    for step in &plan.steps {
        writeln!(text, "\n  {}  {}", step.version, step.summary)?;
        for line in step.sql.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("--")) {
            writeln!(text, "        {line}")?;
        }
    }
    if plan.from.is_some() {
        writeln!(
            text,
            "\nRows stay as they are; the statements above only add. Evaluations answer as before, and so do the\n\
             tokens. Stop the servers of Flipt itself on this database: they would not tell ours of their\n\
             writes. A server of Flipt v1.61 can still be started on it again, should you want to go back."
        )?;
    }
    if !dialect.changes_schema_in_transactions() {
        writeln!(
            text,
            "This database changes its schema one statement at a time: should the migration be cut off, run it\n\
             again, and it goes on where it was."
        )?;
    }
    writeln!(text, "\nNothing was changed. Back up, then run `flipt migrate`.")
}
