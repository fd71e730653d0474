//! Calls to any gRPC method, described by the embedded descriptors.

use std::{sync::LazyLock, time::Duration};

use prost::{
    Message as _,
    bytes::{Buf, BufMut},
};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::{Map, Value};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{KeyAndValueRef, MetadataKey, MetadataMap, MetadataValue},
    transport::Endpoint,
};

use crate::Error;

const TIMEOUT: Duration = Duration::from_secs(30);

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(flipt_proto::DESCRIPTORS).ok()?;
    pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET).ok()?;
    Some(pool)
});

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Name of the status code.
    pub(crate) code: &'static str,
    /// Text of the status.
    pub(crate) message: String,
    /// Message of a success.
    pub(crate) body: Option<Value>,
    /// Metadata that are text.
    pub(crate) metadata: Vec<(String, String)>,
}

/// Calls `package.Service/Method`. A method without a descriptor is called with an empty message, so that
/// its status can be seen.
///
/// # Errors
/// [`Error::Grpc`].
pub(crate) fn call(
    port: u16,
    method: &str,
    message: &Value,
    metadata: &[(String, String)],
) -> Result<Answer, Error> {
    let descriptor = describe(method);
    let request = descriptor.as_ref().map_or(Ok(Vec::new()), |descriptor| {
        DynamicMessage::deserialize(descriptor.input(), message)
            .map(|message| message.encode_to_vec())
            .map_err(|error| Error::Grpc(format!("{method}: {error}")))
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(exchange(port, method, request, metadata))?;
    let (metadata, result) = match outcome {
        Ok(response) => {
            let (metadata, bytes, _) = response.into_parts();
            (metadata, Ok(bytes))
        }
        Err(status) => (status.metadata().clone(), Err(status)),
    };
    let metadata = texts(&metadata);
    match result {
        Err(status) => Ok(Answer {
            code: name(status.code()),
            message: status.message().to_owned(),
            body: None,
            metadata,
        }),
        Ok(bytes) => {
            let body = match &descriptor {
                Some(descriptor) => to_json(descriptor, &bytes)?,
                None => Value::Object(Map::new()),
            };
            Ok(Answer { code: "OK", message: String::new(), body: Some(body), metadata })
        }
    }
}

fn describe(method: &str) -> Option<MethodDescriptor> {
    let (service, method) = method.split_once('/')?;
    POOL.as_ref()?.get_service_by_name(service)?.methods().find(|known| known.name() == method)
}

fn to_json(descriptor: &MethodDescriptor, bytes: &[u8]) -> Result<Value, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Grpc(format!("{}: {error}", descriptor.full_name()));
    let message = DynamicMessage::decode(descriptor.output(), bytes).map_err(|error| failed(&error))?;
    // Through text: a 32-bit float must not become a 64-bit one on the way.
    let mut text = Vec::new();
    message
        .serialize_with_options(
            &mut serde_json::Serializer::new(&mut text),
            &SerializeOptions::new().skip_default_fields(false),
        )
        .map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

async fn exchange(
    port: u16,
    method: &str,
    message: Vec<u8>,
    metadata: &[(String, String)],
) -> Result<Result<tonic::Response<Vec<u8>>, Status>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Grpc(format!("{method}: {error}"));
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
        .map_err(|error| failed(&error))?
        .timeout(TIMEOUT);
    let channel = endpoint.connect().await.map_err(|error| failed(&error))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| failed(&error))?;
    let mut request = tonic::Request::new(message);
    for (name, value) in metadata {
        let name = MetadataKey::from_bytes(name.as_bytes()).map_err(|error| failed(&error))?;
        let value = MetadataValue::try_from(value.as_str()).map_err(|error| failed(&error))?;
        request.metadata_mut().insert(name, value);
    }
    let path = tonic::codegen::http::uri::PathAndQuery::try_from(format!("/{method}"))
        .map_err(|error| failed(&error))?;
    Ok(client.unary(request, path, Bytes).await)
}

fn texts(metadata: &MetadataMap) -> Vec<(String, String)> {
    metadata
        .iter()
        .filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(name, value) => Some((name.to_string(), value.to_str().ok()?.to_owned())),
            KeyAndValueRef::Binary(..) => None,
        })
        .collect()
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Messages that are encoded already.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length).to_vec()))
    }
}
