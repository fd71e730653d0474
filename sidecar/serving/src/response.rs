//! JSON bodies of evaluation answers: lowerCamelCase, default values written, unset messages left out (api
//! spec, section 2.4).

use std::collections::HashMap;

use flipt_proto::{
    evaluation::{self as pb, ErrorEvaluationReason, EvaluationResponseType, evaluation_response::Response},
    flipt as legacy, ofrep, rfc3339, struct_to_json,
};
use prost_types::{Timestamp, value::Kind};
use serde::Serialize;
use serde_json::{Map, Value};

/// A message that has a JSON form.
pub(crate) trait ToJson {
    fn to_json(&self) -> Vec<u8>;
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Writing plain structs of texts and numbers into memory has no way to fail.
    serde_json::to_vec(value).unwrap_or_default()
}

fn time(timestamp: Option<&Timestamp>) -> Option<String> {
    timestamp.map(rfc3339)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Boolean<'a> {
    enabled: bool,
    reason: &'static str,
    request_id: &'a str,
    request_duration_millis: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    flag_key: &'a str,
    segment_keys: &'a [String],
}

impl<'a> From<&'a pb::BooleanEvaluationResponse> for Boolean<'a> {
    fn from(message: &'a pb::BooleanEvaluationResponse) -> Self {
        Self {
            enabled: message.enabled,
            reason: message.reason().as_str_name(),
            request_id: &message.request_id,
            request_duration_millis: message.request_duration_millis,
            timestamp: time(message.timestamp.as_ref()),
            flag_key: &message.flag_key,
            segment_keys: &message.segment_keys,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Variant<'a> {
    #[serde(rename = "match")]
    matched: bool,
    segment_keys: &'a [String],
    reason: &'static str,
    variant_key: &'a str,
    variant_attachment: &'a str,
    request_id: &'a str,
    request_duration_millis: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    flag_key: &'a str,
}

impl<'a> From<&'a pb::VariantEvaluationResponse> for Variant<'a> {
    fn from(message: &'a pb::VariantEvaluationResponse) -> Self {
        Self {
            matched: message.r#match,
            segment_keys: &message.segment_keys,
            reason: message.reason().as_str_name(),
            variant_key: &message.variant_key,
            variant_attachment: &message.variant_attachment,
            request_id: &message.request_id,
            request_duration_millis: message.request_duration_millis,
            timestamp: time(message.timestamp.as_ref()),
            flag_key: &message.flag_key,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    flag_key: &'a str,
    namespace_key: &'a str,
    reason: &'static str,
}

#[derive(Serialize)]
enum EntryBody<'a> {
    #[serde(rename = "booleanResponse")]
    Boolean(Boolean<'a>),
    #[serde(rename = "variantResponse")]
    Variant(Variant<'a>),
    #[serde(rename = "errorResponse")]
    Failure(Failure<'a>),
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: Option<EntryBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a, E> {
    request_id: &'a str,
    responses: Vec<E>,
    request_duration_millis: f64,
}

impl ToJson for pb::BooleanEvaluationResponse {
    fn to_json(&self) -> Vec<u8> {
        encode(&Boolean::from(self))
    }
}

impl ToJson for pb::VariantEvaluationResponse {
    fn to_json(&self) -> Vec<u8> {
        encode(&Variant::from(self))
    }
}

impl ToJson for pb::BatchEvaluationResponse {
    fn to_json(&self) -> Vec<u8> {
        let entry = |entry: &'_ pb::EvaluationResponse| -> &'static str {
            EvaluationResponseType::as_str_name(&entry.r#type())
        };
        let responses = self
            .responses
            .iter()
            .map(|response| Entry {
                kind: entry(response),
                body: response.response.as_ref().map(|body| match body {
                    Response::BooleanResponse(message) => EntryBody::Boolean(message.into()),
                    Response::VariantResponse(message) => EntryBody::Variant(message.into()),
                    Response::ErrorResponse(message) => EntryBody::Failure(Failure {
                        flag_key: &message.flag_key,
                        namespace_key: &message.namespace_key,
                        reason: ErrorEvaluationReason::as_str_name(&message.reason()),
                    }),
                }),
            })
            .collect();
        encode(&Batch {
            request_id: &self.request_id,
            responses,
            request_duration_millis: self.request_duration_millis,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Legacy<'a> {
    request_id: &'a str,
    entity_id: &'a str,
    request_context: &'a HashMap<String, String>,
    #[serde(rename = "match")]
    matched: bool,
    flag_key: &'a str,
    segment_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    value: &'a str,
    request_duration_millis: f64,
    attachment: &'a str,
    reason: &'static str,
    namespace_key: &'a str,
    segment_keys: &'a [String],
}

impl<'a> From<&'a legacy::EvaluationResponse> for Legacy<'a> {
    fn from(message: &'a legacy::EvaluationResponse) -> Self {
        #[allow(deprecated)]
        Self {
            request_id: &message.request_id,
            entity_id: &message.entity_id,
            request_context: &message.request_context,
            matched: message.r#match,
            flag_key: &message.flag_key,
            segment_key: &message.segment_key,
            timestamp: time(message.timestamp.as_ref()),
            value: &message.value,
            request_duration_millis: message.request_duration_millis,
            attachment: &message.attachment,
            reason: message.reason().as_str_name(),
            namespace_key: &message.namespace_key,
            segment_keys: &message.segment_keys,
        }
    }
}

impl ToJson for legacy::EvaluationResponse {
    fn to_json(&self) -> Vec<u8> {
        encode(&Legacy::from(self))
    }
}

impl ToJson for legacy::BatchEvaluationResponse {
    fn to_json(&self) -> Vec<u8> {
        encode(&Batch {
            request_id: &self.request_id,
            responses: self.responses.iter().map(Legacy::from).collect(),
            request_duration_millis: self.request_duration_millis,
        })
    }
}

#[derive(Serialize)]
struct OfrepFlag<'a> {
    key: &'a str,
    reason: &'static str,
    variant: &'a str,
    metadata: Map<String, Value>,
    value: Value,
}

impl<'a> From<&'a ofrep::EvaluatedFlag> for OfrepFlag<'a> {
    fn from(message: &'a ofrep::EvaluatedFlag) -> Self {
        Self {
            key: &message.key,
            reason: message.reason().as_str_name(),
            variant: &message.variant,
            metadata: message.metadata.as_ref().map(struct_to_json).unwrap_or_default(),
            value: match message.value.as_ref().and_then(|value| value.kind.as_ref()) {
                Some(Kind::BoolValue(value)) => Value::Bool(*value),
                Some(Kind::StringValue(value)) => Value::String(value.clone()),
                _ => Value::Null,
            },
        }
    }
}

impl ToJson for ofrep::EvaluatedFlag {
    fn to_json(&self) -> Vec<u8> {
        encode(&OfrepFlag::from(self))
    }
}

impl ToJson for ofrep::BulkEvaluationResponse {
    fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Bulk<'a> {
            flags: Vec<OfrepFlag<'a>>,
        }
        encode(&Bulk { flags: self.flags.iter().map(OfrepFlag::from).collect() })
    }
}

impl ToJson for ofrep::GetProviderConfigurationResponse {
    fn to_json(&self) -> Vec<u8> {
        let capabilities = self.capabilities.clone().unwrap_or_default();
        let polling = capabilities.cache_invalidation.and_then(|c| c.polling).unwrap_or_default();
        let types = capabilities.flag_evaluation.unwrap_or_default().supported_types;
        encode(&serde_json::json!({
            "name": self.name,
            "capabilities": {
                "cacheInvalidation": { "polling": {
                    "enabled": polling.enabled,
                    "minPollingIntervalMs": polling.min_polling_interval_ms,
                } },
                "flagEvaluation": { "supportedTypes": types },
            },
        }))
    }
}

/// Body of a failed OFREP call; `key` and `errorCode` only where they say something (api spec, section 7.2).
pub(crate) fn ofrep_error(error: &crate::Error) -> Vec<u8> {
    use crate::Code;
    let code = match error.code {
        Code::NotFound => "FLAG_NOT_FOUND",
        Code::InvalidArgument | Code::ResourceExhausted => "INVALID_CONTEXT",
        Code::Unavailable => "PROVIDER_NOT_READY",
        _ => "GENERAL",
    };
    let mut body = Map::new();
    if let Some(key) = error.flag_key.as_ref().filter(|key| !key.is_empty()) {
        body.insert("key".to_owned(), Value::String(key.clone()));
    }
    body.insert("errorCode".to_owned(), code.into());
    body.insert("errorDetails".to_owned(), error.message.clone().into());
    let mut text = encode(&body);
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_values_are_written_and_unset_messages_are_not() {
        let json = String::from_utf8(pb::VariantEvaluationResponse::default().to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"match":false,"segmentKeys":[],"reason":"UNKNOWN_EVALUATION_REASON","variantKey":"","variantAttachment":"","requestId":"","requestDurationMillis":0.0,"flagKey":""}"#
        );
    }

    #[test]
    fn a_batch_entry_names_its_kind_once() {
        let batch = pb::BatchEvaluationResponse {
            responses: vec![pb::EvaluationResponse {
                r#type: EvaluationResponseType::ErrorEvaluationResponseType.into(),
                response: Some(Response::ErrorResponse(pb::ErrorEvaluationResponse {
                    flag_key: "f".into(),
                    reason: 1,
                    ..Default::default()
                })),
            }],
            ..Default::default()
        };
        let json: Value = serde_json::from_slice(&batch.to_json()).unwrap();
        assert_eq!(
            json["responses"][0],
            serde_json::json!({
                "type": "ERROR_EVALUATION_RESPONSE_TYPE",
                "errorResponse": {
                    "flagKey": "f", "namespaceKey": "", "reason": "NOT_FOUND_ERROR_EVALUATION_REASON"
                }
            })
        );
    }
}
