//! Answers compressed for callers that offer to take them so (api spec, section 2.4).

use std::io::{self, Write as _};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use flipt_serving::Body;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, VARY},
};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Bytes};

/// Smallest body worth compressing, in bytes: what fits into one packet travels no faster.
const LEAST: u64 = 1024;
/// Largest body that is compressed between two other requests, in bytes; larger ones get a thread.
const QUICK: usize = 64 * 1024;

/// A coding that a caller takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib format, as RFC 9110 (8.4.1.2) has it.
    Deflate,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let buffer = Vec::with_capacity(body.len() / 4);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(buffer, Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(buffer, Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// The coding that a caller likes best among those known here; gzip, if it likes both alike.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let mut weights = [None, None];
    let mut any = None;
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for entry in lists.flat_map(|list| list.split(',')) {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = weight(parameters);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => weights[0] = Some(weight),
            "deflate" => weights[1] = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let [gzip, deflate] = weights.map(|weight| weight.or(any).unwrap_or(0.0));
    match () {
        () if gzip > 0.0 && gzip >= deflate => Some(Coding::Gzip),
        () if deflate > 0.0 => Some(Coding::Deflate),
        () => None,
    }
}

/// Whether a caller likes gzip best, which snapshots are kept in.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    accepted(headers) == Some(Coding::Gzip)
}

/// The weight among an entry's parameters: 1 without any, 0 if it cannot be read.
fn weight(parameters: &str) -> f32 {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1.0, |(_, value)| value.trim().parse().ok().filter(|weight| *weight <= 1.0).unwrap_or(0.0))
}

/// Compresses an answer for a caller that takes this coding. Streams, answers that are compressed already,
/// parts and pictures stay as they are.
pub(crate) async fn compress(mut response: Response<Body>, coding: Option<Coding>) -> Response<Body> {
    if !is_worth_it(&response) {
        return response;
    }
    // Caches must not hand one caller's form to another.
    let vary = HeaderValue::from_static("Accept-Encoding");
    let said = response
        .headers()
        .get_all(VARY)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(vary.as_bytes()));
    if !said {
        response.headers_mut().append(VARY, vary);
    }
    let Some(coding) = coding else { return response };
    let (mut head, body) = response.into_parts();
    let Either::Left(full) = body else { return Response::from_parts(head, body) };
    let plain = full.into_inner().unwrap_or_default();
    let encoded = if plain.len() <= QUICK {
        coding.encode(&plain).ok()
    } else {
        let plain = plain.clone();
        tokio::task::spawn_blocking(move || coding.encode(&plain).ok()).await.ok().flatten()
    };
    // Writing to memory does not fail; if it did, the plain body would be an answer as well.
    let body = match encoded {
        Some(encoded) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            head.headers.remove(CONTENT_LENGTH);
            Bytes::from(encoded)
        }
        None => plain,
    };
    Response::from_parts(head, Either::Left(Full::new(body)))
}

fn is_worth_it(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_text = content_type.starts_with("text/") && content_type != "text/event-stream";
    let is_data = matches!(content_type, "application/json" | "application/javascript" | "image/svg+xml");
    let Either::Left(body) = response.body() else { return false };
    (is_text || is_data)
        && body.size_hint().exact().is_some_and(|size| size >= LEAST)
        && response.status() != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::{GzDecoder, ZlibDecoder};
    use http_body_util::BodyExt as _;

    use super::*;

    fn coding(accept: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
        accepted(&headers)
    }

    #[test]
    fn the_caller_chooses_the_coding() {
        for (accept, chosen) in [
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("gzip;q=0.2, deflate;q=0.8", Some(Coding::Deflate)),
            ("gzip;q=0, deflate;q=0", None),
            ("br, zstd", None),
            ("identity", None),
            ("*", Some(Coding::Gzip)),
            ("gzip;q=0, *;q=0.5", Some(Coding::Deflate)),
            ("X-GZIP; Q=1", Some(Coding::Gzip)),
            ("gzip;q=much", None),
            ("", None),
        ] {
            assert_eq!(coding(accept), chosen, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()), None);
    }

    fn answer(content_type: &'static str, size: usize) -> Response<Body> {
        let mut response = Response::new(Either::Left(Full::new(Bytes::from("a".repeat(size)))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    #[tokio::test]
    async fn small_and_large_answers_come_back_as_they_were() {
        for size in [1024, 5_000, 1_000_000] {
            for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Deflate, "deflate")] {
                let response = compress(answer("application/json", size), Some(coding)).await;
                assert_eq!(response.headers()[CONTENT_ENCODING], name);
                assert_eq!(response.headers()[VARY], "Accept-Encoding");
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(body.len() < size / 2);
                let mut plain = String::new();
                match coding {
                    Coding::Gzip => GzDecoder::new(&*body).read_to_string(&mut plain).unwrap(),
                    Coding::Deflate => ZlibDecoder::new(&*body).read_to_string(&mut plain).unwrap(),
                };
                assert_eq!(plain, "a".repeat(size));
            }
        }
    }

    #[tokio::test]
    async fn what_is_small_compressed_already_or_a_stream_is_left_alone() {
        let mut encoded = answer("application/json", 5_000);
        encoded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut stream = answer("application/json", 0);
        *stream.body_mut() = Either::Right(Full::new(Bytes::from("a".repeat(5_000))).boxed_unsync());
        for response in [
            answer("application/json", 1023),
            answer("image/png", 5_000),
            answer("text/event-stream", 5_000),
            encoded,
            stream,
        ] {
            let before = response.headers().clone();
            let after = compress(response, Some(Coding::Gzip)).await;
            assert_eq!(*after.headers(), before);
        }
    }
}
