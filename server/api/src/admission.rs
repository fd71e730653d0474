//! The guard before every call of the REST port.

use flipt_auth::{Asked, Caller, Guard, credentials};
use flipt_serving::Error;
use http::HeaderMap;

/// Finds out who calls a service, and whether the caller may ask this of it.
///
/// # Errors
/// Those of decoding the request, which come first (api spec, section 2.5); then those of the guard.
pub(crate) async fn admit(
    guard: &Guard,
    service: &str,
    headers: &HeaderMap,
    request: impl FnOnce() -> Result<Asked, Error> + Send,
) -> Result<Caller, Error> {
    match guard.authenticate(service, &credentials::from_http(headers)).await {
        Ok(caller) if guard.asks_for_request(&caller, service) => {
            guard.check(&caller, service, headers, &request()?)?;
            Ok(caller)
        }
        Ok(caller) => Ok(caller),
        Err(refusal) => request().and(Err(refusal)),
    }
}

/// The caller of a gRPC request, as the layer before all services found it.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_default()
}
