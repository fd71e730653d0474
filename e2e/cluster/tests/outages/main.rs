//! Promises that are kept while parts of the cluster are killed, and what is measured: one after the other, because the
//! former disturb everything and the latter is disturbed by anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes_reach_pods;
mod keeps_a_thousand_flags;
mod keeps_to_its_namespaces;
mod loses_a_kind;
mod pods;
mod replaces_operators;
mod rotates_certificates;
mod serves_through_outages;
mod takes_a_certificate_of_others;

#[path = "../shared/manifests.rs"]
mod manifests;
#[path = "../shared/missed.rs"]
mod missed;
