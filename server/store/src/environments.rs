//! Every environment that a server serves: a layer above namespaces.

use std::{collections::BTreeMap, sync::Arc};

use flipt_model::DEFAULT_ENVIRONMENT;
use futures::{FutureExt as _, future::join_all};

use crate::{
    AuthenticationStore, Database, Environment, SqlStore, Store, StoreError, database::params,
    sql::CREDENTIALS, state, writer::looked_up,
};

/// The environments of a server. One of them is the default: the one that the v1 API knows.
#[derive(Clone)]
pub struct Environments {
    default_key: String,
    default: Arc<dyn Store>,
    others: BTreeMap<String, Arc<dyn Environment>>,
}

impl Environments {
    /// A server with one environment of this name.
    #[must_use]
    pub fn single(key: &str, store: Arc<dyn Store>) -> Self {
        Self { default_key: key.to_owned(), default: store, others: BTreeMap::new() }
    }

    /// The same environments, each as something made of it that is told its key.
    #[must_use]
    pub fn map(
        self,
        default: impl FnOnce(&str, Arc<dyn Store>) -> Arc<dyn Store>,
        other: impl Fn(&str, Arc<dyn Environment>) -> Arc<dyn Environment>,
    ) -> Self {
        let Self { default_key, default: store, others } = self;
        let others = others.into_iter().map(|(key, environment)| {
            let mapped = other(&key, environment);
            (key, mapped)
        });
        Self { default: default(&default_key, store), others: others.collect(), default_key }
    }

    /// The store of the default environment.
    #[must_use]
    pub fn default_store(&self) -> &Arc<dyn Store> {
        &self.default
    }

    /// The key of the default environment.
    #[must_use]
    pub fn default_key(&self) -> &str {
        &self.default_key
    }

    /// Whether there is nothing to choose from.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// The environment with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<dyn Environment>> {
        if key == self.default_key {
            return Some(Arc::clone(&self.default) as Arc<dyn Environment>);
        }
        self.others.get(key).cloned()
    }

    /// The environment that a request means which names one only if it wants to.
    ///
    /// With a single environment every name means that one, because clients of Flipt v1 may send any
    /// (api spec, item 52). With several, a name that nobody has is refused, except `default` for the default
    /// one (v2 spec, section 3.3).
    #[must_use]
    pub fn resolve(&self, requested: &str) -> Option<(&str, Arc<dyn Environment>)> {
        if !requested.is_empty() && !self.is_single() {
            if let Some((key, environment)) = self.others.get_key_value(requested) {
                return Some((key, Arc::clone(environment)));
            }
            if requested != self.default_key && requested != DEFAULT_ENVIRONMENT {
                return None;
            }
        }
        Some((&self.default_key, Arc::clone(&self.default) as Arc<dyn Environment>))
    }

    /// Every environment with its key, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Arc<dyn Environment>)> {
        let default = Arc::clone(&self.default) as Arc<dyn Environment>;
        let others = self.others.iter().map(|(key, store)| (key.as_str(), Arc::clone(store)));
        std::iter::once((self.default_key.as_str(), default)).chain(others)
    }
}

/// The environments of one SQL database.
pub struct SqlEnvironments {
    default_key: String,
    default: SqlStore,
    others: BTreeMap<String, SqlStore>,
}

impl SqlEnvironments {
    /// Opens every environment of a migrated database, creating those that do not exist.
    ///
    /// The state that the database had before there was anything to choose from, and that of Flipt itself,
    /// belongs to the default environment, whatever the configuration calls it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the configured default is another one than the database has: state would
    /// silently change its environment.
    pub async fn open<'a>(
        database: Database,
        default_key: &str,
        others: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, StoreError> {
        let others: Vec<&str> = others.into_iter().collect();
        let default = SqlStore::open(database.clone()).await?;
        name_default(&database, default_key, &others).await?;
        let mut opened = BTreeMap::new();
        for key in others {
            opened.insert(key.to_owned(), default.open_environment(key).await?);
        }
        Ok(Self { default_key: default_key.to_owned(), default, others: opened })
    }

    /// What the rest of the server works with.
    #[must_use]
    pub fn shared(&self) -> Environments {
        Environments {
            default_key: self.default_key.clone(),
            default: Arc::new(self.default.clone()),
            others: self
                .others
                .iter()
                .map(|(key, store)| (key.clone(), Arc::new(store.clone()) as Arc<dyn Environment>))
                .collect(),
        }
    }

    /// The credentials of the database. They belong to no environment.
    #[must_use]
    pub fn authentications(&self) -> Arc<dyn AuthenticationStore> {
        Arc::new(self.default.clone())
    }

    /// Catches up with writes of other processes, in every environment.
    ///
    /// # Errors
    /// [`StoreError`] of the first environment that failed; the others caught up all the same.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let database = self.default.database();
        let recorded = looked_up!(database, |transaction| state::versions(transaction))?;
        let mut outcome = match recorded.get(CREDENTIALS) {
            Some(version) => self.default.catch_up_with_credentials(version).await,
            None => Ok(()),
        };
        for store in std::iter::once(&self.default).chain(self.others.values()) {
            if let Some(version) = recorded.get(&store.place().row) {
                outcome = outcome.and(store.catch_up_with(version).await);
            }
        }
        outcome
    }

    /// Ends overrides of owned flags in time, in every environment, until told to stop.
    pub async fn end_overrides(&self, stop: impl Future<Output = ()>) {
        let stop = stop.shared();
        let stores = std::iter::once(&self.default).chain(self.others.values());
        join_all(stores.map(|store| store.end_overrides(stop.clone()))).await;
    }

    /// The database.
    #[must_use]
    pub const fn database(&self) -> &Database {
        self.default.database()
    }

    /// Closes every connection, after the transactions that are still open.
    pub async fn close(&self) {
        self.default.close().await;
    }
}

/// Records what the default environment is called, and refuses a name that would move state to another one.
async fn name_default(database: &Database, key: &str, others: &[&str]) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    let recorded = transaction
        .fetch_optional("SELECT name FROM environments WHERE \"key\" = ?", params![DEFAULT_ENVIRONMENT])
        .await?
        .map(|row| row.text(0))
        .transpose()?
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned());
    let elsewhere = key != DEFAULT_ENVIRONMENT
        && transaction.exists("SELECT 1 FROM environments WHERE \"key\" = ?", params![key]).await?;
    if recorded != key && (elsewhere || others.contains(&recorded.as_str())) {
        return Err(StoreError::Invalid(format!(
            "environments: the default environment of this database is {recorded:?}; \
             set environments.{recorded}.default: true instead of environments.{key}.default"
        )));
    }
    if recorded != key {
        tracing::info!(before = recorded, now = key, "default environment renamed");
        transaction
            .execute("UPDATE environments SET name = ? WHERE \"key\" = ?", params![key, DEFAULT_ENVIRONMENT])
            .await?;
    }
    transaction.commit().await
}
