//! Addresses of servers, as `--address` takes them (cli spec, section 1.5).

use std::fmt;

use reqwest::Url;

/// Port of gRPC unless the address names one.
const GRPC_PORT: u16 = 9000;

/// Where a server is, and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    grpc: bool,
}

/// A text that is no address. The texts are those that scripts know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Indicates a text that is not a URL.
    #[error("export address is invalid parse {text:?}: {detail}")]
    Invalid {
        /// The text, without its password.
        text: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Indicates a URL of something else than a server.
    #[error("unexpected protocol {0}")]
    Scheme(String),
}

impl Address {
    /// Reads `http://`, `https://`, `grpc://` (plain text) or `grpcs://` (TLS). Of the last two only host and
    /// port count; the port is 9000 unless given.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let invalid = |detail: String| AddressError::Invalid { text: without_password(text), detail };
        let scheme = scheme(text).map_err(|detail| invalid(detail.to_owned()))?;
        let (grpc, carrier) = match scheme.as_str() {
            "http" => (false, "http"),
            "https" => (false, "https"),
            "grpc" => (true, "http"),
            "grpcs" => (true, "https"),
            _ => return Err(AddressError::Scheme(scheme)),
        };
        let rest = text.get(scheme.len()..).unwrap_or_default();
        if !rest.starts_with("://") {
            return Err(invalid(format!("write {scheme}://HOST:PORT")));
        }
        let mut url = Url::parse(&format!("{carrier}{rest}")).map_err(|error| invalid(error.to_string()))?;
        if grpc {
            let port = url.port_or_known_default().filter(|_| names_a_port(rest)).unwrap_or(GRPC_PORT);
            if url.set_port(Some(port)).is_err() {
                return Err(invalid("the host is missing".to_owned()));
            }
            url.set_path("");
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url, grpc })
    }

    /// Whether gRPC is spoken there.
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The address as a URL of its carrier, HTTP.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }
}

/// The address as it was meant, without a password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.grpc, self.url.scheme()) {
            (true, "https") => "grpcs",
            (true, _) => "grpc",
            (false, scheme) => scheme,
        };
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{scheme}://{host}")?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.url.path().trim_end_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The scheme of a text in lower case; empty if it has none. As Go finds it, because scripts know the errors.
fn scheme(text: &str) -> Result<String, &'static str> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err("net/url: invalid control character in URL");
    }
    for (at, letter) in text.char_indices() {
        match letter {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok(text[..at].to_lowercase()),
            _ => break,
        }
    }
    let first = text.split('/').next().unwrap_or_default();
    if first.contains(':') {
        return Err("first path segment in URL cannot contain colon");
    }
    Ok(String::new())
}

/// Whether the text after the scheme has a port, also the carrier's usual one.
fn names_a_port(rest: &str) -> bool {
    let authority = rest.trim_start_matches("://").split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let after_address = host.rsplit(']').next().unwrap_or_default();
    after_address.contains(':')
}

/// The text with `***` in the place of a password.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused_in_the_words_that_scripts_know() {
        let refused = |text: &str| Address::parse(text).unwrap_err().to_string();
        for (text, expected) in [
            ("localhost:8080", "unexpected protocol localhost"),
            ("ftp://localhost", "unexpected protocol ftp"),
            ("flipt.example", "unexpected protocol "),
            (
                "127.0.0.1:1",
                "export address is invalid parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
            ),
            (":8080", "export address is invalid parse \":8080\": missing protocol scheme"),
        ] {
            assert_eq!(refused(text), expected);
        }
        for text in ["http://", "http:x", "http://[::1", "http://a:b", "grpc://", "http://a\u{1}"] {
            assert!(refused(text).starts_with("export address is invalid "), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn an_address_says_how_its_server_is_spoken_to() {
        for (text, shown, grpc) in [
            ("http://a:8080", "http://a:8080", false),
            ("HTTP://a", "http://a", false),
            ("https://a/base/?x=1", "https://a/base", false),
            ("grpc://a", "grpc://a:9000", true),
            ("grpc://a:80", "grpc://a", true),
            ("grpcs://[::1]:7000/ignored", "grpcs://[::1]:7000", true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.to_string().as_str(), address.is_grpc()), (shown, grpc), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let address = Address::parse("http://user:s3cret@host").unwrap();
        assert!(!format!("{address} {address:?}").contains("s3cret"));
        let refused = Address::parse("http://user:s3cret@host:port").unwrap_err();
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
}
