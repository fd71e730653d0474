//! What a verifier accepts.

use std::time::Duration;

use crate::access::{AllowEntry, Mode};

/// What a verifier accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierConfig {
    /// Accepted issuers, compared exactly; a trailing slash matters. Without any nobody is accepted until
    /// [`Verifier::replace_issuers`](crate::Verifier::replace_issuers) names some.
    pub issuers: Vec<String>,
    /// Accepted audiences; a token must carry at least one.
    pub audiences: Vec<String>,
    /// Whether a token for the API server itself is accepted: one with an accepted issuer, a name of
    /// [`VerifierConfig::API_AUDIENCES`], or a name told by [`Verifier::replace_issuers`](crate::Verifier::replace_issuers) as audience.
    /// Such a token may also live longer than a day, because Kubernetes extends those of old clients to a year.
    pub accept_api_audience: bool,
    /// Whose tokens are accepted.
    pub mode: Mode,
    /// What callers may do. In [`Mode::Allowlist`] it also says who may call; in the other modes entries
    /// restrict, and an empty list grants evaluation in every Flipt namespace.
    pub allow: Vec<AllowEntry>,
    /// How long after its end a token still passes, for clocks that differ. More than
    /// [`VerifierConfig::LONGEST_LEEWAY`] counts as that.
    pub leeway: Duration,
    /// How long beyond that a token still passes, for clusters whose API server may be away longer than tokens
    /// live. More than [`VerifierConfig::LONGEST_GRACE`] counts as that.
    pub grace: Duration,
    /// Number of verified tokens to remember.
    pub cache_entries: usize,
}

impl VerifierConfig {
    /// The largest [`VerifierConfig::leeway`].
    pub const LONGEST_LEEWAY: Duration = Duration::from_secs(60);
    /// The largest [`VerifierConfig::grace`].
    pub const LONGEST_GRACE: Duration = Duration::from_secs(3600);
    /// Audiences that API servers give themselves besides their issuer, which on some clusters is a public
    /// address.
    pub const API_AUDIENCES: [&str; 2] =
        ["https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"];

    /// Tokens of this issuer for the audience `flipt`, nothing allowed beyond what the mode does by itself.
    #[must_use]
    pub fn new(issuer: impl Into<String>, mode: Mode) -> Self {
        Self {
            issuers: vec![issuer.into()],
            audiences: vec!["flipt".to_owned()],
            accept_api_audience: false,
            mode,
            allow: Vec::new(),
            leeway: Duration::from_secs(30),
            grace: Duration::ZERO,
            cache_entries: 256,
        }
    }
}
