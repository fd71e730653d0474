//! Promises of the definitions of the custom resources, kept by a real API server without an operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod keeps_bad_resources_out;
mod shows_resources;

#[path = "../../../../crds/tests/resources/samples.rs"]
mod samples;
