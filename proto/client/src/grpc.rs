//! Calls over gRPC.

use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    client::Grpc as Unary,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    Address, Call, CallError, Code, Options,
    error::{bearer, causes},
};

/// Most bytes of an answer: a page of flags with the largest attachments.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Grpc {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    address: String,
}

impl Grpc {
    pub(crate) fn new(address: &Address, options: &Options) -> Result<Self, CallError> {
        let setup = |error: tonic::transport::Error| CallError::Setup(causes(&error));
        let mut endpoint = Endpoint::from_shared(address.url().to_string())
            .map_err(setup)?
            .connect_timeout(options.connect_timeout)
            .user_agent(crate::USER_AGENT)
            .map_err(setup)?;
        if address.url().scheme() == "https" {
            let tls = match &options.authorities {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(setup)?;
        }
        Ok(Self { channel: endpoint.connect_lazy(), authorization: None, address: address.to_string() })
    }

    pub(crate) fn with_token(&self, token: &str) -> Result<Self, CallError> {
        let authorization = bearer(token, |text| {
            let mut value = MetadataValue::try_from(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        })?;
        Ok(Self { authorization, ..self.clone() })
    }

    pub(crate) async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Answer, CallError> {
        let mut client = Unary::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT);
        client.ready().await.map_err(|error| self.unreachable::<C>(causes(&error)))?;
        let mut request = Request::new(request.clone());
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        let codec: ProstCodec<C::Request, C::Answer> = ProstCodec::default();
        let answer = client.unary(request, PathAndQuery::from_static(C::METHOD), codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failed::<C>(&status))
    }

    /// A status of the server is its answer; one with a cause was made on this side.
    fn failed<C: Call>(&self, status: &Status) -> CallError {
        match std::error::Error::source(status) {
            Some(cause) => self.unreachable::<C>(causes(cause)),
            None => CallError::Refused {
                code: Code::new(status.code().into()),
                message: status.message().to_owned(),
            },
        }
    }

    fn unreachable<C: Call>(&self, detail: String) -> CallError {
        CallError::Unreachable { call: C::NAME, address: self.address.clone(), detail }
    }
}
