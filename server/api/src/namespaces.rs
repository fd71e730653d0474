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
    if api.read_only {
        // What would be refused anyway is told first (api spec, section 10).
        check_deletion(api, request).await?;
    }
    api.require_writable()?;
    api.store.delete_namespace(request).await.or_refuse()
}

/// Refuses what no store would delete.
async fn check_deletion(api: &Api, request: &pb::DeleteNamespaceRequest) -> Result<(), Error> {
    let wanted = pb::GetNamespaceRequest { key: request.key.clone(), ..Default::default() };
    let namespace = api.store.get_namespace(&wanted).await.or_refuse()?;
    let flags = pb::ListFlagRequest { namespace_key: namespace.key.clone(), limit: 1, ..Default::default() };
    let has_flags = !request.force && !api.store.list_flags(&flags).await.or_refuse()?.flags.is_empty();
    flipt_store::check_namespace_deletion(request, namespace.protected, has_flags).or_refuse()
}
