//! Cross-origin requests of pages in browsers (api spec, section 2.8).

use std::fmt;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

/// Verbs that pages may use.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];
/// Headers that pages may send whatever is configured: what Flipt's engine for browsers sends beyond the
/// configurable default. Neither gives access to anything.
const ALWAYS: [&str; 3] = ["Origin", "X-Flipt-Environment", "If-None-Match"];
/// Headers of answers that pages may read. Without the tag, engines could not ask for changes only.
const EXPOSED: HeaderValue = HeaderValue::from_static("Link, ETag");
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("300");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// Which pages of other origins may call.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Vec<Pattern>,
    any_origin: bool,
    headers: Vec<String>,
    any_header: bool,
}

/// An origin, in which one `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Around(String, String),
}

impl Pattern {
    fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.split_once('*') {
            Some((before, after)) => Self::Around(before.to_owned(), after.to_owned()),
            None => Self::Exact(text),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(text) => text == origin,
            Self::Around(before, after) => {
                origin.len() >= before.len() + after.len()
                    && origin.starts_with(before)
                    && origin.ends_with(after)
            }
        }
    }
}

impl Cors {
    /// Lets pages of these origins call with these headers. `*` is every origin or header; within an origin
    /// it stands for any text, as in `https://*.example.com`.
    #[must_use]
    pub fn new(origins: &[String], headers: &[String]) -> Self {
        let is_star = |text: &String| text == "*";
        Self {
            origins: origins.iter().map(|origin| Pattern::new(origin)).collect(),
            any_origin: origins.iter().any(is_star),
            headers: headers.iter().map(String::as_str).chain(ALWAYS).map(str::to_ascii_lowercase).collect(),
            any_header: headers.iter().any(is_star),
        }
    }

    /// The answer to a preflight: 200 whatever was asked for, with permission or without. `None` for any
    /// other request.
    pub(crate) fn preflight<B, C: Default>(&self, request: &Request<B>) -> Option<Response<C>> {
        let asked = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?;
        if request.method() != Method::OPTIONS || asked.is_empty() {
            return None;
        }
        let mut response = Response::new(C::default());
        let headers = response.headers_mut();
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            headers.append(VARY, canonical(&name));
        }
        if let Some(permitted) = self.permit(request.headers(), asked) {
            headers.extend(permitted);
        }
        Some(response)
    }

    /// What a preflight is permitted; `None` if anything it asks for is not.
    fn permit(&self, asking: &HeaderMap, method: &HeaderValue) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.allow(asking)?);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        let method = Method::from_bytes(method.to_str().ok()?.to_ascii_uppercase().as_bytes()).ok()?;
        METHODS.contains(&method).then_some(())?;
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_str(method.as_str()).ok()?);
        let mut names = Vec::new();
        for list in asking.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
            for name in list.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                (self.any_header || self.headers.iter().any(|allowed| allowed == name.as_str()))
                    .then_some(())?;
                names.push(Canonical(&name).to_string());
            }
        }
        if !names.is_empty() {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_str(&names.join(", ")).ok()?);
        }
        Some(headers)
    }

    /// Marks the answer to a request with these headers and verb for the page that made it.
    pub(crate) fn mark(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        let others: Vec<HeaderValue> = headers.get_all(VARY).iter().cloned().collect();
        headers.insert(VARY, canonical(&ORIGIN));
        for other in others {
            headers.append(VARY, other);
        }
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The origin to name to a page that may read the answer.
    pub(crate) fn reader<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        METHODS.contains(request.method()).then(|| self.allow(request.headers())).flatten()
    }

    fn allow(&self, asking: &HeaderMap) -> Option<HeaderValue> {
        let origin = asking.get(ORIGIN)?;
        if self.any_origin {
            // Browsers refuse this together with cookies, which therefore need origins by name.
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.iter().any(|pattern| pattern.matches(&text)).then(|| origin.clone())
    }
}

fn canonical(name: &HeaderName) -> HeaderValue {
    HeaderValue::from_str(&Canonical(name).to_string()).unwrap_or(HeaderValue::from_static("Origin"))
}

/// A header's name in the case that people write: `X-Flipt-Namespace`.
struct Canonical<'a>(&'a HeaderName);

impl fmt::Display for Canonical<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at_start = true;
        for c in self.0.as_str().chars() {
            write!(f, "{}", if at_start { c.to_ascii_uppercase() } else { c })?;
            at_start = c == '-';
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], headers: &[&str]) -> Cors {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Cors::new(&owned(origins), &owned(headers))
    }

    fn preflight(cors: &Cors, origin: &str, method: &str, headers: &str) -> HeaderMap {
        let request = Request::options("/")
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, method)
            .header(ACCESS_CONTROL_REQUEST_HEADERS, headers)
            .body(())
            .unwrap();
        let response: Response<()> = cors.preflight(&request).unwrap();
        response.headers().clone()
    }

    #[test]
    fn one_star_within_an_origin_stands_for_any_text() {
        let cors = cors(&["https://*.example.com", "http://localhost:*"], &[]);
        for (origin, allowed) in [
            ("https://shop.example.com", true),
            ("HTTPS://Shop.Example.com", true),
            ("https://example.com", false),
            ("https://.example.com.evil.org", false),
            ("http://localhost:3000", true),
            ("http://localhost", false),
        ] {
            let permitted = preflight(&cors, origin, "GET", "").contains_key(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(permitted, allowed, "{origin}");
        }
    }

    #[test]
    fn what_the_engines_for_browsers_send_is_permitted_whatever_is_configured() {
        let cors = cors(&["https://a.example"], &["Accept"]);
        let headers = preflight(&cors, "https://a.example", "GET", "if-none-match,x-flipt-environment");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "If-None-Match, X-Flipt-Environment");
        let refused = preflight(&cors, "https://a.example", "GET", "accept,x-other");
        assert!(!refused.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(refused[VARY], "Origin");
    }

    #[test]
    fn a_star_lets_in_every_origin_and_header_but_not_every_verb() {
        let cors = cors(&["*"], &["*"]);
        let headers = preflight(&cors, "https://a.example", "PUT", "x-other");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "X-Other");
        assert!(
            !preflight(&cors, "https://a.example", "PATCH", "").contains_key(ACCESS_CONTROL_ALLOW_METHODS)
        );
    }

    #[test]
    fn a_request_without_origin_is_not_told_anything() {
        let mut headers = HeaderMap::new();
        let cors = cors(&["*"], &[]);
        cors.mark(cors.reader(&Request::get("/").body(()).unwrap()), &mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[VARY], "Origin");
    }
}
