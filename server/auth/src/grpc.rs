//! The guard before every gRPC service.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use flipt_serving::{Code, Error, http::BODY_LIMIT};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{Asked, Caller, Guard, scope, services};

/// Bytes before each message: whether it is compressed, and its length.
const FRAME_HEAD: usize = 5;
/// Longest time a client may take to send its request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Puts the guard before every service.
///
/// # Guarantees
/// - No service behind it is reached by a call that the guard did not admit; a method that is not described
///   in the API is answered here.
/// - Handlers find the [`Caller`] in the extensions of their request.
#[derive(Clone)]
pub struct GrpcAdmission {
    guard: Guard,
}

impl GrpcAdmission {
    /// Asks this guard.
    #[must_use]
    pub const fn new(guard: Guard) -> Self {
        Self { guard }
    }
}

impl<S> Layer<S> for GrpcAdmission {
    type Service = Admitting<S>;

    fn layer(&self, inner: S) -> Admitting<S> {
        Admitting { guard: self.guard.clone(), inner }
    }
}

/// A service behind the guard.
#[derive(Clone)]
pub struct Admitting<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Admitting<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = self.guard.clone();
        let fresh = self.inner.clone();
        // The one that was polled ready is the one to call.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            match admit(&guard, request).await {
                Ok(request) => inner.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// Lets a request through, with its caller, or says why not.
async fn admit(guard: &Guard, mut request: Request<Body>) -> Result<Request<Body>, Status> {
    let path = request.uri().path().to_owned();
    let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
    let message = match scope::request_of(service, method) {
        Some(message) if guard.offers(service) => message,
        // Health and reflection describe themselves elsewhere and need no credentials.
        None if services::is_public(service) => return Ok(request),
        None if scope::has_service(service) && guard.offers(service) => {
            return Err(Status::unimplemented(format!("unknown method {method} for service {service}")));
        }
        _ => return Err(Status::unimplemented(format!("unknown service {service}"))),
    };
    let caller = guard.authenticate(service, request.headers()).await?;
    if guard.asks_for_request(&caller, service) {
        let (head, body) = request.into_parts();
        let body = read(body).await?;
        let asked = Asked { message, bytes: first_message(&body)?.to_vec() };
        guard.check(&caller, service, &head.headers, &asked)?;
        request = Request::from_parts(head, Body::new(Full::new(body)));
    }
    request.extensions_mut().insert::<Caller>(caller);
    Ok(request)
}

async fn read(body: Body) -> Result<Bytes, Error> {
    let reading = Limited::new(body, BODY_LIMIT + FRAME_HEAD).collect();
    match tokio::time::timeout(TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Error::new(
            Code::ResourceExhausted,
            format!("request could not be read, or is larger than {BODY_LIMIT} bytes: {error}"),
        )),
        Err(_) => Err(Error::new(
            Code::DeadlineExceeded,
            format!("request did not arrive within {} s", TIMEOUT.as_secs()),
        )),
    }
}

/// The message that a service reads from this body: the first one.
fn first_message(mut body: &[u8]) -> Result<&[u8], Error> {
    let unreadable = |problem: &str| Error::new(Code::InvalidArgument, format!("request {problem}"));
    if body.len() < FRAME_HEAD {
        return Err(unreadable("holds no message"));
    }
    if body.get_u8() != 0 {
        return Err(Error::new(Code::Unimplemented, "compressed requests are not supported"));
    }
    let length = usize::try_from(body.get_u32()).unwrap_or(usize::MAX);
    body.get(..length).ok_or_else(|| unreadable("ends within its message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_of_a_body_is_the_one_that_is_judged() {
        assert_eq!(first_message(&[0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0]).unwrap(), [7, 8]);
        assert_eq!(first_message(&[0, 0, 0, 0, 0]).unwrap(), b"");
        for body in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 2, 7], &[1, 0, 0, 0, 0]] {
            assert!(first_message(body).is_err(), "{body:?}");
        }
    }
}
