//! Evaluation over HTTP (Flipt's paths), gRPC and OFREP: the part that the sidecar and the server share.
//!
//! An operation is written once, in [`Evaluator`], on the wire messages; the transports decode, ask the
//! [`Gate`] who is calling, call it, and encode.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod evaluator;
mod exchange;
mod gate;
mod grpc;
pub mod http;
mod legacy;
mod listener;
mod metrics;
mod ofrep;
mod request;
mod response;
mod service_account;
mod source;

pub use error::{Code, Error};
pub use evaluator::Evaluator;
pub use exchange::{EXCHANGE_PATH, authentication, exchanged, exchanged_json, token_of_exchange};
pub use gate::{Gate, Open, Scope};
pub use grpc::{EvaluationGrpc, OfrepGrpc};
pub use http::{EvaluationHttp, Offer};
pub use listener::{Body, HttpService, ListenerLimits, serve_http};
pub use metrics::{EvaluationMetrics, Labels};
pub use service_account::{KeyFile, ServiceAccounts, token_refusal};
pub use source::{Source, UnknownEnvironment, UnknownNamespace};
