//! `cors`: which pages of other origins may call the REST port (config spec, section 3.4).

use crate::{Origin, reader::Reader};

/// Request headers that pages may send unless others are configured; Flipt's own list.
const HEADERS: [&str; 9] = [
    "Accept",
    "Authorization",
    "Content-Type",
    "X-CSRF-Token",
    "X-Fern-Language",
    "X-Fern-SDK-Name",
    "X-Fern-SDK-Version",
    "X-Flipt-Namespace",
    "X-Flipt-Accept-Server-Version",
];

/// `cors`: which pages of other origins may call the REST port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whether any may.
    pub enabled: bool,
    /// Their origins; `*` is every origin, and stands for any text within one.
    pub allowed_origins: Vec<String>,
    /// Request headers that they may send; `*` is every header.
    pub allowed_headers: Vec<String>,
}

impl Cors {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.bool("cors.enabled", false);
        let allowed_origins = reader.list("cors.allowed_origins", &["*"]);
        let allowed_headers = reader.list("cors.allowed_headers", &HEADERS);
        for origin in allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            let place = reader.is_set("cors.allowed_origins").unwrap_or(Origin::Default);
            reader.note(format!(
                "{place}: cors.allowed_origins: {origin:?} matches no page; write scheme://host[:port] without a path, or *"
            ));
        }
        Self { enabled, allowed_origins, allowed_headers }
    }
}

/// Whether a browser could send such an origin.
fn is_origin(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, rest)) => !scheme.is_empty() && !rest.is_empty() && !rest.contains('/'),
        None => text == "null" || text.contains('*'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        for text in ["*", "https://a.example", "http://localhost:3000", "https://*.a.example", "null"] {
            assert!(is_origin(text), "{text}");
        }
        for text in ["https://a.example/", "a.example", "https://", ""] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
