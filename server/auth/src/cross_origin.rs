//! Protection from pages of other origins, by what browsers say about them (auth spec, section 14).

use flipt_config::Session;
use http::{HeaderMap, Method, header};

/// Refuses changes that pages of other origins ask for.
#[derive(Debug, Clone)]
pub struct CrossOrigin {
    trusted: Vec<String>,
}

impl CrossOrigin {
    /// The protection that a session's rules ask for; `None` if they ask for none.
    #[must_use]
    pub fn new(session: &Session) -> Option<Self> {
        if !session.cross_origin_protection {
            return None;
        }
        let (trusted, malformed): (Vec<_>, Vec<_>) =
            session.trusted_origins.iter().cloned().partition(|origin| is_origin(origin));
        for origin in malformed {
            tracing::error!(origin, "trusted origin is not of the form scheme://host[:port] and is ignored");
        }
        Some(Self { trusted })
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// The reason for the client.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), &'static str> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let origin = text("origin").filter(|origin| !origin.is_empty());
        let is_trusted = || origin.is_some_and(|origin| self.trusted.iter().any(|trusted| trusted == origin));
        match text("sec-fetch-site").unwrap_or_default() {
            "same-origin" | "none" => return Ok(()),
            "" => {}
            _ if is_trusted() => return Ok(()),
            _ => return Err("cross-origin request detected from Sec-Fetch-Site header"),
        }
        let Some(origin) = origin else { return Ok(()) };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let origin_host = origin.split_once("://").map(|(_, host)| host);
        if (origin_host.is_some() && origin_host == host) || is_trusted() {
            return Ok(());
        }
        Err(
            "cross-origin request detected, and/or browser is out of date: Sec-Fetch-Site is missing, and Origin does not match Host",
        )
    }
}

/// Whether a text is `scheme://host[:port]` and nothing more.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@'])
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn passes(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let protection = CrossOrigin::new(&Session {
            domain: String::new(),
            secure: false,
            token_lifetime: Duration::ZERO,
            state_lifetime: Duration::ZERO,
            cross_origin_protection: true,
            trusted_origins: vec!["https://friend.example".to_owned(), "half.example".to_owned()],
        })
        .unwrap();
        let headers = headers
            .iter()
            .chain(&[("host", "flipt.example:8080")])
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        protection.check(method, &headers).is_ok()
    }

    #[test]
    fn only_changes_from_pages_of_strange_origins_are_refused() {
        let post = &Method::POST;
        assert!(passes(&Method::GET, &[("sec-fetch-site", "cross-site")]));
        assert!(passes(post, &[]));
        assert!(passes(post, &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")]));
        assert!(passes(post, &[("sec-fetch-site", "cross-site"), ("origin", "https://friend.example")]));
        assert!(passes(post, &[("origin", "https://friend.example")]));
        assert!(passes(post, &[("origin", "http://flipt.example:8080")]));
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://evil.example")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://flipt.example")],
            &[("origin", "http://half.example")],
            &[("origin", "null")],
        ] {
            assert!(!passes(post, headers), "{headers:?}");
        }
    }
}
