//! The snapshot endpoint for client-side engines (api spec, section 2.9).

use std::sync::Arc;

use bytes::Bytes;
use flipt_proto::evaluation::{
    EvaluationNamespaceSnapshot, EvaluationNamespaceSnapshotRequest, data_service_server::DataService,
};
use flipt_serving::{
    Error,
    http::{environment, json_reply, tag::names},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::{Request, Response as GrpcResponse, Status, metadata::MetadataValue};

use crate::{
    Api,
    compression::accepts_gzip,
    snapshots::{AcceptedVersion, Versioned},
};

/// Full name of the service.
pub(crate) const SERVICE: &str = "flipt.evaluation.DataService";

/// Whether the client has this state already.
pub(crate) fn is_known(snapshot: &Versioned, condition: Option<&HeaderValue>) -> bool {
    let condition = condition.and_then(|value| value.to_str().ok());
    match (condition, &snapshot.etag) {
        (Some(condition), Some(etag)) => names(condition, etag),
        _ => false,
    }
}

/// The snapshot of a namespace over REST.
///
/// # Errors
/// Those of the store.
pub(crate) async fn rest(api: &Api, key: &str, headers: &HeaderMap) -> Result<Response<Full<Bytes>>, Error> {
    let snapshot = api.snapshot_of(environment(headers), key).await?;
    if is_known(&snapshot, headers.get(header::IF_NONE_MATCH)) {
        return Ok(not_modified(&snapshot));
    }
    let gzip = accepts_gzip(headers);
    let body = snapshot.json(AcceptedVersion::from_headers(headers), gzip).await?;
    Ok(tagged(encoded(body, gzip), snapshot.etag.as_deref()))
}

/// The answer to who has this state already. It repeats the tag: clients look for it.
pub(crate) fn not_modified(snapshot: &Versioned) -> Response<Full<Bytes>> {
    let mut response = json_reply(Vec::new());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    tagged(response, snapshot.etag.as_deref())
}

/// An answer with a body that may be compressed already.
pub(crate) fn encoded(body: Bytes, gzip: bool) -> Response<Full<Bytes>> {
    let mut response = json_reply(Vec::new()).map(|_| Full::new(body));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Adds the tag, without quotes as clients expect it.
pub(crate) fn tagged(mut response: Response<Full<Bytes>>, etag: Option<&str>) -> Response<Full<Bytes>> {
    if let Some(value) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

impl Api {
    /// The snapshot of a namespace in the environment that a header names.
    pub(crate) async fn snapshot_of(&self, environment: &str, key: &str) -> Result<Arc<Versioned>, Error> {
        let (environment, snapshots) = self.resolve(environment)?;
        snapshots.get(&*environment, key).await
    }
}

#[tonic::async_trait]
impl DataService for Api {
    async fn evaluation_snapshot_namespace(
        &self,
        request: Request<EvaluationNamespaceSnapshotRequest>,
    ) -> Result<GrpcResponse<EvaluationNamespaceSnapshot>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        let snapshot = self.snapshot_of(environment(&headers), &message.key).await?;
        let is_known = is_known(&snapshot, headers.get("grpcgateway-if-none-match"));
        let mut response = GrpcResponse::new(if is_known {
            EvaluationNamespaceSnapshot::default()
        } else {
            snapshot.message(AcceptedVersion::from_headers(&headers))
        });
        if let Some(value) = snapshot.etag.as_ref().and_then(|etag| MetadataValue::try_from(etag).ok()) {
            response.metadata_mut().insert("x-etag", value);
        }
        if is_known {
            response.metadata_mut().insert("x-http-code", MetadataValue::from_static("304"));
        }
        Ok(response)
    }
}
