//! The storage of the configured kind, for the server.

use std::{future::Future, sync::Arc, time::Duration};

use flipt_cache::{Cache, Cached, CachedAuthentications};
use flipt_config::{Config, StorageType};
use flipt_declarative::{DeclarativeStore, Folder, Follower, OpenError};
use flipt_store::{
    AuthenticationStore, Database, Environments, NoAuthentications, SqlEnvironments, migrations::Policy,
};
use flipt_telemetry::Registry;
use futures::FutureExt as _;
use tokio::sync::Notify;

use crate::{database, database_metrics, failure::Failure};

/// How often the database is asked for writes of other servers, beside what it tells by itself.
const REFRESH: Duration = Duration::from_millis(250);
/// How long to wait before listening again to a database that could not be listened to.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What a server serves, with what keeps it current.
pub(crate) struct Storage {
    pub(crate) environments: Environments,
    /// Who may call.
    pub(crate) credentials: Arc<dyn AuthenticationStore>,
    pub(crate) keeper: Keeper,
    /// Where reads of the database are answered from, if they are cached.
    pub(crate) cache: Option<Cache>,
    /// The database that was opened, if any.
    pub(crate) database: Option<Arc<SqlEnvironments>>,
}

/// What keeps a store current.
pub(crate) enum Keeper {
    /// Describes a database that other processes write to as well.
    Database(Arc<SqlEnvironments>),
    /// Describes documents that somebody else keeps.
    Documents(Box<Follower>),
}

/// Opens the storage that the configuration names. Its first state is loaded when this returns.
pub(crate) async fn open(config: &Config, policy: Policy, registry: &Registry) -> Result<Storage, Failure> {
    match &config.storage.kind {
        StorageType::Database => {
            let database = Arc::new(database::open_environments(config, policy).await?);
            database_metrics::register(database.database(), registry).map_err(Failure::new)?;
            let (mut environments, mut credentials) = (database.shared(), database.authentications());
            let cache = open_cache(config, registry).await?;
            if let Some(cache) = &cache {
                environments = environments.map(
                    |key, store| Arc::new(Cached::new(store, cache.clone(), key)),
                    |key, environment| Arc::new(Cached::new(environment, cache.clone(), key)),
                );
                credentials = Arc::new(CachedAuthentications::new(credentials, cache.clone()));
            }
            let keeper = Keeper::Database(Arc::clone(&database));
            Ok(Storage { environments, credentials, keeper, cache, database: Some(database) })
        }
        StorageType::Local(local) => {
            if let Some(other) = config.environments.others.first() {
                return Err(Failure::new(format!(
                    "environments: a folder is one environment, there is no place for {other:?}; remove it, or set \
                     storage.type to database"
                )));
            }
            let source = Box::new(Folder::new(&local.path));
            let opened = DeclarativeStore::open(source, local.poll_interval, registry).await;
            let (store, follower) = opened.map_err(|error| match error {
                OpenError::Source(_) => Failure::new(format!("storage.local.path: {error}")),
                other => Failure::new(other),
            })?;
            let environments = Environments::single(&config.environments.default, Arc::new(store));
            // Credentials live in the database whatever flag state lives in, if there can be any.
            let database = match &config.authentication.token {
                Some(_) => Some(Arc::new(database::open_environments(config, policy).await?)),
                None => None,
            };
            let credentials = database
                .as_ref()
                .map_or_else(|| Arc::new(NoAuthentications) as _, |database| database.authentications());
            if config.cache.enabled {
                tracing::warn!("cache.enabled has no effect with storage.type local: its state is in memory");
            }
            let keeper = Keeper::Documents(Box::new(follower));
            Ok(Storage { environments, credentials, keeper, cache: None, database })
        }
        kind @ (StorageType::Git | StorageType::Object | StorageType::Oci) => Err(Failure::new(format!(
            "storage.type: {} is not supported yet; use database or local",
            kind.name()
        ))),
    }
}

/// The configured cache, if it is on.
async fn open_cache(config: &Config, registry: &Registry) -> Result<Option<Cache>, Failure> {
    if !config.cache.enabled {
        return Ok(None);
    }
    Cache::open(&config.cache, registry).await.map(Some).map_err(Failure::new)
}

impl Keeper {
    /// Keeps the store current until told to stop.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        match self {
            Self::Database(database) => {
                let shutdown = shutdown.shared();
                tokio::join!(refresh(&database, shutdown.clone()), database.end_overrides(shutdown));
            }
            Self::Documents(follower) => follower.run(shutdown).await,
        }
    }
}

/// Keeps the compiled state current although other servers write to the database.
async fn refresh(database: &SqlEnvironments, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let told = Notify::new();
    let mut listening = std::pin::pin!(listen(database.database(), &told));
    let mut is_listening = true;
    let mut failing = false;
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = &mut listening, if is_listening => {
                is_listening = false;
                continue;
            }
            () = told.notified() => {}
            () = tokio::time::sleep(REFRESH) => {}
        }
        let refreshed = database.refresh().await;
        match (&refreshed, failing) {
            (Err(error), false) => {
                tracing::error!(error = %error, "database not readable; evaluations go on with the last state");
            }
            (Ok(()), true) => tracing::info!("database readable again"),
            _ => {}
        }
        failing = refreshed.is_err();
    }
}

/// Passes on what the database tells of writes; ends if it is of a kind that tells nothing.
async fn listen(database: &Database, told: &Notify) {
    loop {
        match database.listen().await {
            Ok(None) => return,
            // Also a replica of the database that only reads, which may become a primary.
            Err(error) => tracing::debug!(error = %error, "not listening to the database"),
            Ok(Some(mut listener)) => {
                while listener.changed().await.is_ok() {
                    told.notify_one();
                }
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
