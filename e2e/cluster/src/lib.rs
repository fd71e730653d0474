//! What tests in a cluster share: a namespace of their own, and the custom resources in place.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod definitions;
mod kubectl;
mod namespace;
mod workload;

pub use definitions::{install_definitions, resource_of};
pub use kubectl::kubectl;
pub use namespace::in_namespace;
pub use workload::{apply, pod_spec, run_to_end, wait_until_available};
