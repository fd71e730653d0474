//! What tests in a cluster share: a namespace of their own, the product as Helm installs it, an S3 server, and
//! applications that evaluate.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod app;
mod daemon;
mod database;
mod definitions;
mod editor;
mod helm;
mod kubectl;
mod namespace;
pub mod object_store;
mod program;
pub mod reach;
mod recovery;
pub mod release;
mod volume;
mod wait;
mod workload;

pub use app::App;
pub use daemon::{Outage, cluster_is_ours, outages};
pub use database::Database;
pub use definitions::{install_definitions, resource_of};
pub use editor::Editor;
pub use helm::helm;
pub use kubectl::{kubectl, kubectl_apply, kubectl_with};
pub use namespace::{in_namespace, wait_for_account};
pub use recovery::kubernetes_recovers;
pub use wait::{PATIENCE, TIMEOUT, until, until_some, until_within};
pub use workload::{apply, pod_spec, run_to_end, wait_until_available};
