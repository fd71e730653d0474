//! Segments.

use flipt_model::validation;
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn get(api: &Api, request: &pb::GetSegmentRequest) -> Result<pb::Segment, Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    api.store.get_segment(request).await.or_refuse()
}

pub(crate) async fn list(api: &Api, request: &pb::ListSegmentRequest) -> Result<pb::SegmentList, Error> {
    #[allow(deprecated)]
    validation::paging(request.limit, request.offset, &request.page_token).or_refuse()?;
    api.store.list_segments(request).await.or_refuse()
}

pub(crate) async fn create(api: &Api, request: &pb::CreateSegmentRequest) -> Result<pb::Segment, Error> {
    validation::key(&request.key).or_refuse()?;
    validation::not_empty("name", &request.name).or_refuse()?;
    api.require_writable()?;
    api.store.create_segment(request).await.or_refuse()
}

pub(crate) async fn update(api: &Api, request: &pb::UpdateSegmentRequest) -> Result<pb::Segment, Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    validation::not_empty("name", &request.name).or_refuse()?;
    api.require_writable()?;
    api.store.update_segment(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteSegmentRequest) -> Result<(), Error> {
    validation::not_empty("key", &request.key).or_refuse()?;
    api.require_writable()?;
    api.store.delete_segment(request).await.or_refuse()
}
