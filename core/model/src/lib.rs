//! The flag model: what a flag, a segment and a namespace are, independent of how they are stored or served.
//!
//! This crate is pure: no I/O, no async, no HTTP, no gRPC. Everything above it (engine, store, API, sidecar)
//! speaks in these types.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod document;
mod enums;
mod json;
mod number;
pub mod ownership;
mod quote;
pub mod resource;
mod state;
pub mod time;
pub mod validation;

pub use enums::{ConstraintType, FlagType, MatchType, SegmentOperator};
pub use state::{
    Constraint, Distribution, Flag, Namespace, Rollout, RolloutRule, Rule, Segment, Snapshot, Variant,
};

/// Key of the namespace that is meant wherever none is named.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Key of the environment that exists without any configuration.
pub const DEFAULT_ENVIRONMENT: &str = "default";

/// Resolves a namespace key as requests carry it: the empty text means [`DEFAULT_NAMESPACE`].
#[must_use]
pub fn namespace_or_default(key: &str) -> &str {
    if key.is_empty() { DEFAULT_NAMESPACE } else { key }
}
