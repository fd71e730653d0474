//! A client of the Flipt API for tools: those of [`call`], over REST or gRPC, as the address says.
//!
//! Speaks to any server of the API, Flipt v1 included. Every call has a time limit; a failure names what was
//! asked, and never the token.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
pub mod call;
mod error;
mod grpc;
mod rest;

use std::time::Duration;

pub use address::{Address, AddressError};
pub use call::Call;
use call::Verb;
pub use error::{CallError, Code};

/// Longest time until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time until the whole answer to a call is there. Longer than the server's own limit of 30 s, so that
/// its answer arrives.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

const USER_AGENT: &str = concat!("flipt/", env!("CARGO_PKG_VERSION"));

/// Calls of one server, with one token.
#[derive(Clone)]
pub struct Client(Transport);

#[derive(Clone)]
enum Transport {
    Rest(rest::Rest),
    Grpc(grpc::Grpc),
}

impl Client {
    /// A client of the server at this address. Nothing is connected before the first call.
    ///
    /// The token is sent as `Authorization: Bearer …`; an empty one is not sent.
    ///
    /// # Assumptions
    /// The process has installed its TLS provider.
    ///
    /// # Errors
    /// [`CallError::Setup`]: the token cannot stand in a header, or TLS cannot be set up.
    pub fn new(address: &Address, token: &str) -> Result<Self, CallError> {
        let transport = if address.is_grpc() {
            Transport::Grpc(grpc::Grpc::new(address, token)?)
        } else {
            Transport::Rest(rest::Rest::new(address, token)?)
        };
        Ok(Self(transport))
    }

    /// Calls the server and waits for its answer.
    ///
    /// # Errors
    /// [`CallError::Refused`] if the server answers with an error, another one if there is no answer that can
    /// be read. A call that was sent may have had its effect although its answer is missing.
    pub async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Answer, CallError> {
        let calling = async {
            match &self.0 {
                Transport::Rest(rest) => rest.call::<C>(request).await,
                Transport::Grpc(grpc) => grpc.call::<C>(request).await,
            }
        };
        tokio::time::timeout(CALL_TIMEOUT, calling)
            .await
            .unwrap_or_else(|_| Err(CallError::TimedOut { call: C::NAME, seconds: CALL_TIMEOUT.as_secs() }))
    }
}
