//! HTTP answers.

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::{Code, Error, response};

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with a JSON body.
#[must_use]
pub fn json(body: Vec<u8>) -> Response<Full<Bytes>> {
    reply(StatusCode::OK, "application/json", body)
}

/// Plain text with this status.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body.into().into_bytes())
}

/// The answer to a path under an API that nothing is at.
#[must_use]
pub fn not_found() -> Response<Full<Bytes>> {
    error(&Error::new(Code::NotFound, "Not Found"))
}

/// A failure outside OFREP.
#[must_use]
pub fn error(error: &Error) -> Response<Full<Bytes>> {
    let mut response = reply(error.code.http(), "application/json", error.body());
    challenge(error, &mut response);
    response
}

/// A failure in OFREP's form.
#[must_use]
pub fn ofrep_error(error: &Error) -> Response<Full<Bytes>> {
    let mut response = reply(error.code.http(), "application/json", response::ofrep_error(error));
    challenge(error, &mut response);
    response
}

fn challenge(error: &Error, response: &mut Response<Full<Bytes>>) {
    if let Some(value) = error.challenge.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
}
