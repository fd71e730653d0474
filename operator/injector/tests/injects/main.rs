//! Promises of an injection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gives_what_a_pod_needs;
mod leaves_pods_alone;
mod pods;
mod survives_reinvocation;
mod touches_only_its_own;
