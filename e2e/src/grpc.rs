//! gRPC clients of the product's services.

use flipt_proto::{
    auth::{
        authentication_method_kubernetes_service_client::AuthenticationMethodKubernetesServiceClient,
        authentication_method_token_service_client::AuthenticationMethodTokenServiceClient,
        authentication_service_client::AuthenticationServiceClient,
    },
    evaluation::evaluation_service_client::EvaluationServiceClient,
    flipt::flipt_client::FliptClient,
    meta::metadata_service_client::MetadataServiceClient,
    ofrep::ofrep_service_client::OfrepServiceClient,
    ownership::ownership_service_client::OwnershipServiceClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::{Failure, Result};

/// A connection that is made when it is needed.
#[derive(Debug, Clone)]
pub struct Grpc(Channel);

impl Grpc {
    /// A connection to this `http://` address.
    ///
    /// # Errors
    /// If this is no address.
    pub fn to(url: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| Failure::new(format!("{url} is no address: {error}")))?;
        Ok(Self(endpoint.connect_lazy()))
    }

    /// Management and legacy evaluation.
    #[must_use]
    pub fn flipt(&self) -> FliptClient<Channel> {
        FliptClient::new(self.0.clone())
    }

    /// Evaluation.
    #[must_use]
    pub fn evaluation(&self) -> EvaluationServiceClient<Channel> {
        EvaluationServiceClient::new(self.0.clone())
    }

    /// Credentials.
    #[must_use]
    pub fn authentication(&self) -> AuthenticationServiceClient<Channel> {
        AuthenticationServiceClient::new(self.0.clone())
    }

    /// Static tokens.
    #[must_use]
    pub fn tokens(&self) -> AuthenticationMethodTokenServiceClient<Channel> {
        AuthenticationMethodTokenServiceClient::new(self.0.clone())
    }

    /// Exchange of service account tokens.
    #[must_use]
    pub fn service_accounts(&self) -> AuthenticationMethodKubernetesServiceClient<Channel> {
        AuthenticationMethodKubernetesServiceClient::new(self.0.clone())
    }

    /// What a server says about itself.
    #[must_use]
    pub fn metadata(&self) -> MetadataServiceClient<Channel> {
        MetadataServiceClient::new(self.0.clone())
    }

    /// What objects of clusters own.
    #[must_use]
    pub fn ownership(&self) -> OwnershipServiceClient<Channel> {
        OwnershipServiceClient::new(self.0.clone())
    }

    /// OFREP.
    #[must_use]
    pub fn ofrep(&self) -> OfrepServiceClient<Channel> {
        OfrepServiceClient::new(self.0.clone())
    }
}

/// A message with this token; without any for `None`.
///
/// # Panics
/// If the token cannot stand in metadata.
pub fn with_token<T>(message: T, token: Option<&str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}
