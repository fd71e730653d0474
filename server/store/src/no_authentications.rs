//! Credentials where nothing keeps any.

use async_trait::async_trait;
use flipt_proto::auth as pb;

use crate::{AuthenticationPage, AuthenticationStore, NewAuthentication, StoreError};

/// Credentials of a server that has no database: there are none, and there can be none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAuthentications;

#[async_trait]
impl AuthenticationStore for NoAuthentications {
    fn revision(&self) -> String {
        String::new()
    }

    async fn create_authentication(&self, _: &NewAuthentication) -> Result<pb::Authentication, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create_first_authentication(
        &self,
        _: &NewAuthentication,
    ) -> Result<Option<pb::Authentication>, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn find_authentication(&self, _: &str) -> Result<Option<(pb::Authentication, String)>, StoreError> {
        Ok(None)
    }

    async fn get_authentication(&self, _: &str) -> Result<Option<pb::Authentication>, StoreError> {
        Ok(None)
    }

    async fn list_authentications(
        &self,
        _: AuthenticationPage,
    ) -> Result<(Vec<pb::Authentication>, bool), StoreError> {
        Ok((Vec::new(), false))
    }

    async fn delete_authentication(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire_authentication(&self, _: &str, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete_expired_authentications(&self, _: pb::Method, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn acquire_operation(&self, _: &str, _: i64, until: i64) -> Result<(bool, i64), StoreError> {
        Ok((false, until))
    }
}
