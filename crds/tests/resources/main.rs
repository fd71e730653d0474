//! The manifests, asked as an API server asks them, and what becomes of what they let in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_server;
mod converts_what_is_accepted;
mod refuses_bad_resources;
mod samples;
