//! Rollouts of a boolean flag.

use flipt_model::validation;
use flipt_proto::flipt::{self as pb, create_rollout_request, update_rollout_request};
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn get(api: &Api, request: &pb::GetRolloutRequest) -> Result<pb::Rollout, Error> {
    api.store.get_rollout(request).await.or_refuse()
}

pub(crate) async fn list(api: &Api, request: &pb::ListRolloutRequest) -> Result<pb::RolloutList, Error> {
    api.store.list_rollouts(request).await.or_refuse()
}

fn check_threshold(threshold: &pb::RolloutThreshold) -> Result<(), Error> {
    validation::threshold_percentage(threshold.percentage).or_refuse()
}

fn check_segment(segment: &pb::RolloutSegment) -> Result<(), Error> {
    #[allow(deprecated)]
    validation::segment_keys(&segment.segment_key, &segment.segment_keys).or_refuse()
}

pub(crate) async fn create(api: &Api, request: &pb::CreateRolloutRequest) -> Result<pb::Rollout, Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    match &request.rule {
        Some(create_rollout_request::Rule::Threshold(threshold)) => check_threshold(threshold)?,
        Some(create_rollout_request::Rule::Segment(segment)) => check_segment(segment)?,
        None => {}
    }
    api.require_writable()?;
    api.store.create_rollout(request).await.or_refuse()
}

pub(crate) async fn update(api: &Api, request: &pb::UpdateRolloutRequest) -> Result<pb::Rollout, Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    match &request.rule {
        Some(update_rollout_request::Rule::Threshold(threshold)) => check_threshold(threshold)?,
        Some(update_rollout_request::Rule::Segment(segment)) => check_segment(segment)?,
        None => {}
    }
    api.require_writable()?;
    api.store.update_rollout(request).await.or_refuse()
}

pub(crate) async fn order(api: &Api, request: &pb::OrderRolloutsRequest) -> Result<(), Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::order_ids("rolloutIds", &request.rollout_ids).or_refuse()?;
    api.require_writable()?;
    api.store.order_rollouts(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteRolloutRequest) -> Result<(), Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    api.require_writable()?;
    api.store.delete_rollout(request).await.or_refuse()
}
