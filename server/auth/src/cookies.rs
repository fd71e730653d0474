//! Cookies of browser sessions (auth spec, section 7.1).

use http::{HeaderMap, HeaderValue, header};

use crate::credentials::TOKEN_COOKIE;

/// Cookie that holds the state of a login that is under way.
const STATE_COOKIE: &str = "flipt_client_state";

/// Tells a browser to forget both cookies.
pub fn clear(domain: &str, headers: &mut HeaderMap) {
    for name in [STATE_COOKIE, TOKEN_COOKIE] {
        let domain = if domain.is_empty() { String::new() } else { format!("; Domain={domain}") };
        if let Ok(value) = HeaderValue::from_str(&format!("{name}=; Path=/{domain}; Max-Age=0")) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}
