//! Constraints of a segment.

use flipt_model::{ConstraintType, validation};
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn create(
    api: &Api,
    request: &pb::CreateConstraintRequest,
) -> Result<pb::Constraint, Error> {
    validation::not_empty("segmentKey", &request.segment_key).or_refuse()?;
    let normalised = validation::constraint(
        ConstraintType::from_number(request.r#type),
        &request.property,
        &request.operator,
        &request.value,
    )
    .or_refuse()?;
    api.require_writable()?;
    let request = pb::CreateConstraintRequest {
        operator: normalised.operator,
        value: normalised.value,
        ..request.clone()
    };
    api.store.create_constraint(&request).await.or_refuse()
}

pub(crate) async fn update(
    api: &Api,
    request: &pb::UpdateConstraintRequest,
) -> Result<pb::Constraint, Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("segmentKey", &request.segment_key).or_refuse()?;
    let normalised = validation::constraint(
        ConstraintType::from_number(request.r#type),
        &request.property,
        &request.operator,
        &request.value,
    )
    .or_refuse()?;
    api.require_writable()?;
    let request = pb::UpdateConstraintRequest {
        operator: normalised.operator,
        value: normalised.value,
        ..request.clone()
    };
    api.store.update_constraint(&request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteConstraintRequest) -> Result<(), Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("segmentKey", &request.segment_key).or_refuse()?;
    api.require_writable()?;
    api.store.delete_constraint(request).await.or_refuse()
}
