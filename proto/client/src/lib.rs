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

/// How a client calls, where it differs from what suits tools.
#[derive(Clone)]
pub struct Options {
    /// Certificates (PEM) that the server's own is checked against, instead of those that the machine trusts.
    pub authorities: Option<Vec<u8>>,
    /// Longest time until a connection stands.
    pub connect_timeout: Duration,
    /// Longest time until the whole answer to a call is there.
    pub call_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { authorities: None, connect_timeout: CONNECT_TIMEOUT, call_timeout: CALL_TIMEOUT }
    }
}

/// Calls of one server, with one token.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    call_timeout: Duration,
}

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
        Self::with(address, Options::default())?.with_token(token)
    }

    /// A client without a token that calls as the options say.
    ///
    /// # Assumptions
    /// The process has installed its TLS provider.
    ///
    /// # Errors
    /// [`CallError::Setup`]: TLS cannot be set up, or there is no certificate among the authorities.
    pub fn with(address: &Address, options: Options) -> Result<Self, CallError> {
        let transport = if address.is_grpc() {
            Transport::Grpc(grpc::Grpc::new(address, &options)?)
        } else {
            Transport::Rest(rest::Rest::new(address, &options)?)
        };
        Ok(Self { transport, call_timeout: options.call_timeout })
    }

    /// The same client, over the same connections, with another token; an empty one is not sent.
    ///
    /// # Errors
    /// [`CallError::Setup`]: the token cannot stand in a header.
    pub fn with_token(&self, token: &str) -> Result<Self, CallError> {
        let transport = match &self.transport {
            Transport::Rest(rest) => Transport::Rest(rest.with_token(token)?),
            Transport::Grpc(grpc) => Transport::Grpc(grpc.with_token(token)?),
        };
        Ok(Self { transport, call_timeout: self.call_timeout })
    }

    /// The same client, over the same connections, with another limit for calls.
    #[must_use]
    pub fn with_call_timeout(&self, call_timeout: Duration) -> Self {
        Self { transport: self.transport.clone(), call_timeout }
    }

    /// Calls the server and waits for its answer.
    ///
    /// # Errors
    /// [`CallError::Refused`] if the server answers with an error, another one if there is no answer that can
    /// be read. A call that was sent may have had its effect although its answer is missing.
    pub async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Answer, CallError> {
        let calling = async {
            match &self.transport {
                Transport::Rest(rest) => rest.call::<C>(request).await,
                Transport::Grpc(grpc) => grpc.call::<C>(request).await,
            }
        };
        self.limited(C::NAME, calling).await
    }

    /// The version that the server reports, if it tells; over gRPC no server does.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn version(&self) -> Result<Option<String>, CallError> {
        match &self.transport {
            Transport::Rest(rest) => self.limited(rest::INFO, rest.version()).await,
            Transport::Grpc(_) => Ok(None),
        }
    }

    async fn limited<T>(
        &self,
        call: &'static str,
        calling: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        tokio::time::timeout(self.call_timeout, calling)
            .await
            .unwrap_or_else(|_| Err(CallError::TimedOut { call, seconds: self.call_timeout.as_secs() }))
    }
}
