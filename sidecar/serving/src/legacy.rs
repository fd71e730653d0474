//! The deprecated evaluation calls of `flipt.Flipt` (evaluation spec, sections 8.2 and 9).

use flipt_model::{namespace_or_default, validation};
use flipt_proto::{
    evaluation::{self, EvaluationReason as Reason},
    flipt as pb,
};

use crate::{
    Code, Error, Evaluator, Scope,
    evaluator::{Clock, check_batch, id_or_new},
};

impl Evaluator {
    /// Evaluates a variant flag for the legacy API.
    ///
    /// # Errors
    /// As [`Evaluator::boolean`]; also for an empty flag key or entity id.
    pub fn legacy(
        &self,
        scope: &Scope,
        request: &pb::EvaluationRequest,
    ) -> Result<pb::EvaluationResponse, Error> {
        let clock = Clock::start();
        for (field, value) in [("flagKey", &request.flag_key), ("entityId", &request.entity_id)] {
            validation::not_empty(field, value)
                .map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))?;
        }
        let mut response = self.legacy_entry(scope, request, &request.namespace_key)?;
        response.request_id = id_or_new(&request.request_id);
        (response.request_duration_millis, response.timestamp) = clock.stop();
        Ok(response)
    }

    /// Evaluates variant flags of one namespace for the legacy API.
    ///
    /// # Errors
    /// As [`Evaluator::boolean`]; any failing entry fails the batch, except unknown flags that are to be
    /// left out.
    pub fn legacy_batch(
        &self,
        scope: &Scope,
        request: &pb::BatchEvaluationRequest,
    ) -> Result<pb::BatchEvaluationResponse, Error> {
        let clock = Clock::start();
        check_batch(request.requests.len())?;
        let namespace = namespace_or_default(&request.namespace_key);
        let mut responses = Vec::with_capacity(request.requests.len());
        for entry in &request.requests {
            if !entry.namespace_key.is_empty() && entry.namespace_key != namespace {
                return Err(Error::new(
                    Code::InvalidArgument,
                    "invalid field namespace_key: must be the same for all requests if specified",
                ));
            }
            match self.legacy_entry(scope, entry, namespace) {
                Ok(response) => responses.push(response),
                Err(error) if error.code == Code::NotFound && request.exclude_not_found => {}
                Err(error) => return Err(error),
            }
        }
        let (duration, end) = clock.stop();
        for response in &mut responses {
            response.timestamp = end;
        }
        Ok(pb::BatchEvaluationResponse {
            request_id: id_or_new(&request.request_id),
            responses,
            request_duration_millis: duration,
        })
    }

    fn legacy_entry(
        &self,
        scope: &Scope,
        request: &pb::EvaluationRequest,
        namespace: &str,
    ) -> Result<pb::EvaluationResponse, Error> {
        scope.require(namespace_or_default(namespace))?;
        let snapshot = self.snapshot()?;
        let current = evaluation::EvaluationRequest {
            namespace_key: namespace.to_owned(),
            flag_key: request.flag_key.clone(),
            entity_id: request.entity_id.clone(),
            context: request.context.clone(),
            ..Default::default()
        };
        let result = self.variant_on(&snapshot, &current)?;
        let reason = match result.reason() {
            Reason::UnknownEvaluationReason => pb::EvaluationReason::UnknownEvaluationReason,
            Reason::FlagDisabledEvaluationReason => pb::EvaluationReason::FlagDisabledEvaluationReason,
            Reason::MatchEvaluationReason => pb::EvaluationReason::MatchEvaluationReason,
            Reason::DefaultEvaluationReason => pb::EvaluationReason::DefaultEvaluationReason,
        };
        #[allow(deprecated)]
        Ok(pb::EvaluationResponse {
            entity_id: current.entity_id,
            request_context: current.context,
            flag_key: current.flag_key,
            namespace_key: current.namespace_key,
            r#match: result.r#match,
            value: result.variant_key,
            attachment: result.variant_attachment,
            reason: reason.into(),
            segment_key: result.segment_keys.first().cloned().unwrap_or_default(),
            segment_keys: result.segment_keys,
            ..Default::default()
        })
    }
}
