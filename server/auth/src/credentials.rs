//! What a request shows to prove who is calling (auth spec, section 3).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Cookie that holds a client token.
pub const TOKEN_COOKIE: &str = "flipt_client_token";
/// Metadata key under which the cookies of an HTTP request travel.
const COOKIES: HeaderName = HeaderName::from_static("grpcgateway-cookie");
/// Prefix of HTTP headers that become metadata under the rest of their name.
const METADATA: &str = "grpc-metadata-";

/// What a request shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Describes a token that the store knows, whichever method created it.
    ClientToken(String),
    /// Indicates nothing, or nothing that can be read.
    Nothing,
}

impl Credentials {
    /// Reads metadata: the first `authorization` value; cookies only if there is none.
    pub(crate) fn of(metadata: &HeaderMap) -> Self {
        if let Some(value) = metadata.get(header::AUTHORIZATION) {
            // Case and the one space count (api spec, section 12, item 66).
            return match value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")) {
                Some(token) => Self::ClientToken(token.to_owned()),
                None => Self::Nothing,
            };
        }
        let cookies = metadata.get_all(COOKIES).iter().filter_map(|value| value.to_str().ok());
        cookie(cookies).map_or(Self::Nothing, Self::ClientToken)
    }
}

/// The token of the first cookie of our name.
fn cookie<'a>(headers: impl Iterator<Item = &'a str>) -> Option<String> {
    headers.flat_map(|header| header.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        (name == TOKEN_COOKIE).then(|| value.to_owned())
    })
}

/// Whether an HTTP request carries the cookie with a client token.
#[must_use]
pub fn has_cookie(headers: &HeaderMap) -> bool {
    cookie(headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok())).is_some()
}

/// The metadata that an HTTP request stands for, as far as they concern credentials (api spec, section 2.7).
#[must_use]
pub fn from_http(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    let mut add = |name: HeaderName, from: &str| {
        for value in headers.get_all(from) {
            metadata.append(name.clone(), HeaderValue::clone(value));
        }
    };
    add(header::AUTHORIZATION, header::AUTHORIZATION.as_str());
    add(header::AUTHORIZATION, &format!("{METADATA}{}", header::AUTHORIZATION));
    add(COOKIES, header::COOKIE.as_str());
    add(COOKIES, &format!("{METADATA}{COOKIES}"));
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        match Credentials::of(&from_http(&headers.collect())) {
            Credentials::ClientToken(token) => Some(token),
            Credentials::Nothing => None,
        }
    }

    #[test]
    fn only_the_exact_scheme_with_one_space_counts() {
        assert_eq!(shown(&[("authorization", "Bearer a")]).as_deref(), Some("a"));
        assert_eq!(shown(&[("authorization", "Bearer  a")]).as_deref(), Some(" a"));
        for value in ["bearer a", "BEARER a", "a", "Basic a", "Bearer", "JWT a", ""] {
            assert_eq!(shown(&[("authorization", value)]), None, "{value:?}");
        }
    }

    #[test]
    fn a_cookie_counts_only_without_an_authorization_header() {
        let cookie = ("cookie", "a=b; flipt_client_token=t; flipt_client_token=u");
        assert_eq!(shown(&[cookie]).as_deref(), Some("t"));
        assert_eq!(shown(&[("cookie", "flipt_client_token=\"t\"")]).as_deref(), Some("t"));
        assert_eq!(shown(&[cookie, ("authorization", "Basic x")]), None);
        assert_eq!(shown(&[cookie, ("authorization", "")]), None);
        assert_eq!(shown(&[("cookie", "xflipt_client_token=t")]), None);
    }

    #[test]
    fn a_header_may_name_the_metadata() {
        assert_eq!(shown(&[("grpc-metadata-authorization", "Bearer a")]).as_deref(), Some("a"));
    }
}
