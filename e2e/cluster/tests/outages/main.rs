//! Promises that are kept while parts of the cluster are killed; one after the other, because they disturb everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod keeps_a_thousand_flags;
mod loses_a_kind;
mod rotates_certificates;
mod serves_through_outages;

#[path = "../shared/manifests.rs"]
mod manifests;
