//! Claims of owners, past the cache: owners compare what is stored now.

use async_trait::async_trait;
use flipt_model::ownership::Owner;
use flipt_store::{
    Applied, Changed, Claims, Desired, Environment, Managed, Ownership, Released, ResourceName, StoreError,
    Switch, Version,
};

use crate::Cached;

#[async_trait]
impl<T: Environment + ?Sized> Ownership for Cached<T> {
    async fn apply_owned(&self, desired: &Desired) -> Result<(Applied, Version), StoreError> {
        self.inner.apply_owned(desired).await
    }

    async fn release(
        &self,
        name: &ResourceName,
        owner: &Owner,
        delete: bool,
    ) -> Result<(Released, Version), StoreError> {
        self.inner.release(name, owner, delete).await
    }

    async fn list_managed(&self, claims: Claims<'_>) -> Result<(Vec<Managed>, Version), StoreError> {
        self.inner.list_managed(claims).await
    }

    async fn changes_since(&self, since: &str) -> Result<Changed, StoreError> {
        self.inner.changes_since(since).await
    }

    async fn begin_override(&self, flag: &ResourceName, switch: &Switch) -> Result<Managed, StoreError> {
        self.inner.begin_override(flag, switch).await
    }

    async fn end_override(&self, flag: &ResourceName) -> Result<Managed, StoreError> {
        self.inner.end_override(flag).await
    }
}
