//! Names of bundles (cli spec, section 7; documents spec, section 12.3).

use std::str::FromStr;

/// Where a bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleReference {
    /// How the registry is reached.
    pub scheme: BundleScheme,
    /// Host of the registry, with its port if there is one; `local` for bundles on this machine.
    pub registry: String,
    /// Name in the registry.
    pub repository: String,
    /// Tag or digest (`sha256:…`); empty if none is named.
    pub reference: String,
}

/// How a registry is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleScheme {
    /// In the bundles directory.
    Local,
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// Why a text names no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleReferenceError {
    /// Indicates a scheme that is none of ours.
    #[error("unexpected repository scheme: {0:?} should be one of [http|https|flipt]")]
    Scheme(String),
    /// Indicates the scheme for local bundles with the name of a registry.
    #[error("unexpected local reference: {0:?}")]
    Local(String),
    /// Indicates a name that no registry accepts.
    #[error("invalid reference: invalid {part} {text:?}")]
    Name {
        /// What is wrong.
        part: &'static str,
        /// How it is written.
        text: String,
    },
}

impl FromStr for BundleReference {
    type Err = BundleReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, path) = match text.split_once("://") {
            Some(("http", path)) => (Some(BundleScheme::Http), path),
            Some(("https", path)) => (Some(BundleScheme::Https), path),
            Some(("flipt", path)) => (Some(BundleScheme::Local), path),
            Some((other, _)) => return Err(BundleReferenceError::Scheme(other.to_owned())),
            None => (None, text),
        };
        let (registry, rest) = path.split_once('/').unwrap_or(("local", path));
        // Without a slash it is a local bundle, whatever the scheme.
        let scheme =
            if path.contains('/') { scheme.unwrap_or(BundleScheme::Https) } else { BundleScheme::Local };
        if scheme == BundleScheme::Local && registry != "local" {
            return Err(BundleReferenceError::Local(path.to_owned()));
        }
        let (repository, reference) = match rest.split_once('@') {
            // A tag beside a digest says nothing more.
            Some((name, digest)) => (name.split(':').next().unwrap_or_default(), digest),
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let invalid = |part, text: &str| BundleReferenceError::Name { part, text: text.to_owned() };
        if !registry.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
            || registry.is_empty()
        {
            return Err(invalid("registry", registry));
        }
        if !repository.split('/').all(is_repository_part) {
            return Err(invalid("repository", repository));
        }
        let is_digest = rest.contains('@');
        if (is_digest && !is_digest_text(reference))
            || (!is_digest && rest.contains(':') && !is_tag(reference))
        {
            return Err(invalid(if is_digest { "digest" } else { "tag" }, reference));
        }
        Ok(Self {
            scheme,
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        })
    }
}

/// Lower case letters and digits, with `.`, `_` or `-` between them.
fn is_repository_part(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    part.bytes().all(inner) && edge(part.as_bytes().first()) && edge(part.as_bytes().last())
}

fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first
        && tag.len() <= 128
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_digest_text(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (BundleScheme, String, String, String) {
        let parsed: BundleReference = text.parse().unwrap();
        (parsed.scheme, parsed.registry, parsed.repository, parsed.reference)
    }

    #[test]
    fn names_are_read_as_documented() {
        let expected = |scheme, registry: &str, repository: &str, reference: &str| {
            (scheme, registry.to_owned(), repository.to_owned(), reference.to_owned())
        };
        assert_eq!(parts("b:latest"), expected(BundleScheme::Local, "local", "b", "latest"));
        assert_eq!(parts("flipt://local/b:v1"), expected(BundleScheme::Local, "local", "b", "v1"));
        assert_eq!(parts("ghcr.io/org/b"), expected(BundleScheme::Https, "ghcr.io", "org/b", ""));
        assert_eq!(parts("http://r:5000/b:1"), expected(BundleScheme::Http, "r:5000", "b", "1"));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            parts(&format!("https://r/b:1@{digest}")),
            expected(BundleScheme::Https, "r", "b", &digest)
        );
    }

    #[test]
    fn other_names_are_refused() {
        let refused = |text: &str| text.parse::<BundleReference>().unwrap_err().to_string();
        assert_eq!(
            refused("ftp://x/y:z"),
            "unexpected repository scheme: \"ftp\" should be one of [http|https|flipt]"
        );
        assert_eq!(refused("flipt://other/b:1"), "unexpected local reference: \"other/b:1\"");
        for text in ["r/UPPER", "r/b:", "r/b:ta g", "r/b@sha256:1", "r/", ""] {
            assert!(refused(text).starts_with("invalid reference: "), "{text}");
        }
    }
}
