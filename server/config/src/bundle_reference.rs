//! Names of bundles: `[scheme://][registry/]repository[:tag|@digest]` (cli spec, section 7).

use std::str::FromStr;

/// Where a bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleReference {
    /// Host of the registry, with its port if there is one; `None` on this machine.
    pub registry: Option<String>,
    /// Whether the registry is reached without TLS.
    pub is_plain: bool,
    /// Name in the registry, or in the bundles directory; no path leads out of there with it.
    pub repository: String,
    /// Tag or digest.
    pub name: Option<String>,
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
    /// Indicates a repository that no registry accepts.
    #[error(
        "invalid reference: invalid repository {0:?}: expected lower-case letters, digits and single separators out of . _ - /"
    )]
    Repository(String),
    /// Indicates what is neither a tag nor a digest.
    #[error(
        "invalid reference: invalid tag or digest {0:?}: expected up to 128 letters, digits, . _ -, or sha256:…"
    )]
    Name(String),
}

impl FromStr for BundleReference {
    type Err = BundleReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let (registry, path) = match rest.split_once('/') {
            // Without a slash it is on this machine, whatever the scheme.
            None => (None, rest),
            Some((first, path)) => match scheme {
                None | Some("https" | "http") => (Some(first.to_owned()), path),
                Some("flipt") if first == "local" => (None, path),
                Some("flipt") => return Err(BundleReferenceError::Local(rest.to_owned())),
                Some(other) => return Err(BundleReferenceError::Scheme(other.to_owned())),
            },
        };
        let (repository, name) = match path.split_once('@') {
            Some((repository, digest)) => (repository.split(':').next().unwrap_or_default(), Some(digest)),
            None => match path.split_once(':') {
                Some((repository, tag)) => (repository, Some(tag)),
                None => (path, None),
            },
        };
        if !repository.split('/').all(is_component) {
            return Err(BundleReferenceError::Repository(repository.to_owned()));
        }
        if let Some(name) = name.filter(|name| !Self::is_tag(name) && !Self::is_digest(name)) {
            return Err(BundleReferenceError::Name(name.to_owned()));
        }
        Ok(Self {
            is_plain: registry.is_some() && scheme == Some("http"),
            registry,
            repository: repository.to_owned(),
            name: name.map(str::to_owned),
        })
    }
}

impl BundleReference {
    /// Whether a text may be a tag.
    #[must_use]
    pub fn is_tag(text: &str) -> bool {
        text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    }

    /// Whether a text is a digest in its one spelling; it is also part of a path.
    #[must_use]
    pub fn is_digest(text: &str) -> bool {
        text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'))
        })
    }
}

fn is_component(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(letter)
        && text.ends_with(letter)
        && text.chars().all(|c| letter(c) || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_flipt_reads_them() {
        let read = |text: &str| {
            let reference: BundleReference = text.parse().unwrap();
            (reference.registry, reference.repository, reference.name)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("mine:v1"), (None, "mine".into(), some("v1")));
        assert_eq!(read("flipt://local/mine"), (None, "mine".into(), None));
        assert_eq!(read("ftp://mine"), (None, "mine".into(), None));
        assert_eq!(read("ghcr.io/org/mine:v1"), (some("ghcr.io"), "org/mine".into(), some("v1")));
        assert_eq!(read("http://host:5000/mine"), (some("host:5000"), "mine".into(), None));
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(read(&format!("mine@{digest}")), (None, "mine".into(), some(&digest)));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for text in [
            "",
            "a/../b:c/..",
            "flipt://local/..",
            "flipt://local/../x",
            "flipt://local//etc",
            "Mine",
            "mine:",
            "mine:a b",
            "a..b",
        ] {
            assert!(text.parse::<BundleReference>().is_err(), "{text}");
        }
        let told = |text: &str| text.parse::<BundleReference>().unwrap_err().to_string();
        assert_eq!(told("flipt://other/mine:v2"), "unexpected local reference: \"other/mine:v2\"");
        assert_eq!(
            told("ftp://x/mine:v2"),
            "unexpected repository scheme: \"ftp\" should be one of [http|https|flipt]"
        );
    }
}
