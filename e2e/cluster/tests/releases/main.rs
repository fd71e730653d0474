//! Promises about a release as a whole: upgraded, removed, and what it asked of the API server in all its life.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asks_for_what_it_may;
mod upgrades_and_leaves;

#[path = "../shared/manifests.rs"]
mod manifests;
