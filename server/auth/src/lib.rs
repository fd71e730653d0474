//! Who calls the server: credentials, the tokens behind them, and the decision whether a call may go on
//! (auth spec).
//!
//! The decision stands in [`Guard`], once for both transports: gRPC asks it in [`GrpcAdmission`], a layer
//! around every service; REST asks it between finding a call and running it. Neither knows how callers
//! prove who they are. A method either keeps client tokens in the store, like the static ones here, or verifies
//! what callers bring, like [`ServiceAccounts`] does.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod authentications;
mod bootstrap;
mod cleanup;
mod client_token;
pub mod cookies;
pub mod credentials;
mod cross_origin;
mod grpc;
mod guard;
mod kubernetes;
mod methods;
mod permissions;
mod scope;
mod services;
mod static_token;

pub use authentications::Authentications;
pub use cross_origin::CrossOrigin;
pub use grpc::GrpcAdmission;
pub use guard::{Caller, Guard, ServiceAccount, refusal};
pub use kubernetes::ServiceAccounts;
pub use scope::Asked;
