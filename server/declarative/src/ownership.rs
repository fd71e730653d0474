//! Ownership of documents: they belong to whoever writes them, and no object of a cluster can claim a part of them.

use async_trait::async_trait;
use flipt_model::ownership::Owner;
use flipt_store::{
    Applied, Changed, Claims, Desired, Environment as _, History, Managed, Ownership, Released, ResourceName,
    StoreError, Switch, Version,
};

use crate::DeclarativeStore;

#[async_trait]
impl Ownership for DeclarativeStore {
    async fn apply_owned(&self, _: &Desired) -> Result<(Applied, Version), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn release(&self, _: &ResourceName, _: &Owner, _: bool) -> Result<(Released, Version), StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn list_managed(&self, _: Claims<'_>) -> Result<(Vec<Managed>, Version), StoreError> {
        Ok((Vec::new(), self.live().version.clone()))
    }

    /// There is no log of changes: another version is all that is known.
    async fn changes_since(&self, since: &str) -> Result<Changed, StoreError> {
        let version = self.live().version.clone();
        let history = if version.text() == since { History::Known } else { History::Lost };
        Ok(Changed { version, resources: Vec::new(), history })
    }

    async fn begin_override(&self, _: &ResourceName, _: &Switch) -> Result<Managed, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn end_override(&self, _: &ResourceName) -> Result<Managed, StoreError> {
        Err(StoreError::ReadOnly)
    }
}
