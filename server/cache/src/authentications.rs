//! Credentials of callers through a cache: every call that needs them looks them up.

use std::sync::Arc;

use async_trait::async_trait;
use flipt_proto::auth as pb;
use flipt_store::{AuthenticationPage, AuthenticationStore, NewAuthentication, StoreError};

use crate::Cache;

/// Credentials whose lookup by token is cached. Everything else is the inner store's own.
///
/// # Guarantees
/// - Whatever this process did to credentials is in force for the next lookup: the revision, which names what is
///   cached, is taken before anything is read. What other processes do is, once the inner store's revision tells
///   of it.
/// - Tokens that nobody has are looked up each time; their hashes take no room.
///
/// # Caveats
/// The end of credentials is part of what is cached; whoever looks them up compares it with the time.
pub struct CachedAuthentications {
    inner: Arc<dyn AuthenticationStore>,
    cache: Cache,
}

impl CachedAuthentications {
    /// Lookups of a store's credentials through a cache.
    #[must_use]
    pub fn new(inner: Arc<dyn AuthenticationStore>, cache: Cache) -> Self {
        Self { inner, cache }
    }
}

#[async_trait]
impl AuthenticationStore for CachedAuthentications {
    fn revision(&self) -> String {
        self.inner.revision()
    }

    async fn find_authentication(
        &self,
        token_hash: &str,
    ) -> Result<Option<(pb::Authentication, String)>, StoreError> {
        let revision = self.inner.revision();
        let key = self.cache.keys().of_credentials(&revision, token_hash);
        if let Some(authentication) = self.cache.get(&key).await {
            return Ok(Some((authentication, token_hash.to_owned())));
        }
        let found = self.inner.find_authentication(token_hash).await?;
        if let Some((authentication, stored)) = &found {
            // Databases may compare texts more generously than we do: only what is the very same is kept.
            if stored == token_hash && self.inner.revision() == revision {
                self.cache.set(key, authentication).await;
            }
        }
        Ok(found)
    }

    async fn create_authentication(&self, new: &NewAuthentication) -> Result<pb::Authentication, StoreError> {
        self.inner.create_authentication(new).await
    }

    async fn create_first_authentication(
        &self,
        new: &NewAuthentication,
    ) -> Result<Option<pb::Authentication>, StoreError> {
        self.inner.create_first_authentication(new).await
    }

    async fn get_authentication(&self, id: &str) -> Result<Option<pb::Authentication>, StoreError> {
        self.inner.get_authentication(id).await
    }

    async fn list_authentications(
        &self,
        page: AuthenticationPage,
    ) -> Result<(Vec<pb::Authentication>, bool), StoreError> {
        self.inner.list_authentications(page).await
    }

    async fn delete_authentication(&self, id: &str) -> Result<(), StoreError> {
        self.inner.delete_authentication(id).await
    }

    async fn expire_authentication(&self, id: &str, expires_at: i64) -> Result<(), StoreError> {
        self.inner.expire_authentication(id, expires_at).await
    }

    async fn delete_expired_authentications(
        &self,
        method: pb::Method,
        before: i64,
    ) -> Result<u64, StoreError> {
        self.inner.delete_expired_authentications(method, before).await
    }

    async fn acquire_operation(
        &self,
        operation: &str,
        now: i64,
        until: i64,
    ) -> Result<(bool, i64), StoreError> {
        self.inner.acquire_operation(operation, now, until).await
    }
}
