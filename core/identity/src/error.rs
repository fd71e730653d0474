//! Why a request is not accepted.

/// Why a request is not accepted.
///
/// The texts are safe to show: they never contain the token nor anything from a token that was not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Indicates that the request carries no bearer token.
    #[error("no bearer token given")]
    MissingToken,
    /// Indicates that the token is too large, or not a JSON Web Token as Kubernetes issues them.
    #[error("token is malformed")]
    MalformedToken,
    /// Indicates that the token's algorithm is not accepted, or not the one of its key.
    #[error("token is signed with an algorithm that is not accepted")]
    UnsupportedAlgorithm,
    /// Indicates that the token's key is not known. New keys may have appeared since the last look.
    #[error("token is signed with an unknown key")]
    UnknownKey,
    /// Indicates that the signature does not belong to this content.
    #[error("signature of the token is wrong")]
    BadSignature,
    /// Indicates that the token lacks a claim that every token must have, as legacy tokens do.
    #[error("token has no claim {0:?}")]
    MissingClaim(&'static str),
    /// Indicates that somebody else issued the token.
    #[error("token is from an issuer that is not accepted")]
    WrongIssuer,
    /// Indicates that the token is meant for somebody else.
    #[error("token is for an audience that is not accepted")]
    WrongAudience,
    /// Indicates that the token's time is over. Kubernetes renews the token in the file: read it again.
    #[error("token expired {seconds_ago} seconds ago; read the token file again")]
    Expired {
        /// Time since then.
        seconds_ago: u64,
    },
    /// Indicates that the token is from the future, so one of the two clocks is wrong.
    #[error("token is not valid for another {seconds} seconds; a clock is wrong")]
    NotYetValid {
        /// Time until then.
        seconds: u64,
    },
    /// Indicates that the token lives longer than projected tokens do.
    #[error("token lives longer than is accepted")]
    TooLongLived,
    /// Indicates that the subject is not a service account, or not the one of the other claims.
    #[error("subject of the token is not the service account it names")]
    BadSubject,
    /// Indicates that there is no key at all to verify tokens with, or that their issuer is not known yet.
    #[error("no keys to verify tokens with")]
    KeysUnavailable,
    /// Indicates that the API server, which was asked, says that the token is not good any more.
    #[error("token is no longer valid: its pod or service account is gone")]
    Revoked,
    /// Indicates that the API server was to be asked about the token and did not answer.
    #[error("the API server cannot be asked about the token at the moment; try again")]
    ReviewUnavailable,
    /// Indicates that the sender is known but may not call.
    #[error("service account {namespace}/{service_account} is not allowed: {refusal}")]
    NotAllowed {
        /// Kubernetes namespace of the sender.
        namespace: String,
        /// Service account of the sender.
        service_account: String,
        /// Why not.
        refusal: Refusal,
    },
}

/// Why a sender who is known may not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Indicates that only this pod may call, and the token is of another or of none.
    #[error("the token is not of this pod")]
    OtherPod,
    /// Indicates that only one service account may call, and this is another.
    #[error("the token is not of this service account")]
    OtherServiceAccount,
    /// Indicates that only one namespace may call, and this is another.
    #[error("the token is not of this namespace")]
    OtherNamespace,
    /// Indicates that no entry of the allow-list is about the sender.
    #[error("no entry of the allow-list matches")]
    NotListed,
}

impl AuthError {
    /// A short name of the kind of failure, for metrics.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::MalformedToken => "malformed_token",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "clock_skew",
            Self::TooLongLived => "too_long_lived",
            Self::BadSubject => "bad_subject",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Revoked => "revoked",
            Self::ReviewUnavailable => "review_unavailable",
            Self::NotAllowed { refusal, .. } => match refusal {
                Refusal::OtherPod => "other_pod",
                Refusal::OtherServiceAccount => "other_service_account",
                Refusal::OtherNamespace => "other_namespace",
                Refusal::NotListed => "not_listed",
            },
        }
    }

    /// Whether the sender is known and refused: HTTP 403 rather than 401.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::NotAllowed { .. })
    }

    /// Whether the failure is the verifier's, not the sender's: HTTP 503 rather than 401.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::ReviewUnavailable)
    }
}
