//! What gRPC reflection tells about: the services that answer.

use flipt_auth::Authentications;
use flipt_proto::{
    auth::{
        authentication_method_kubernetes_service_server as kubernetes,
        authentication_method_token_service_server as token, authentication_service_server as authentication,
        public_authentication_service_server as public_authentication,
    },
    client::client_evaluation_service_server as client,
    environments::environments_service_server as environments,
    evaluation::{data_service_server as data, evaluation_service_server as evaluation},
    flipt::flipt_server as flipt,
    meta::metadata_service_server as metadata,
    ofrep::ofrep_service_server as ofrep,
    ownership::ownership_service_server as ownership,
};
use tonic_reflection::server::Builder;

const SERVICES: [&str; 15] = [
    authentication::SERVICE_NAME,
    client::SERVICE_NAME,
    data::SERVICE_NAME,
    environments::SERVICE_NAME,
    evaluation::SERVICE_NAME,
    flipt::SERVICE_NAME,
    kubernetes::SERVICE_NAME,
    metadata::SERVICE_NAME,
    ofrep::SERVICE_NAME,
    ownership::SERVICE_NAME,
    public_authentication::SERVICE_NAME,
    token::SERVICE_NAME,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Reflection about the services that answer under these rules.
pub(crate) fn builder(authentications: &Authentications) -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(flipt_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    SERVICES
        .into_iter()
        .filter(|service| authentications.offers(service))
        .fold(builder, |builder, service| builder.with_service_name(service))
}
