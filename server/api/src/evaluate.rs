//! The deprecated evaluation calls of `flipt.Flipt`, for gRPC; over HTTP they are evaluation paths.

use flipt_proto::flipt as pb;
use flipt_serving::{Error, Scope};

use crate::Api;

#[allow(clippy::unused_async)]
pub(crate) async fn single(
    api: &Api,
    request: &pb::EvaluationRequest,
) -> Result<pb::EvaluationResponse, Error> {
    api.evaluator.legacy(&Scope::All, request)
}

#[allow(clippy::unused_async)]
pub(crate) async fn batch(
    api: &Api,
    request: &pb::BatchEvaluationRequest,
) -> Result<pb::BatchEvaluationResponse, Error> {
    api.evaluator.legacy_batch(&Scope::All, request)
}
