//! Distributions of a rule.

use flipt_model::validation;
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn create(
    api: &Api,
    request: &pb::CreateDistributionRequest,
) -> Result<pb::Distribution, Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::not_empty("ruleId", &request.rule_id).or_refuse()?;
    validation::not_empty("variantId", &request.variant_id).or_refuse()?;
    validation::rollout(request.rollout).or_refuse()?;
    api.require_writable()?;
    api.store.create_distribution(request).await.or_refuse()
}

pub(crate) async fn update(
    api: &Api,
    request: &pb::UpdateDistributionRequest,
) -> Result<pb::Distribution, Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::not_empty("ruleId", &request.rule_id).or_refuse()?;
    validation::not_empty("variantId", &request.variant_id).or_refuse()?;
    validation::rollout(request.rollout).or_refuse()?;
    api.require_writable()?;
    api.store.update_distribution(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteDistributionRequest) -> Result<(), Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::not_empty("ruleId", &request.rule_id).or_refuse()?;
    validation::not_empty("variantId", &request.variant_id).or_refuse()?;
    api.require_writable()?;
    api.store.delete_distribution(request).await.or_refuse()
}
