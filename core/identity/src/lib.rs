//! Verification of Kubernetes service account tokens against known keys, without asking anybody.
//!
//! A [`Verifier`] takes the `Authorization` header of a request and tells who sent it: a [`Caller`], or the
//! [`AuthError`] that names the first thing that is wrong. It does no I/O. Whoever owns it reads the keys from a
//! file or an API server, hands them over with [`Verifier::replace_keys`], and does so again when a token comes
//! with a key that is not known ([`AuthError::UnknownKey`]).
//!
//! What offline verification cannot see: that a pod or service account was deleted, or a token revoked, before
//! the token expires.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod access;
mod cache;
mod caller;
mod config;
mod error;
mod keys;
mod pattern;
mod token;
mod verifier;

pub use access::{AllowEntry, Grant, Mode, Permission};
pub use caller::{Caller, Pod};
pub use config::VerifierConfig;
pub use error::{AuthError, Refusal};
pub use keys::{KeySet, KeySetError, SkipReason, SkippedKey};
pub use pattern::Pattern;
pub use token::{Issuance, is_service_account_token};
pub use verifier::Verifier;
