//! OpenFeature Remote Evaluation Protocol, independent of transport (evaluation spec, section 10).

use std::collections::{BTreeMap, HashMap};

use flipt_evaluation::Snapshot;
use flipt_model::FlagType;
use flipt_proto::{
    evaluation::{EvaluationReason, EvaluationRequest},
    ofrep as pb,
};
use prost_types::{Struct, Value, value::Kind};

use crate::{
    Code, Error, Evaluator, Scope,
    evaluator::{check_batch, id_or_new},
};

/// Context key of the entity id.
pub(crate) const TARGETING_KEY: &str = "targetingKey";
/// Context key that lists the flags of a bulk evaluation.
const FLAGS: &str = "flags";

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

const fn reason(reason: EvaluationReason) -> pb::EvaluateReason {
    match reason {
        EvaluationReason::FlagDisabledEvaluationReason => pb::EvaluateReason::Disabled,
        EvaluationReason::MatchEvaluationReason => pb::EvaluateReason::TargetingMatch,
        EvaluationReason::DefaultEvaluationReason => pb::EvaluateReason::Default,
        EvaluationReason::UnknownEvaluationReason => pb::EvaluateReason::Unknown,
    }
}

fn entity_id(context: &HashMap<String, String>) -> String {
    context.get(TARGETING_KEY).cloned().unwrap_or_else(|| id_or_new(""))
}

impl Evaluator {
    /// What this provider can do.
    #[must_use]
    pub fn ofrep_configuration(&self) -> pb::GetProviderConfigurationResponse {
        let polling = self.polling.map_or_else(pb::Polling::default, |interval| pb::Polling {
            enabled: true,
            min_polling_interval_ms: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
        });
        pb::GetProviderConfigurationResponse {
            name: "flipt".to_owned(),
            capabilities: Some(pb::Capabilities {
                cache_invalidation: Some(pb::CacheInvalidation { polling: Some(polling) }),
                flag_evaluation: Some(pb::FlagEvaluation {
                    supported_types: vec!["string".to_owned(), "boolean".to_owned()],
                }),
            }),
        }
    }

    /// Evaluates one flag.
    ///
    /// # Errors
    /// [`Error`] about the flag, in OFREP's words.
    pub fn ofrep_flag(
        &self,
        scope: &Scope,
        namespace: &str,
        request: &pb::EvaluateFlagRequest,
    ) -> Result<pb::EvaluatedFlag, Error> {
        if request.key.is_empty() {
            return Err(Error::new(Code::InvalidArgument, "flag key was not provided"));
        }
        let snapshot = self.snapshot()?;
        scope.require(namespace)?;
        let entity = entity_id(&request.context);
        self.ofrep_on(&snapshot, namespace, &request.key, &entity, &request.context)
    }

    /// Evaluates the flags that the context lists, or all boolean and all enabled variant flags.
    ///
    /// # Errors
    /// [`Error`] about the first flag that fails; then there is no partial answer.
    pub fn ofrep_bulk(
        &self,
        scope: &Scope,
        namespace: &str,
        request: &pb::EvaluateBulkRequest,
    ) -> Result<pb::BulkEvaluationResponse, Error> {
        let snapshot = self.snapshot()?;
        scope.require(namespace)?;
        let entity = entity_id(&request.context);
        let keys: Vec<&str> = match request.context.get(FLAGS) {
            Some(list) => {
                check_batch(list.split(',').count())?;
                list.split(',').map(str::trim).collect()
            }
            None if snapshot.namespace(namespace).is_none()
                && self.source().fails_bulk_in_unknown_namespace() =>
            {
                return Err(Error::new(Code::Internal, "failed to fetch list of flags"));
            }
            None => snapshot
                .namespace(namespace)
                .into_iter()
                .flat_map(|namespace| namespace.flags())
                .filter(|flag| flag.flag_type() == FlagType::Boolean || flag.enabled())
                .map(|flag| flag.key())
                .collect(),
        };
        let flags = keys
            .into_iter()
            .map(|key| self.ofrep_on(&snapshot, namespace, key, &entity, &request.context))
            .collect::<Result<_, _>>()?;
        Ok(pb::BulkEvaluationResponse { flags })
    }

    fn ofrep_on(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        key: &str,
        entity: &str,
        context: &HashMap<String, String>,
    ) -> Result<pb::EvaluatedFlag, Error> {
        let request = EvaluationRequest {
            namespace_key: namespace.to_owned(),
            flag_key: key.to_owned(),
            entity_id: entity.to_owned(),
            context: context.clone(),
            ..Default::default()
        };
        self.ofrep_typed(snapshot, &request).map_err(|error| {
            let error = match error.code {
                Code::NotFound => Error::new(Code::NotFound, format!("flag was not found {key}")),
                _ => error,
            };
            error.about_flag(key)
        })
    }

    fn ofrep_typed(
        &self,
        snapshot: &Snapshot,
        request: &EvaluationRequest,
    ) -> Result<pb::EvaluatedFlag, Error> {
        let mut metadata = BTreeMap::new();
        let (reason, variant, value) =
            match self.flag_type(snapshot, &request.namespace_key, &request.flag_key)? {
                FlagType::Boolean => {
                    let result = self.boolean_on(snapshot, request)?;
                    let value = Value { kind: Some(Kind::BoolValue(result.enabled)) };
                    (reason(result.reason()), result.enabled.to_string(), value)
                }
                FlagType::Variant => {
                    let result = self.variant_on(snapshot, request)?;
                    if !result.segment_keys.is_empty() {
                        metadata.insert("segments".to_owned(), text(&result.segment_keys.join(",")));
                    }
                    if !result.variant_attachment.is_empty() {
                        metadata.insert("attachment".to_owned(), text(&result.variant_attachment));
                    }
                    let value = text(&result.variant_key);
                    (reason(result.reason()), result.variant_key, value)
                }
                FlagType::Other(number) => {
                    return Err(Error::new(
                        Code::InvalidArgument,
                        format!("unsupported flag type: {number}"),
                    ));
                }
            };
        Ok(pb::EvaluatedFlag {
            key: request.flag_key.clone(),
            reason: reason.into(),
            variant,
            metadata: Some(Struct { fields: metadata }),
            value: Some(value),
        })
    }
}
