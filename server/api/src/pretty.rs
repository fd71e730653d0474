//! Indented answers, for people who look at the API by hand (api spec, section 2.4).

use flipt_serving::http::json_reply;
use http::{HeaderMap, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::{Map, Value};

use crate::transcode;

const PRETTY: &str = "application/json+pretty";

/// Whether a request asks for the indented form.
pub(crate) fn is_wanted(head: &Parts) -> bool {
    let has_parameter = head.uri.query().unwrap_or_default().split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        flipt_serving::http::path::percent_decode(name).is_some_and(|name| name == "pretty")
    });
    has_parameter || is(&head.headers, &header::ACCEPT) || is(&head.headers, &header::CONTENT_TYPE)
}

fn is(headers: &HeaderMap, name: &header::HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value == PRETTY)
}

/// Brings an answer into the indented form: a success as the message of this name, a failure without its
/// empty details. Answers of other kinds stay as they are.
pub(crate) async fn indent(response: Response<Full<Bytes>>, message: Option<&str>) -> Response<Full<Bytes>> {
    let (head, body) = response.into_parts();
    // A body that is in memory already cannot fail.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let indented = match message {
        Some(message) if head.status == StatusCode::OK => transcode::pretty(message, &body).ok(),
        _ => failure(&body),
    };
    match indented {
        Some(text) => Response::from_parts(head, json_reply(text).into_body()),
        None => Response::from_parts(head, Full::new(body)),
    }
}

fn failure(body: &[u8]) -> Option<Vec<u8>> {
    let mut body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    body.retain(|_, value| value != &Value::Array(Vec::new()));
    serde_json::to_vec_pretty(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uri: &str, headers: &[(&str, &str)]) -> bool {
        let request = headers
            .iter()
            .fold(http::Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        is_wanted(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn it_is_asked_for_by_parameter_or_exact_header() {
        assert!(wanted("/x?a=1&pretty=false", &[]));
        assert!(wanted("/x", &[("accept", PRETTY)]));
        assert!(wanted("/x", &[("content-type", PRETTY)]));
        assert!(!wanted("/x?prettyy", &[("accept", "application/json+pretty;q=1")]));
    }

    #[test]
    fn failures_lose_their_empty_details() {
        let text = failure(br#"{"code":5,"message":"m","details":[]}"#).unwrap();
        assert_eq!(text, b"{\n  \"code\": 5,\n  \"message\": \"m\"\n}");
    }
}
