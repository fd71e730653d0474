//! Opening the configured database for a command.

use flipt_config::Config;
use flipt_store::{
    ConnectError, Database, DatabaseOptions, SqlEnvironments, SqlStore,
    migrations::{self, Policy},
};

use crate::failure::Failure;

/// Opens the database, creating it if it is a file that does not exist.
pub(crate) async fn open(config: &Config) -> Result<Database, Failure> {
    connect(config, options(config, true)).await
}

const fn options(config: &Config, create: bool) -> DatabaseOptions {
    DatabaseOptions {
        idle_connections: config.database.max_idle_connections,
        open_connections: config.database.max_open_connections,
        lifetime: config.database.connection_lifetime,
        prepared_statements: config.database.prepared_statements,
        create,
    }
}

async fn connect(config: &Config, options: DatabaseOptions) -> Result<Database, Failure> {
    Database::open(&config.database.url, options).await.map_err(|error| {
        if matches!(error, ConnectError::Url(_)) {
            // The error's text is one that scripts know; it names neither the key nor what is allowed.
            tracing::info!(
                key = "db.url",
                allowed =
                    "file:PATH, or postgres://, cockroach:// or mysql:// with //USER:PASSWORD@HOST:PORT/NAME",
                "configuration value refused"
            );
        }
        Failure::new(format!("opening db: {error}"))
    })
}

/// Opens the default environment's store after migrating as the policy allows.
pub(crate) async fn open_store(config: &Config, policy: Policy) -> Result<SqlStore, Failure> {
    SqlStore::open(open_migrated(config, policy).await?).await.map_err(Failure::new)
}

/// Opens every environment after migrating as the policy allows.
pub(crate) async fn open_environments(config: &Config, policy: Policy) -> Result<SqlEnvironments, Failure> {
    let database = open_migrated(config, policy).await?;
    let environments = &config.environments;
    let others = environments.others.iter().map(String::as_str);
    SqlEnvironments::open(database, &environments.default, others).await.map_err(Failure::new)
}

async fn open_migrated(config: &Config, policy: Policy) -> Result<Database, Failure> {
    let database = open(config).await?;
    let migrated = migrations::run(&database, policy).await.map_err(Failure::new)?;
    if migrated.from != Some(migrated.to) {
        tracing::info!(from = migrated.from, to = migrated.to, "database schema migrated");
    }
    Ok(database)
}

/// Opens a database that must exist, whatever its schema is.
pub(crate) async fn look_at(config: &Config) -> Result<Database, Failure> {
    connect(config, options(config, false)).await
}

/// Opens a database that must exist and be current; nothing is migrated.
pub(crate) async fn open_existing(config: &Config) -> Result<Database, Failure> {
    let database = look_at(config).await?;
    migrations::check(&database).await.map_err(Failure::new)?;
    Ok(database)
}
