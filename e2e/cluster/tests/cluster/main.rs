//! Promises of the product in a real Kubernetes. `make e2e` runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod evaluates_in_pods;
mod keeps_bad_resources_out;
mod shows_resources;

#[path = "../../../../crds/tests/resources/samples.rs"]
mod samples;
