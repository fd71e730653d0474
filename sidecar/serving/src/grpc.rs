//! Evaluation over gRPC.

use std::sync::Arc;

use flipt_proto::{
    evaluation::{self as pb, evaluation_service_server::EvaluationService},
    ofrep::{self, ofrep_service_server::OfrepService},
};
use tonic::{Request, Response, Status};

use crate::{
    Error, Evaluator, Gate, Scope,
    http::{environment, ofrep_namespace},
};

/// Service `flipt.evaluation.EvaluationService`.
#[derive(Clone)]
pub struct EvaluationGrpc(Guarded);

/// Service `flipt.ofrep.OFREPService`.
#[derive(Clone)]
pub struct OfrepGrpc(Guarded);

#[derive(Clone)]
struct Guarded {
    evaluator: Evaluator,
    gate: Arc<dyn Gate>,
}

impl Guarded {
    fn call<T, R>(
        &self,
        request: Request<T>,
        operation: impl FnOnce(&Evaluator, &Scope, &str, &T) -> Result<R, Error>,
    ) -> Result<Response<R>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        let scope = self.gate.admit(&headers).map_err(Status::from)?;
        let evaluator = self.evaluator.of_environment(environment(&headers)).map_err(Status::from)?;
        let answer =
            operation(&evaluator, &scope, ofrep_namespace(&headers), &message).map_err(Status::from)?;
        Ok(Response::new(answer))
    }
}

impl EvaluationGrpc {
    /// Serves with this evaluator whom this gate admits.
    #[must_use]
    pub fn new(evaluator: Evaluator, gate: Arc<dyn Gate>) -> Self {
        Self(Guarded { evaluator, gate })
    }
}

impl OfrepGrpc {
    /// Serves with this evaluator whom this gate admits.
    #[must_use]
    pub fn new(evaluator: Evaluator, gate: Arc<dyn Gate>) -> Self {
        Self(Guarded { evaluator, gate })
    }
}

#[tonic::async_trait]
impl EvaluationService for EvaluationGrpc {
    async fn boolean(
        &self,
        request: Request<pb::EvaluationRequest>,
    ) -> Result<Response<pb::BooleanEvaluationResponse>, Status> {
        self.0.call(request, |evaluator, scope, _, request| {
            evaluator.of_environment(&request.environment_key)?.boolean(scope, request)
        })
    }

    async fn variant(
        &self,
        request: Request<pb::EvaluationRequest>,
    ) -> Result<Response<pb::VariantEvaluationResponse>, Status> {
        self.0.call(request, |evaluator, scope, _, request| {
            evaluator.of_environment(&request.environment_key)?.variant(scope, request)
        })
    }

    async fn batch(
        &self,
        request: Request<pb::BatchEvaluationRequest>,
    ) -> Result<Response<pb::BatchEvaluationResponse>, Status> {
        self.0.call(request, |evaluator, scope, _, request| evaluator.batch(scope, request))
    }
}

#[tonic::async_trait]
impl OfrepService for OfrepGrpc {
    async fn get_provider_configuration(
        &self,
        request: Request<ofrep::GetProviderConfigurationRequest>,
    ) -> Result<Response<ofrep::GetProviderConfigurationResponse>, Status> {
        self.0.call(request, |evaluator, _, _, _| Ok(evaluator.ofrep_configuration()))
    }

    async fn evaluate_flag(
        &self,
        request: Request<ofrep::EvaluateFlagRequest>,
    ) -> Result<Response<ofrep::EvaluatedFlag>, Status> {
        self.0.call(request, |evaluator, scope, namespace, request| {
            evaluator.ofrep_flag(scope, namespace, request)
        })
    }

    async fn evaluate_bulk(
        &self,
        request: Request<ofrep::EvaluateBulkRequest>,
    ) -> Result<Response<ofrep::BulkEvaluationResponse>, Status> {
        self.0.call(request, |evaluator, scope, namespace, request| {
            evaluator.ofrep_bulk(scope, namespace, request)
        })
    }
}
