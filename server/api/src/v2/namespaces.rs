//! Namespaces of an environment.

use flipt_model::{DEFAULT_NAMESPACE, Namespace, resource, validation::go_quote};
use flipt_proto::environments as pb;
use flipt_serving::{Code, Error};
use flipt_store::{Edit, Part, WriteMode};

use super::{invalid, require_key};
use crate::{Api, Fails as _};

fn message(namespace: Namespace) -> pb::Namespace {
    pb::Namespace {
        protected: Some(namespace.key == DEFAULT_NAMESPACE),
        key: namespace.key,
        name: namespace.name,
        description: Some(namespace.description).filter(|text| !text.is_empty()),
    }
}

pub(crate) async fn get(
    api: &Api,
    request: &pb::GetNamespaceRequest,
) -> Result<pb::NamespaceResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    require_key(&request.key)?;
    let (state, version) = environment.read_state(Part::Namespaces).await.or_refuse()?;
    let found = state.namespaces.into_iter().find(|namespace| namespace.key == request.key);
    let namespace = found.ok_or_else(|| {
        Error::new(Code::NotFound, format!("namespace {} not found", go_quote(&request.key)))
    })?;
    Ok(pb::NamespaceResponse { namespace: Some(message(namespace)), revision: version.text() })
}

pub(crate) async fn list(
    api: &Api,
    request: &pb::ListNamespacesRequest,
) -> Result<pb::ListNamespacesResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let (state, version) = environment.read_state(Part::Namespaces).await.or_refuse()?;
    let items = state.namespaces.into_iter().map(message).collect();
    Ok(pb::ListNamespacesResponse { items, revision: version.text() })
}

pub(crate) async fn create(
    api: &Api,
    request: &pb::UpdateNamespaceRequest,
) -> Result<pb::NamespaceResponse, Error> {
    write(api, request, WriteMode::Create).await
}

pub(crate) async fn update(
    api: &Api,
    request: &pb::UpdateNamespaceRequest,
) -> Result<pb::NamespaceResponse, Error> {
    write(api, request, WriteMode::Update).await
}

async fn write(
    api: &Api,
    request: &pb::UpdateNamespaceRequest,
    mode: WriteMode,
) -> Result<pb::NamespaceResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    require_key(&request.key)?;
    let namespace = Namespace {
        key: request.key.clone(),
        name: request.name.clone(),
        description: request.description.clone().unwrap_or_default(),
        ..Namespace::default()
    };
    resource::check_namespace(&namespace).map_err(invalid)?;
    api.require_writable()?;
    let edit = Edit::WriteNamespace(namespace.clone(), mode);
    let version = environment.apply(&edit, &request.revision).await.or_refuse()?;
    Ok(pb::NamespaceResponse { namespace: Some(message(namespace)), revision: version.text() })
}

pub(crate) async fn delete(
    api: &Api,
    request: &pb::DeleteNamespaceRequest,
) -> Result<pb::DeleteNamespaceResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    require_key(&request.key)?;
    api.require_writable()?;
    let edit = Edit::DeleteNamespace(request.key.clone());
    let version = environment.apply(&edit, &request.revision).await.or_refuse()?;
    Ok(pb::DeleteNamespaceResponse { revision: version.text() })
}
