//! What a verifier accepts.

use std::time::Duration;

use crate::access::{AllowEntry, Mode};

/// What a verifier accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierConfig {
    /// Accepted issuers, compared exactly; a trailing slash matters.
    pub issuers: Vec<String>,
    /// Accepted audiences; a token must carry at least one.
    pub audiences: Vec<String>,
    /// Whether a token for the API server itself is accepted, which is one with an accepted issuer as audience.
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
    /// Number of verified tokens to remember.
    pub cache_entries: usize,
}

impl VerifierConfig {
    /// The largest [`VerifierConfig::leeway`].
    pub const LONGEST_LEEWAY: Duration = Duration::from_secs(60);

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
            cache_entries: 256,
        }
    }
}
