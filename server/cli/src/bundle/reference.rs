//! Names of bundles: `[scheme://][registry/]repository[:tag|@digest]` (cli spec, section 7).

use crate::failure::Failure;

/// Tag of a bundle that names none.
const LATEST: &str = "latest";

/// A bundle that a person named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `None` on this machine.
    registry: Option<String>,
    repository: String,
    /// Tag or digest.
    name: Option<String>,
}

impl Reference {
    /// Reads a name.
    ///
    /// # Errors
    /// The texts that scripts know, and what else cannot name a bundle.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
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
                Some("flipt") => {
                    return Err(Failure::new(format!("unexpected local reference: {rest:?}")));
                }
                Some(other) => {
                    return Err(Failure::new(format!(
                        "unexpected repository scheme: {other:?} should be one of [http|https|flipt]"
                    )));
                }
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
            return Err(Failure::new(format!(
                "invalid reference: invalid repository {repository:?}: expected lower-case letters, digits and single separators out of . _ - /"
            )));
        }
        if let Some(name) = name.filter(|name| !is_tag(name) && !is_digest(name)) {
            return Err(Failure::new(format!(
                "invalid reference: invalid tag or digest {name:?}: expected up to 128 letters, digits, . _ -, or sha256:…"
            )));
        }
        Ok(Self { registry, repository: repository.to_owned(), name: name.map(str::to_owned) })
    }

    /// The repository on this machine.
    ///
    /// # Errors
    /// If it is in a registry.
    pub(crate) fn require_local(&self) -> Result<&str, Failure> {
        match &self.registry {
            None => Ok(&self.repository),
            Some(registry) => Err(Failure::new(format!(
                "{registry}: this version does not talk to registries; copy the image layout with a tool such as oras or skopeo"
            ))),
        }
    }

    /// Tag or digest, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The tag, `latest` if there is none.
    ///
    /// # Errors
    /// If a digest was given.
    pub(crate) fn tag_or_latest(&self) -> Result<&str, Failure> {
        match self.name() {
            None => Ok(LATEST),
            Some(tag) if is_tag(tag) => Ok(tag),
            Some(digest) => {
                Err(Failure::new(format!("{digest}: a bundle is built with a tag, not a digest")))
            }
        }
    }
}

fn is_component(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(letter)
        && text.ends_with(letter)
        && text.chars().all(|c| letter(c) || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Whether a text is a digest in its one spelling; it is also part of a path.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_flipt_reads_them() {
        let read = |text: &str| {
            let reference = Reference::parse(text).unwrap();
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
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        let told = |text: &str| Reference::parse(text).unwrap_err().to_string();
        assert_eq!(told("flipt://other/mine:v2"), "unexpected local reference: \"other/mine:v2\"");
        assert_eq!(
            told("ftp://x/mine:v2"),
            "unexpected repository scheme: \"ftp\" should be one of [http|https|flipt]"
        );
    }
}
