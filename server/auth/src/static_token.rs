//! Method `token`: static tokens that administrators create (auth spec, section 6).

use std::collections::BTreeMap;

use flipt_proto::auth as pb;
use flipt_serving::{Code, Error};
use flipt_store::NewAuthentication;

use crate::{
    Authentications,
    authentications::{failed, instant},
    client_token,
};

/// Metadata key of a token's name.
pub(crate) const NAME: &str = "io.flipt.auth.token.name";
/// Metadata key of a token's description.
pub(crate) const DESCRIPTION: &str = "io.flipt.auth.token.description";
/// Metadata key of the namespace that a token is bound to.
pub(crate) const NAMESPACE: &str = "io.flipt.auth.token.namespace";

impl Authentications {
    /// Creates a static token. The answer is the only place where it can be read.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for a time that is none, [`Code::Internal`].
    pub async fn create_token(
        &self,
        request: &pb::CreateTokenRequest,
    ) -> Result<pb::CreateTokenResponse, Error> {
        let mut metadata: BTreeMap<String, String> = request.metadata.clone().into_iter().collect();
        metadata.insert(NAME.to_owned(), request.name.clone());
        for (key, value) in [(DESCRIPTION, &request.description), (NAMESPACE, &request.namespace_key)] {
            if !value.is_empty() {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
        let expires_at =
            request.expires_at.as_ref().map(|timestamp| instant("expiresAt", timestamp)).transpose()?;
        let client_token = client_token::generate()
            .map_err(|_| Error::new(Code::Internal, "the system has no randomness for a token"))?;
        let new = NewAuthentication {
            method: pb::Method::Token,
            token_hash: client_token::hash(&client_token),
            expires_at,
            metadata,
        };
        let authentication = self.store.create_authentication(&new).await.map_err(failed)?;
        Ok(pb::CreateTokenResponse { client_token, authentication: Some(authentication) })
    }
}
