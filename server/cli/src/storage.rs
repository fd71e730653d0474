//! The store of the configured kind, for the server.

use std::{future::Future, sync::Arc, time::Duration};

use flipt_config::{Config, StorageType};
use flipt_declarative::{DeclarativeStore, Folder, Follower};
use flipt_store::{SqlStore, Store, migrations::Policy};
use flipt_telemetry::Registry;

use crate::{database, failure::Failure};

/// How often the database is asked for writes of other processes.
const REFRESH: Duration = Duration::from_secs(1);

/// A store with what keeps it current.
pub(crate) struct Storage {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keeper: Keeper,
}

/// What keeps a store current.
pub(crate) enum Keeper {
    /// Describes a database that other processes write to as well.
    Database(SqlStore),
    /// Describes documents that somebody else keeps.
    Documents(Box<Follower>),
}

/// Opens the store that the configuration names. Its first state is loaded when this returns.
pub(crate) async fn open(config: &Config, policy: Policy, registry: &Registry) -> Result<Storage, Failure> {
    match &config.storage.kind {
        StorageType::Database => {
            let store = database::open_store(config, policy).await?;
            Ok(Storage { store: Arc::new(store.clone()), keeper: Keeper::Database(store) })
        }
        StorageType::Local(local) => {
            let source = Box::new(Folder::new(&local.path));
            let opened = DeclarativeStore::open(source, local.poll_interval, registry).await;
            let (store, follower) = opened.map_err(Failure::new)?;
            Ok(Storage { store: Arc::new(store), keeper: Keeper::Documents(Box::new(follower)) })
        }
        kind @ (StorageType::Git | StorageType::Object | StorageType::Oci) => Err(Failure::new(format!(
            "storage.type: {} is not supported yet; use database or local",
            kind.name()
        ))),
    }
}

impl Keeper {
    /// Keeps the store current until told to stop.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        match self {
            Self::Database(store) => refresh(&store, shutdown).await,
            Self::Documents(follower) => follower.run(shutdown).await,
        }
    }

    /// The database behind the store, if there is one.
    pub(crate) fn database(&self) -> Option<SqlStore> {
        match self {
            Self::Database(store) => Some(store.clone()),
            Self::Documents(_) => None,
        }
    }
}

/// Keeps the compiled state current although other processes write to the database.
async fn refresh(store: &SqlStore, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut failing = false;
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
        let refreshed = store.refresh().await;
        if let (Err(error), false) = (&refreshed, failing) {
            tracing::error!(error = %error, "database not readable; evaluations go on with the last state");
        }
        failing = refreshed.is_err();
    }
}
