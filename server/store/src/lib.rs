//! Flag state in SQL databases: management of every resource, bulk reads and writes, and the compiled
//! snapshot that each committed write brings up to date before its caller gets the answer.
//!
//! One set of query code serves every database; what differs stands in [`database::Dialect`].

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod authentications;
mod changes;
mod clock;
mod constraints;
pub mod database;
mod distributions;
mod environments;
mod error;
mod flags;
mod import;
mod live;
pub mod migrations;
pub mod names;
mod namespaces;
mod no_authentications;
mod ownership;
mod paging;
mod place;
mod resources;
mod rollouts;
mod rules;
mod segments;
mod snapshot;
mod sql;
mod state;
mod store;
mod variants;
mod writer;

pub use authentications::{AuthenticationPage, AuthenticationStore, NewAuthentication};
pub use database::{ConnectError, Database, DatabaseOptions, Dialect};
pub use environments::{Environments, SqlEnvironments};
pub use error::StoreError;
pub use import::{ImportMode, ImportedNamespace};
pub use live::{Live, NamespaceVersion};
pub use namespaces::check_deletion as check_namespace_deletion;
pub use no_authentications::NoAuthentications;
pub use ownership::{
    Applied, Changed, Claims, Desired, History, Managed, OverrideState, Ownership, Released, ResourceName,
    Switch,
};
pub use resources::{Edit, WriteMode};
pub use sql::SqlStore;
pub use state::{Version, read_snapshot};
pub use store::{Environment, Part, Store};
