//! The first static token, without which nobody could create one (auth spec, section 6.1).

use flipt_proto::auth as pb;
use flipt_serving::{Code, Error};
use flipt_store::{NewAuthentication, StoreError};

use crate::{
    Authentications,
    authentications::{failed, now},
    client_token,
    static_token::{DESCRIPTION, NAME},
};

impl Authentications {
    /// Creates the first static token, if the method is enabled and there is none, not even an expired one.
    ///
    /// A random token is written to the log, because nobody could ever learn it otherwise. One that was
    /// configured is known already and stays out of it.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub async fn bootstrap(&self) -> Result<(), Error> {
        let Some(token) = &self.config().token else { return Ok(()) };
        let bootstrap = &token.bootstrap;
        let configured = bootstrap.token.as_ref().map(|token| token.expose().to_owned());
        let is_random = configured.is_none();
        let client_token = match configured {
            Some(token) => token,
            None => client_token::generate()
                .map_err(|_| Error::new(Code::Internal, "the system has no randomness for a token"))?,
        };
        let mut metadata = std::collections::BTreeMap::from([
            (NAME.to_owned(), "initial_bootstrap_token".to_owned()),
            (DESCRIPTION.to_owned(), "Initial token created when bootstrapping authentication".to_owned()),
        ]);
        metadata.extend(bootstrap.metadata.clone());
        let lifetime =
            bootstrap.expiration.map(|lifetime| i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX));
        let new = NewAuthentication {
            method: pb::Method::Token,
            token_hash: client_token::hash(&client_token),
            expires_at: lifetime.map(|lifetime| now().saturating_add(lifetime)),
            metadata,
        };
        let created = match self.store.create_first_authentication(&new).await {
            // A server on a replica of the database: whoever may write to it creates the first token.
            Err(StoreError::ReadOnly) => return Ok(()),
            outcome => outcome.map_err(failed)?,
        };
        if created.is_some() {
            if is_random {
                tracing::info!(client_token, "access token created");
            } else {
                tracing::info!("access token created as configured");
            }
        }
        Ok(())
    }
}
