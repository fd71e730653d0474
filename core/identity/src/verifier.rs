//! Verification of a request's token.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use jsonwebtoken::crypto;

use crate::access;
use crate::cache::{self, Cache};
use crate::caller::Caller;
use crate::config::VerifierConfig;
use crate::error::AuthError;
use crate::keys::KeySet;
use crate::token::{self, Claims, Token};

/// How far in the future a token may have been issued, for clocks that differ.
const FUTURE_LEEWAY: Duration = Duration::from_secs(60);
/// The longest life of a projected token: kubelet asks for at most a day, and clocks differ.
const LONGEST_LIFE: Duration = Duration::from_secs(25 * 3600);
/// How long a verified token is believed without looking again.
const CACHE_TIME: Duration = Duration::from_secs(60);

/// Tells from a request's token who sent it.
pub struct Verifier {
    config: VerifierConfig,
    trust: ArcSwap<Trust>,
}

/// Keys and issuers, with the tokens that were verified with them. They are replaced together, so that no token
/// outlives the key it was verified with, not even one whose verification is under way at that moment.
struct Trust {
    keys: KeySet,
    issuers: Vec<String>,
    /// What the API server calls itself, besides its issuers.
    api_audiences: Vec<String>,
    verified: Cache,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that accepts what the configuration says, signed with these keys.
    #[must_use]
    pub fn new(config: VerifierConfig, keys: KeySet) -> Self {
        let leeway = config.leeway.min(VerifierConfig::LONGEST_LEEWAY);
        let grace = config.grace.min(VerifierConfig::LONGEST_GRACE);
        let config = VerifierConfig { leeway, grace, ..config };
        let verified = Cache::new(config.cache_entries);
        let issuers = config.issuers.clone();
        let trust = Trust { keys, issuers, api_audiences: Vec::new(), verified };
        Self { trust: ArcSwap::from_pointee(trust), config }
    }

    /// What the verifier accepts.
    #[must_use]
    pub const fn config(&self) -> &VerifierConfig {
        &self.config
    }

    /// Verifies with these keys from now on. Tokens that were verified with the present ones are verified anew,
    /// unless the keys are the same.
    pub fn replace_keys(&self, keys: KeySet) {
        if self.trust.load().keys == keys {
            return;
        }
        self.trust.rcu(|trust| Trust {
            keys: keys.clone(),
            issuers: trust.issuers.clone(),
            api_audiences: trust.api_audiences.clone(),
            verified: Cache::new(self.config.cache_entries),
        });
    }

    /// Accepts these issuers from now on, and these audiences as names of their API server; as
    /// [`Verifier::replace_keys`] otherwise.
    pub fn replace_issuers(&self, issuers: &[String], api_audiences: &[String]) {
        let trust = self.trust.load();
        if trust.issuers == issuers && trust.api_audiences == api_audiences {
            return;
        }
        self.trust.rcu(|trust| Trust {
            keys: trust.keys.clone(),
            issuers: issuers.to_vec(),
            api_audiences: api_audiences.to_vec(),
            verified: Cache::new(self.config.cache_entries),
        });
    }

    /// The audiences that a token may be for at present.
    #[must_use]
    pub fn audiences(&self) -> Vec<String> {
        let trust = self.trust.load();
        let mut audiences = self.config.audiences.clone();
        if self.config.accept_api_audience {
            audiences.extend(trust.issuers.iter().chain(&trust.api_audiences).cloned());
            audiences.extend(VerifierConfig::API_AUDIENCES.map(str::to_owned));
        }
        audiences
    }

    /// Whether there is what it takes to verify tokens: keys, and an issuer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let trust = self.trust.load();
        !trust.keys.is_empty() && !trust.issuers.is_empty()
    }

    /// Tells who sent a request with this `Authorization` header.
    ///
    /// # Expected flow
    ///
    /// 1. A token that was verified within the last minute, and has not expired since, is not looked at again.
    /// 2. What costs little is checked first: form, algorithm, key id, issuer, audience, expiry.
    /// 3. The signature is checked.
    /// 4. Whatever else the token says is checked, and whether its sender may call.
    ///
    /// # Errors
    ///
    /// The first thing found wrong. On [`AuthError::UnknownKey`] it is worth looking for new keys, not more
    /// often than every few seconds, and trying once more.
    pub fn verify(&self, authorization: Option<&str>, now: SystemTime) -> Result<Arc<Caller>, AuthError> {
        let token = token::bearer(authorization)?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let trust = self.trust.load();
        let fingerprint = cache::fingerprint(token);
        if let Some(caller) = trust.verified.get(&fingerprint, now) {
            return Ok(caller);
        }

        let (caller, expiry) = self.verify_with(&trust, token, now)?;
        let caller = Arc::new(caller);
        trust.verified.insert(fingerprint, Arc::clone(&caller), now, expiry.min(now + CACHE_TIME));
        Ok(caller)
    }

    fn verify_with(
        &self,
        trust: &Trust,
        token: &str,
        now: Duration,
    ) -> Result<(Caller, Duration), AuthError> {
        if trust.keys.is_empty() || trust.issuers.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        let Token { header, claims, message, signature } = Token::read(token)?;
        if !is_accepted(&header.alg) {
            return Err(AuthError::UnsupportedAlgorithm);
        }
        let key = trust.keys.get(&header.kid).ok_or(AuthError::UnknownKey)?;
        let (algorithm, key) = key.for_algorithm(&header.alg).ok_or(AuthError::UnsupportedAlgorithm)?;
        let times = self.check_before_signature(trust, &claims, now)?;
        if !crypto::verify(signature, message.as_bytes(), &key, algorithm).unwrap_or(false) {
            return Err(AuthError::BadSignature);
        }
        self.check_times(&claims, times, now)?;
        let identity = claims.identity()?;
        let grants = access::grants(&self.config.mode, &self.config.allow, &identity).map_err(|refusal| {
            AuthError::NotAllowed {
                namespace: identity.namespace.clone(),
                service_account: identity.service_account.clone(),
                refusal,
            }
        })?;
        let issued_at = SystemTime::UNIX_EPOCH.checked_add(times.issued).ok_or(AuthError::MalformedToken)?;
        let expires_at = SystemTime::UNIX_EPOCH.checked_add(times.expiry).ok_or(AuthError::MalformedToken)?;
        let caller = Caller {
            namespace: identity.namespace,
            service_account: identity.service_account,
            service_account_uid: identity.service_account_uid,
            pod: identity.pod,
            issued_at,
            expires_at,
            grants,
        };
        Ok((caller, times.expiry))
    }

    fn check_before_signature(
        &self,
        trust: &Trust,
        claims: &Claims,
        now: Duration,
    ) -> Result<Times, AuthError> {
        if !trust.issuers.contains(&claims.iss) {
            return Err(AuthError::WrongIssuer);
        }
        let names_api_server = claims.aud.meet(&trust.issuers)
            || claims.aud.meet(&trust.api_audiences)
            || claims.aud.meet_any(&VerifierConfig::API_AUDIENCES);
        let for_api_server = self.config.accept_api_audience && names_api_server;
        if !for_api_server && !claims.aud.meet(&self.config.audiences) {
            return Err(AuthError::WrongAudience);
        }
        let expiry = Duration::from_secs(claims.exp.ok_or(AuthError::MissingClaim("exp"))?);
        let issued = Duration::from_secs(claims.iat.ok_or(AuthError::MissingClaim("iat"))?);
        if expiry.saturating_add(self.config.leeway + self.config.grace) <= now {
            return Err(AuthError::Expired { seconds_ago: (now - expiry).as_secs() });
        }
        Ok(Times { issued, expiry, for_api_server })
    }

    /// Checks what is worth reporting only of a token that is genuine.
    fn check_times(&self, claims: &Claims, times: Times, now: Duration) -> Result<(), AuthError> {
        let start = times.issued.max(Duration::from_secs(claims.nbf.unwrap_or_default()));
        if start > now + FUTURE_LEEWAY {
            return Err(AuthError::NotYetValid { seconds: (start - now).as_secs() });
        }
        if !times.for_api_server && times.expiry.saturating_sub(times.issued) > LONGEST_LIFE {
            return Err(AuthError::TooLongLived);
        }
        Ok(())
    }
}

/// When a token was issued, when it ends, and whether the API server is its audience.
#[derive(Clone, Copy)]
struct Times {
    issued: Duration,
    expiry: Duration,
    for_api_server: bool,
}

/// Whether any key could be used with this algorithm. Checked before the key is looked up, so that a token with
/// `none` or a shared secret is not mistaken for one with a new key.
fn is_accepted(algorithm: &str) -> bool {
    matches!(
        algorithm,
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" | "ES256" | "ES384" | "EdDSA"
    )
}
