//! The evaluation API, independent of transport (evaluation spec, sections 2 and 6 to 8).

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use flipt_evaluation::{EvaluationError, Reason, Request, Snapshot};
use flipt_model::{FlagType, namespace_or_default};
use flipt_proto::evaluation::{
    self as pb, ErrorEvaluationReason, EvaluationReason, EvaluationResponseType,
    evaluation_response::Response,
};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::{Code, Error, Scope, Source, UnknownEnvironment, UnknownNamespace, metrics::EvaluationMetrics};

/// Most entries of a batch. Flipt has no limit, but an entry of twenty bytes may ask for kilobytes of answer,
/// and a sidecar has one thread and little memory.
pub(crate) const BATCH_LIMIT: usize = 10_000;

/// Refuses a batch that is too large.
pub(crate) fn check_batch(entries: usize) -> Result<(), Error> {
    if entries <= BATCH_LIMIT {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidArgument,
        format!(
            "invalid field requests: {entries} entries, at most {BATCH_LIMIT} are answered; split the batch"
        ),
    ))
}

/// Evaluates flags on the current state.
#[derive(Clone)]
pub struct Evaluator {
    source: Arc<dyn Source>,
    pub(crate) metrics: EvaluationMetrics,
    pub(crate) polling: Option<Duration>,
}

/// When a request began, and what its answer says about time.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Duration in milliseconds, with the instant of the end.
    pub(crate) fn stop(&self) -> (f64, Option<Timestamp>) {
        (self.0.elapsed().as_secs_f64() * 1_000.0, Some(Timestamp::from(std::time::SystemTime::now())))
    }
}

/// The id given, or a new one.
pub(crate) fn id_or_new(given: &str) -> String {
    if given.is_empty() { Uuid::new_v4().to_string() } else { given.to_owned() }
}

const fn reason_number(reason: Reason) -> i32 {
    match reason {
        Reason::Unknown => EvaluationReason::UnknownEvaluationReason as i32,
        Reason::FlagDisabled => EvaluationReason::FlagDisabledEvaluationReason as i32,
        Reason::Match => EvaluationReason::MatchEvaluationReason as i32,
        Reason::Default => EvaluationReason::DefaultEvaluationReason as i32,
    }
}

impl Evaluator {
    /// An evaluator on this state, counting into these metrics.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, metrics: EvaluationMetrics) -> Self {
        Self { source, metrics, polling: None }
    }

    /// The same, telling OFREP clients to poll this often at most.
    #[must_use]
    pub fn with_polling(self, interval: Duration) -> Self {
        Self { polling: Some(interval), ..self }
    }

    /// Where the state comes from.
    #[must_use]
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The evaluator of the environment with this key; this one if the key is empty.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such environment.
    pub fn of_environment(&self, key: &str) -> Result<Cow<'_, Self>, Error> {
        if key.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        match self.source.environment(key) {
            Ok(None) => Ok(Cow::Borrowed(self)),
            Ok(Some(source)) => {
                Ok(Cow::Owned(Self { source, metrics: self.metrics.clone(), polling: self.polling }))
            }
            Err(UnknownEnvironment) => Err(Error::unknown_environment(key)),
        }
    }

    /// Evaluates a boolean flag.
    ///
    /// # Errors
    /// [`Error`] with the texts and codes of the evaluation spec, section 2.
    pub fn boolean(
        &self,
        scope: &Scope,
        request: &pb::EvaluationRequest,
    ) -> Result<pb::BooleanEvaluationResponse, Error> {
        let clock = Clock::start();
        let snapshot = self.snapshot()?;
        scope.require(namespace_or_default(&request.namespace_key))?;
        let mut response = self.boolean_on(&snapshot, request)?;
        response.request_id = id_or_new(&request.request_id);
        (response.request_duration_millis, response.timestamp) = clock.stop();
        Ok(response)
    }

    /// Evaluates a variant flag.
    ///
    /// # Errors
    /// As [`Evaluator::boolean`].
    pub fn variant(
        &self,
        scope: &Scope,
        request: &pb::EvaluationRequest,
    ) -> Result<pb::VariantEvaluationResponse, Error> {
        let clock = Clock::start();
        let snapshot = self.snapshot()?;
        scope.require(namespace_or_default(&request.namespace_key))?;
        let mut response = self.variant_on(&snapshot, request)?;
        response.request_id = id_or_new(&request.request_id);
        (response.request_duration_millis, response.timestamp) = clock.stop();
        Ok(response)
    }

    /// Evaluates flags of any type, all on one state. Unknown flags become error entries; any other
    /// failure fails the batch.
    ///
    /// # Errors
    /// As [`Evaluator::boolean`].
    pub fn batch(
        &self,
        scope: &Scope,
        request: &pb::BatchEvaluationRequest,
    ) -> Result<pb::BatchEvaluationResponse, Error> {
        let clock = Clock::start();
        check_batch(request.requests.len())?;
        let snapshot = self.snapshot()?;
        let mut responses = Vec::with_capacity(request.requests.len());
        for entry in &request.requests {
            scope.require(namespace_or_default(&entry.namespace_key))?;
            responses.push(match self.of_environment(&entry.environment_key)? {
                Cow::Borrowed(_) => self.entry_on(&snapshot, entry)?,
                Cow::Owned(other) => other.entry_on(&other.snapshot()?, entry)?,
            });
        }
        let (duration, end) = clock.stop();
        for response in &mut responses {
            match &mut response.response {
                Some(Response::BooleanResponse(entry)) => {
                    (entry.request_duration_millis, entry.timestamp) = (duration, end);
                }
                Some(Response::VariantResponse(entry)) => {
                    (entry.request_duration_millis, entry.timestamp) = (duration, end);
                }
                Some(Response::ErrorResponse(_)) | None => {}
            }
        }
        Ok(pb::BatchEvaluationResponse {
            request_id: id_or_new(&request.request_id),
            responses,
            request_duration_millis: duration,
        })
    }

    fn entry_on(
        &self,
        snapshot: &Snapshot,
        entry: &pb::EvaluationRequest,
    ) -> Result<pb::EvaluationResponse, Error> {
        let (kind, response) = match self.flag_type(snapshot, &entry.namespace_key, &entry.flag_key) {
            Ok(FlagType::Boolean) => {
                let mut response = self.boolean_on(snapshot, entry)?;
                response.request_id.clone_from(&entry.request_id);
                (EvaluationResponseType::BooleanEvaluationResponseType, Response::BooleanResponse(response))
            }
            Ok(FlagType::Variant) => {
                let mut response = self.variant_on(snapshot, entry)?;
                response.request_id.clone_from(&entry.request_id);
                (EvaluationResponseType::VariantEvaluationResponseType, Response::VariantResponse(response))
            }
            Ok(FlagType::Other(number)) => {
                return Err(Error::new(Code::InvalidArgument, format!("unknown flag type: {number}")));
            }
            Err(error) if error.code == Code::NotFound => {
                let response = pb::ErrorEvaluationResponse {
                    flag_key: entry.flag_key.clone(),
                    namespace_key: entry.namespace_key.clone(),
                    reason: ErrorEvaluationReason::NotFoundErrorEvaluationReason.into(),
                };
                (EvaluationResponseType::ErrorEvaluationResponseType, Response::ErrorResponse(response))
            }
            Err(error) => return Err(error),
        };
        Ok(pb::EvaluationResponse { r#type: kind.into(), response: Some(response) })
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, Error> {
        self.source.snapshot().ok_or_else(Error::not_ready)
    }

    pub(crate) fn flag_type(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        flag: &str,
    ) -> Result<FlagType, Error> {
        match snapshot.flag(namespace_or_default(namespace), flag) {
            Ok(flag) => Ok(flag.flag_type()),
            Err(error) => Err(self.explain(error, flag)),
        }
    }

    /// The failure in the words of the storage that the state comes from.
    fn explain(&self, error: EvaluationError, flag: &str) -> Error {
        match error {
            EvaluationError::NamespaceNotFound { namespace }
                if self.source.unknown_namespace() == UnknownNamespace::NamesFlag =>
            {
                EvaluationError::FlagNotFound { namespace, flag: flag.to_owned() }.into()
            }
            other => other.into(),
        }
    }

    pub(crate) fn boolean_on(
        &self,
        snapshot: &Snapshot,
        request: &pb::EvaluationRequest,
    ) -> Result<pb::BooleanEvaluationResponse, Error> {
        let timer = self.metrics.start();
        let result = snapshot
            .boolean(&Request {
                namespace: namespace_or_default(&request.namespace_key),
                flag: &request.flag_key,
                entity: &request.entity_id,
                context: &request.context,
            })
            .map_err(|error| self.explain(error, &request.flag_key))?;
        self.metrics.boolean(&request.namespace_key, &request.flag_key, &result, timer);
        Ok(pb::BooleanEvaluationResponse {
            enabled: result.enabled,
            reason: reason_number(result.reason),
            flag_key: request.flag_key.clone(),
            segment_keys: result.segments.iter().map(str::to_owned).collect(),
            ..Default::default()
        })
    }

    pub(crate) fn variant_on(
        &self,
        snapshot: &Snapshot,
        request: &pb::EvaluationRequest,
    ) -> Result<pb::VariantEvaluationResponse, Error> {
        let timer = self.metrics.start();
        let result = snapshot
            .variant(&Request {
                namespace: namespace_or_default(&request.namespace_key),
                flag: &request.flag_key,
                entity: &request.entity_id,
                context: &request.context,
            })
            .map_err(|error| self.explain(error, &request.flag_key))?;
        self.metrics.variant(&request.namespace_key, &request.flag_key, &result, timer);
        Ok(pb::VariantEvaluationResponse {
            r#match: result.matched,
            segment_keys: result.segments.iter().map(str::to_owned).collect(),
            reason: reason_number(result.reason),
            variant_key: result.variant.to_owned(),
            variant_attachment: result.attachment.to_owned(),
            flag_key: request.flag_key.clone(),
            ..Default::default()
        })
    }
}
