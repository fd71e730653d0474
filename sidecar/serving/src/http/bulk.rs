//! OFREP's bulk evaluation over HTTP, which clients poll: answered only if something has changed.

use std::collections::BTreeMap;

use flipt_proto::ofrep::EvaluateBulkRequest;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::ETAG};
use http_body_util::Full;
use hyper::body::Bytes;

use super::{environment, ofrep_namespace, reply, tag};
use crate::{Error, Evaluator, Scope, ofrep::TARGETING_KEY, request::decode, response::ToJson as _};

/// Answers a bulk evaluation, with a tag; or 304, if the caller knows the tag.
///
/// # Errors
/// As [`Evaluator::ofrep_bulk`].
pub(super) fn answer(
    evaluator: &Evaluator,
    scope: &Scope,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Full<Bytes>>, Error> {
    let request = decode::<EvaluateBulkRequest>(body)?;
    let namespace = ofrep_namespace(headers);
    // Before the evaluation: should the state change in between, the tag is too old, and the next poll brings
    // the answer once more. The other way round it would be withheld.
    let etag = tag_of(evaluator, headers, &request);
    if let Some(etag) =
        etag.as_ref().filter(|etag| etag.to_str().is_ok_and(|text| tag::is_known(headers, text)))
    {
        scope.require(namespace)?;
        let mut response = reply::json(Vec::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, etag.clone());
        return Ok(response);
    }
    let mut response = reply::json(evaluator.ofrep_bulk(scope, namespace, &request)?.to_json());
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// A tag over everything that the answer follows from. `None` without a targeting key: entities are then made
/// up, and no two answers are the same.
fn tag_of(evaluator: &Evaluator, headers: &HeaderMap, request: &EvaluateBulkRequest) -> Option<HeaderValue> {
    request.context.get(TARGETING_KEY)?;
    let version = evaluator.source().version()?;
    let context: BTreeMap<&str, &str> =
        request.context.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // Another release may evaluate or write otherwise.
    let fixed = [env!("CARGO_PKG_VERSION"), &version, environment(headers), ofrep_namespace(headers)];
    tag::weak(fixed.into_iter().chain(context.into_iter().flat_map(|(name, value)| [name, value])))
}
