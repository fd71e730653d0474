//! Messages and services of the Flipt v1 API, generated from our own `.proto` files.
//!
//! Names, numbers and types are those of Flipt v1.61.1, because they are what clients see. The generated
//! clients and servers are free of any transport; callers bring their channel.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod convert;
mod structs;
mod time;

pub use structs::{json_to_struct, json_to_value, struct_to_json, value_to_json};
pub use time::{from_unix_micros, rfc3339, to_unix_micros};

/// Package `flipt`: management and legacy evaluation.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, deprecated)]
pub mod flipt {
    tonic::include_proto!("flipt");

    /// Package `flipt.auth`: credentials.
    pub mod auth {
        tonic::include_proto!("flipt.auth");
    }

    /// Package `flipt.meta`: what a server says about itself.
    pub mod meta {
        tonic::include_proto!("flipt.meta");
    }

    /// Package `flipt.evaluation`: evaluation and snapshots for client-side engines.
    pub mod evaluation {
        tonic::include_proto!("flipt.evaluation");
    }

    /// Package `flipt.ofrep`: OpenFeature Remote Evaluation Protocol.
    pub mod ofrep {
        tonic::include_proto!("flipt.ofrep");
    }

    /// Package `flipt.core`: whole flags and segments (API of Flipt v2).
    pub mod core {
        tonic::include_proto!("flipt.core");
    }

    /// Package `flipt.ownership`: what objects of a cluster own.
    pub mod ownership {
        tonic::include_proto!("flipt.ownership");
    }
}

/// Package `environments`: environments and whole resources in them (API of Flipt v2).
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod environments {
    tonic::include_proto!("environments");
}

/// Package `evaluation`: snapshots as a stream (API of Flipt v2).
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod client {
    tonic::include_proto!("evaluation");
}

/// Packages of Google that the API uses.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod google {
    /// Package `google.api`.
    pub mod api {
        tonic::include_proto!("google.api");
    }
}

pub use flipt::{auth, evaluation, meta, ofrep, ownership};

/// Every file above with its imports, as an encoded `google.protobuf.FileDescriptorSet`: what reflection
/// serves and what the REST gateway is driven by.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
