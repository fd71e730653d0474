//! Flags.

use flipt_model::validation;
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn get(api: &Api, request: &pb::GetFlagRequest) -> Result<pb::Flag, Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    api.store.get_flag(request).await.or_refuse()
}

pub(crate) async fn list(api: &Api, request: &pb::ListFlagRequest) -> Result<pb::FlagList, Error> {
    #[allow(deprecated)]
    validation::paging(request.limit, request.offset, &request.page_token).or_refuse()?;
    api.store.list_flags(request).await.or_refuse()
}

pub(crate) async fn create(api: &Api, request: &pb::CreateFlagRequest) -> Result<pb::Flag, Error> {
    validation::key(&request.key).or_refuse()?;
    validation::not_empty("name", &request.name).or_refuse()?;
    api.require_writable()?;
    api.store.create_flag(request).await.or_refuse()
}

pub(crate) async fn update(api: &Api, request: &pb::UpdateFlagRequest) -> Result<pb::Flag, Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    validation::not_empty("name", &request.name).or_refuse()?;
    api.require_writable()?;
    api.store.update_flag(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteFlagRequest) -> Result<(), Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    api.require_writable()?;
    api.store.delete_flag(request).await.or_refuse()
}
