//! The sidecar's place in a pod: a pure function from pod and profile to patch (kubernetes design, 4.5 to 4.8).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
