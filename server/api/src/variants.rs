//! Variants of a flag.

use flipt_model::validation;
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn create(api: &Api, request: &pb::CreateVariantRequest) -> Result<pb::Variant, Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::not_empty("key", &request.key).or_refuse()?;
    validation::attachment(&request.attachment).or_refuse()?;
    api.require_writable()?;
    api.store.create_variant(request).await.or_refuse()
}

pub(crate) async fn update(api: &Api, request: &pb::UpdateVariantRequest) -> Result<pb::Variant, Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::not_empty("key", &request.key).or_refuse()?;
    validation::attachment(&request.attachment).or_refuse()?;
    api.require_writable()?;
    api.store.update_variant(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteVariantRequest) -> Result<(), Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    api.require_writable()?;
    api.store.delete_variant(request).await.or_refuse()
}
