//! What a token says, before anybody has checked that it is true.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::caller::Pod;
use crate::error::AuthError;

const LARGEST_TOKEN: usize = 8 * 1024;

/// The token in the value of an `Authorization` header.
pub(crate) fn bearer(authorization: Option<&str>) -> Result<&str, AuthError> {
    let (scheme, token) =
        authorization.and_then(|value| value.trim().split_once(' ')).ok_or(AuthError::MissingToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::MissingToken);
    }
    let token = token.trim_start();
    if token.len() > LARGEST_TOKEN { Err(AuthError::MalformedToken) } else { Ok(token) }
}

/// A token taken apart. Nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Claims,
    /// What the signature covers.
    pub(crate) message: &'a str,
    pub(crate) signature: &'a str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) kid: String,
    /// Extensions that must be understood, and none is.
    crit: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub(crate) iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    pub(crate) aud: Audiences,
    pub(crate) exp: Option<u64>,
    pub(crate) iat: Option<u64>,
    pub(crate) nbf: Option<u64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<KubernetesClaims>,
}

/// One audience or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audiences {
    One(String),
    Several(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Audiences {
    pub(crate) fn meet(&self, accepted: &[String]) -> bool {
        match self {
            Self::One(audience) => accepted.contains(audience),
            Self::Several(audiences) => audiences.iter().any(|audience| accepted.contains(audience)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    uid: String,
}

/// Whom a token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) pod: Option<Pod>,
}

impl<'a> Token<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Self, AuthError> {
        let (message, signature) = token.rsplit_once('.').ok_or(AuthError::MalformedToken)?;
        let (header, claims) = message.split_once('.').ok_or(AuthError::MalformedToken)?;
        let header: Header = part(header)?;
        if header.crit.is_some() || header.kid.is_empty() {
            // Kubernetes names the key of every token; one that does not is not Kubernetes'.
            return Err(AuthError::MalformedToken);
        }
        Ok(Self { header, claims: part(claims)?, message, signature })
    }
}

/// Reads a part of a token. A part with a point in it is no base64, so a token has three parts.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, AuthError> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| AuthError::MalformedToken)?;
    serde_json::from_slice(&json).map_err(|_| AuthError::MalformedToken)
}

impl Claims {
    /// The service account that the subject and the claims of Kubernetes agree on.
    pub(crate) fn identity(self) -> Result<Identity, AuthError> {
        let claims = self.kubernetes.ok_or(AuthError::BadSubject)?;
        let (namespace, service_account) = self
            .sub
            .strip_prefix("system:serviceaccount:")
            .and_then(|subject| subject.split_once(':'))
            .ok_or(AuthError::BadSubject)?;
        let agree = namespace == claims.namespace && service_account == claims.serviceaccount.name;
        if !agree || !is_name(namespace) || !is_name(service_account) {
            return Err(AuthError::BadSubject);
        }
        Ok(Identity {
            namespace: claims.namespace,
            service_account: claims.serviceaccount.name,
            pod: claims.pod.map(|Named { name, uid }| Pod { name, uid }),
        })
    }
}

/// Whether Kubernetes allows this as a name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}
