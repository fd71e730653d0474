//! Namespaces.

use flipt_model::validation;
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn get(api: &Api, request: &pb::GetNamespaceRequest) -> Result<pb::Namespace, Error> {
    api.store.get_namespace(request).await.or_refuse()
}

pub(crate) async fn list(api: &Api, request: &pb::ListNamespaceRequest) -> Result<pb::NamespaceList, Error> {
    api.store.list_namespaces(request).await.or_refuse()
}

pub(crate) async fn create(api: &Api, request: &pb::CreateNamespaceRequest) -> Result<pb::Namespace, Error> {
    validation::key(&request.key).or_refuse()?;
    validation::not_empty("name", &request.name).or_refuse()?;
    api.require_writable()?;
    api.store.create_namespace(request).await.or_refuse()
}

pub(crate) async fn update(api: &Api, request: &pb::UpdateNamespaceRequest) -> Result<pb::Namespace, Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    validation::not_empty("name", &request.name).or_refuse()?;
    api.require_writable()?;
    api.store.update_namespace(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteNamespaceRequest) -> Result<(), Error> {
    api.require_writable()?;
    api.store.delete_namespace(request).await.or_refuse()
}
