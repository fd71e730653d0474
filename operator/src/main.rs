//! The operator: reconciles the custom resources of Flipt and injects sidecars.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

fn main() {}
