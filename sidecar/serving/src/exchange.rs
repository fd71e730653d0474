//! Flipt's exchange of service account tokens for client tokens, without a store: the client token is the service
//! account token itself (auth spec, section 9).

use std::{collections::HashMap, time::SystemTime};

use flipt_identity::Caller;
use flipt_proto::{auth as pb, rfc3339};
use prost_types::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Path of the exchange.
pub const EXCHANGE_PATH: &str = "/auth/v1/method/kubernetes/serviceaccount";

/// The credentials of a verified caller, as if they were stored. Their id stands for the token without telling it.
#[must_use]
pub fn authentication(caller: &Caller, token: &str) -> pb::Authentication {
    let pod = caller.pod.as_ref();
    let metadata = [
        ("namespace", caller.namespace.as_str()),
        ("pod.name", pod.map_or("", |pod| &pod.name)),
        ("pod.uid", pod.map_or("", |pod| &pod.uid)),
        ("serviceaccount.name", caller.service_account.as_str()),
        ("serviceaccount.uid", caller.service_account_uid.as_str()),
    ];
    let issued_at = timestamp(caller.issued_at);
    pb::Authentication {
        id: id(token),
        method: pb::Method::Kubernetes.into(),
        expires_at: Some(timestamp(caller.expires_at)),
        created_at: Some(issued_at),
        updated_at: Some(issued_at),
        metadata: metadata
            .map(|(name, value)| (format!("io.flipt.auth.k8s.{name}"), value.to_owned()))
            .into_iter()
            .collect::<HashMap<_, _>>(),
    }
}

/// The answer of the exchange.
#[must_use]
pub fn exchanged(caller: &Caller, token: &str) -> pb::VerifyServiceAccountResponse {
    pb::VerifyServiceAccountResponse {
        client_token: token.to_owned(),
        authentication: Some(authentication(caller, token)),
    }
}

/// The same as JSON.
#[must_use]
pub fn exchanged_json(caller: &Caller, token: &str) -> Vec<u8> {
    let answer = exchanged(caller, token);
    let authentication = answer.authentication.unwrap_or_default();
    let time = |time: &Option<Timestamp>| time.as_ref().map(rfc3339);
    json!({
        "clientToken": answer.client_token,
        "authentication": {
            "id": authentication.id,
            "method": authentication.method().as_str_name(),
            "expiresAt": time(&authentication.expires_at),
            "createdAt": time(&authentication.created_at),
            "updatedAt": time(&authentication.updated_at),
            "metadata": authentication.metadata,
        },
    })
    .to_string()
    .into_bytes()
}

/// The token in the body of an exchange, under either of the names that JSON has for the field.
#[must_use]
pub fn token_of_exchange(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let token = body.get("serviceAccountToken").or_else(|| body.get("service_account_token"))?;
    token.as_str().map(str::to_owned)
}

/// The first half of a hash of the token, written as ids are.
fn id(token: &str) -> String {
    let hash = Sha256::digest(token.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(hash.get(..16).unwrap_or(&[0; 16]));
    uuid::Uuid::from_bytes(bytes).to_string()
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}
