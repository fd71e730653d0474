//! What a token says, before anybody has checked that it is true.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::caller::Pod;
use crate::error::AuthError;

const LARGEST_TOKEN: usize = 8 * 1024;
/// What the subject of every service account begins with.
const SUBJECT: &str = "system:serviceaccount:";

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
        self.names().iter().any(|audience| accepted.contains(audience))
    }

    pub(crate) fn meet_any(&self, accepted: &[&str]) -> bool {
        self.names().iter().any(|audience| accepted.contains(&audience.as_str()))
    }

    fn names(&self) -> &[String] {
        match self {
            Self::One(audience) => std::slice::from_ref(audience),
            Self::Several(audiences) => audiences,
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
    pub(crate) service_account_uid: String,
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

/// Who issued a token, and for whom. Nobody has verified it: good only for a token that one was given by
/// somebody trusted, such as the token that is mounted into one's own pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuance {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `aud`.
    pub audiences: Vec<String>,
}

impl Issuance {
    /// Reads the claims of a token.
    ///
    /// # Errors
    /// [`AuthError::MalformedToken`], [`AuthError::MissingClaim`].
    pub fn of(token: &str) -> Result<Self, AuthError> {
        if token.len() > LARGEST_TOKEN {
            return Err(AuthError::MalformedToken);
        }
        let Token { claims, .. } = Token::read(token)?;
        if claims.iss.is_empty() {
            return Err(AuthError::MissingClaim("iss"));
        }
        Ok(Self { audiences: claims.aud.names().to_vec(), issuer: claims.iss })
    }
}

/// Whether a bearer token claims to be one of a service account, so that a [`Verifier`](crate::Verifier) should
/// decide about it. It may still be a forgery; what is no JSON Web Token at all is something else.
#[must_use]
pub fn is_service_account_token(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Subject {
        #[serde(default)]
        sub: String,
        #[serde(rename = "kubernetes.io")]
        kubernetes: Option<IgnoredAny>,
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    if token.len() > LARGEST_TOKEN {
        return false;
    }
    part::<Subject>(claims).is_ok_and(|claims| claims.kubernetes.is_some() || claims.sub.starts_with(SUBJECT))
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
            .strip_prefix(SUBJECT)
            .and_then(|subject| subject.split_once(':'))
            .ok_or(AuthError::BadSubject)?;
        let agree = namespace == claims.namespace && service_account == claims.serviceaccount.name;
        if !agree || !is_name(namespace) || !is_name(service_account) {
            return Err(AuthError::BadSubject);
        }
        Ok(Identity {
            namespace: claims.namespace,
            service_account: claims.serviceaccount.name,
            service_account_uid: claims.serviceaccount.uid,
            pod: claims.pod.map(|Named { name, uid }| Pod { name, uid }),
        })
    }
}

/// Whether Kubernetes allows this as a name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}
