//! The sidecar's place in a pod: a pure function from a pod and a profile to a patch.
//!
//! [`inject`] reads the pod as the JSON it is. A typed pod would lose every field that is newer than this program,
//! and a difference between typed pods would remove them. The patch adds, it replaces only what an injection has
//! added before, it moves only the sidecar, and it removes nothing.
//!
//! | File | Decides |
//! |---|---|
//! | `annotation.rs` | what a pod may ask for, and what becomes of wrong values |
//! | `profile.rs` | what is injected, before a pod has been seen |
//! | `image.rs` | which image |
//! | `place.rs` | where among the init containers the sidecar stands |
//! | `ports.rs` | which ports, when the pod uses some of them itself |
//! | `resources.rs` | how much of a node, so that the pod keeps its class of service |
//! | `container.rs` | the sidecar's container |
//! | `volumes.rs` | tokens, trust, cache |
//! | `application.rs` | what the application's containers get |
//! | `status.rs` | what is written on the pod about it |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod annotation;
mod application;
mod container;
mod image;
mod inject;
mod patch;
mod place;
mod pod;
mod ports;
mod profile;
mod quantity;
mod resources;
mod status;
mod volumes;

pub use annotation::{
    ANNOTATION_PROFILE, ANNOTATION_STATUS, LABEL_INJECT, LABEL_INJECTED, LABEL_NAMESPACE_INJECTION,
    profile_name,
};
pub use container::SIDECAR;
pub use inject::{Injection, Outcome, SkipReason, inject};
pub use patch::{Operation, PatchError, apply};
pub use profile::{Profile, Settings, SourceLocation};
pub use status::InjectionStatus;

/// Name of the profile of a pod that names none.
pub const DEFAULT_PROFILE: &str = "default";
