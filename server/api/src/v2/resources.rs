//! Whole flags and segments of a namespace.

use flipt_model::{Namespace, resource};
use flipt_proto::environments as pb;
use flipt_serving::{Code, Error};
use flipt_store::{Edit, Part, WriteMode};

use super::{
    invalid,
    payload::{self, Kind, Payload},
    require_key,
};
use crate::{Api, Fails as _};

fn message(namespace: &str, payload: &Payload) -> pb::Resource {
    pb::Resource {
        namespace_key: namespace.to_owned(),
        key: payload.key().to_owned(),
        payload: Some(payload.to_any()),
    }
}

/// What a namespace holds of one kind.
fn of_kind(kind: Kind, namespace: Namespace) -> Vec<Payload> {
    match kind {
        Kind::Flag => namespace.flags.into_iter().map(Payload::Flag).collect(),
        Kind::Segment => namespace.segments.into_iter().map(Payload::Segment).collect(),
    }
}

pub(crate) async fn get(api: &Api, request: &pb::GetResourceRequest) -> Result<pb::ResourceResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let kind = payload::kind(&request.type_url)?;
    require_key(&request.key)?;
    let namespace = &request.namespace_key;
    let part = match kind {
        Kind::Flag => Part::Flag(namespace, &request.key),
        Kind::Segment => Part::Segment(namespace, &request.key),
    };
    let (state, version) = environment.read_state(part).await.or_refuse()?;
    let found = state.namespaces.into_iter().flat_map(|namespace| of_kind(kind, namespace)).next();
    let found = found.ok_or_else(|| {
        let what = format!("{} {namespace}/{}", kind.name(), request.key);
        Error::new(Code::NotFound, format!("getting {what}: {what} not found"))
    })?;
    Ok(pb::ResourceResponse { resource: Some(message(namespace, &found)), revision: version.text() })
}

pub(crate) async fn list(
    api: &Api,
    request: &pb::ListResourcesRequest,
) -> Result<pb::ListResourcesResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let kind = payload::kind(&request.type_url)?;
    let namespace = &request.namespace_key;
    let part = match kind {
        Kind::Flag => Part::Flags(namespace),
        Kind::Segment => Part::Segments(namespace),
    };
    let (state, version) = environment.read_state(part).await.or_refuse()?;
    let listed = state.namespaces.into_iter().flat_map(|namespace| of_kind(kind, namespace));
    let resources = listed.map(|payload| message(namespace, &payload)).collect();
    Ok(pb::ListResourcesResponse { resources, revision: version.text() })
}

pub(crate) async fn create(
    api: &Api,
    request: &pb::UpdateResourceRequest,
) -> Result<pb::ResourceResponse, Error> {
    write(api, request, WriteMode::Create).await
}

pub(crate) async fn update(
    api: &Api,
    request: &pb::UpdateResourceRequest,
) -> Result<pb::ResourceResponse, Error> {
    write(api, request, WriteMode::Update).await
}

async fn write(
    api: &Api,
    request: &pb::UpdateResourceRequest,
    mode: WriteMode,
) -> Result<pb::ResourceResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    require_key(&request.key)?;
    let payload = payload::read(request.payload.as_ref(), &request.key)?;
    api.require_writable()?;
    let namespace = &request.namespace_key;
    let (payload, edit) = match payload {
        Payload::Flag(flag) => {
            resource::check_flag(&flag).map_err(invalid)?;
            (Payload::Flag(flag.clone()), Edit::WriteFlag(namespace.clone(), flag, mode))
        }
        Payload::Segment(segment) => {
            let segment = resource::check_segment(segment).map_err(invalid)?;
            (Payload::Segment(segment.clone()), Edit::WriteSegment(namespace.clone(), segment, mode))
        }
    };
    let version = environment.apply(&edit, &request.revision).await.or_refuse()?;
    Ok(pb::ResourceResponse { resource: Some(message(namespace, &payload)), revision: version.text() })
}

pub(crate) async fn delete(
    api: &Api,
    request: &pb::DeleteResourceRequest,
) -> Result<pb::DeleteResourceResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let kind = payload::kind(&request.type_url)?;
    require_key(&request.key)?;
    api.require_writable()?;
    let (namespace, key) = (request.namespace_key.clone(), request.key.clone());
    let edit = match kind {
        Kind::Flag => Edit::DeleteFlag(namespace, key),
        Kind::Segment => Edit::DeleteSegment(namespace, key),
    };
    let version = environment.apply(&edit, &request.revision).await.or_refuse()?;
    Ok(pb::DeleteResourceResponse { revision: version.text() })
}
