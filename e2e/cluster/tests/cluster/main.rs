//! Promises of the product in a real Kubernetes, as Helm installs it. `make e2e` runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admits_own_pod_only;
mod deletes_and_lets_go;
mod evaluates_in_pods;
mod exports_on_schedule;
mod injects_with_care;
mod installs;
mod lets_owners_own;
mod publishes_in_turn;
mod refuses_damaged_snapshots;
mod runs_servers;
mod starts_before_apps;
mod starts_without_a_store;

#[path = "../shared/manifests.rs"]
mod manifests;
#[path = "../shared/missed.rs"]
mod missed;
