//! The key space: how everything that is cached is named, in every backend.
//!
//! ```text
//! <prefix>:<format>:<environment>:<revision>:<what>[:<which>…]
//! <prefix>:<format>::<revision>:authentication:<hash of the token>
//! ```
//!
//! Revisions hold the identity of the database, so any number of databases may share one Redis. The same prefix
//! with another format is another key space: whoever changes how a value is encoded changes the format.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Not that of Flipt, which keeps other values under its own: both products may share a Redis.
const DEFAULT_PREFIX: &str = "flipt-kubernetes";
/// Changes with the encoding of values.
const FORMAT: &str = "1";
/// Longest text of a caller's choice that stands in a key as it is, in bytes.
const LONGEST_PART: usize = 200;

/// A page of a list, as it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) limit: i32,
    pub(crate) offset: i32,
    pub(crate) token: &'a str,
}

/// What is cached of an environment, at a revision of the environment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OfEnvironment<'a> {
    /// A page of the list of namespaces.
    Namespaces(Page<'a>),
    /// All namespaces as state.
    StateOfNamespaces,
}

/// What is cached of a namespace, at a revision of the namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OfNamespace<'a> {
    /// The namespace itself.
    Namespace,
    /// What client-side engines need of it.
    Snapshot,
    /// One flag.
    Flag(&'a str),
    /// A page of its flags.
    Flags(Page<'a>),
    /// One segment.
    Segment(&'a str),
    /// A page of its segments.
    Segments(Page<'a>),
    /// One rule.
    Rule { flag: &'a str, id: &'a str },
    /// A page of a flag's rules.
    Rules { flag: &'a str, page: Page<'a> },
    /// One rollout.
    Rollout { flag: &'a str, id: &'a str },
    /// A page of a flag's rollouts.
    Rollouts { flag: &'a str, page: Page<'a> },
    /// One flag as state.
    StateOfFlag(&'a str),
    /// Its flags as state.
    StateOfFlags,
    /// One segment as state.
    StateOfSegment(&'a str),
    /// Its segments as state.
    StateOfSegments,
}

/// The keys of one configuration.
#[derive(Debug, Clone)]
pub(crate) struct KeySpace {
    prefix: String,
}

impl KeySpace {
    /// The key space below a prefix; empty means our own.
    pub(crate) fn new(prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { DEFAULT_PREFIX } else { prefix };
        Self { prefix: prefix.to_owned() }
    }

    /// The key of something of an environment.
    pub(crate) fn of_environment(
        &self,
        environment: &str,
        revision: &str,
        what: OfEnvironment<'_>,
    ) -> String {
        let key = self.key(environment, revision);
        match what {
            OfEnvironment::Namespaces(page) => key.word("namespaces").page(page),
            OfEnvironment::StateOfNamespaces => key.word("state-namespaces"),
        }
        .text
    }

    /// The key of something of a namespace.
    pub(crate) fn of_namespace(
        &self,
        environment: &str,
        namespace: &str,
        revision: &str,
        what: OfNamespace<'_>,
    ) -> String {
        let key = self.key(environment, revision);
        let of = |word: &str| key.word(word).part(namespace);
        match what {
            OfNamespace::Namespace => of("namespace"),
            OfNamespace::Snapshot => of("snapshot"),
            OfNamespace::Flag(flag) => of("flag").part(flag),
            OfNamespace::Flags(page) => of("flags").page(page),
            OfNamespace::Segment(segment) => of("segment").part(segment),
            OfNamespace::Segments(page) => of("segments").page(page),
            OfNamespace::Rule { flag, id } => of("rule").part(flag).part(id),
            OfNamespace::Rules { flag, page } => of("rules").part(flag).page(page),
            OfNamespace::Rollout { flag, id } => of("rollout").part(flag).part(id),
            OfNamespace::Rollouts { flag, page } => of("rollouts").part(flag).page(page),
            OfNamespace::StateOfFlag(flag) => of("state-flag").part(flag),
            OfNamespace::StateOfFlags => of("state-flags"),
            OfNamespace::StateOfSegment(segment) => of("state-segment").part(segment),
            OfNamespace::StateOfSegments => of("state-segments"),
        }
        .text
    }

    /// The key of a caller's credentials. They belong to no environment; no environment has an empty key.
    pub(crate) fn of_credentials(&self, revision: &str, token_hash: &str) -> String {
        self.key("", revision).word("authentication").part(token_hash).text
    }

    fn key(&self, environment: &str, revision: &str) -> Key {
        Key { text: format!("{}:{FORMAT}", self.prefix) }.part(environment).part(revision)
    }
}

/// A key that is being put together.
struct Key {
    text: String,
}

impl Key {
    /// Adds a word of ours.
    fn word(&self, word: &str) -> Self {
        Self { text: format!("{}:{word}", self.text) }
    }

    /// Adds a text of somebody else's choice, so that different texts give different keys.
    fn part(mut self, text: &str) -> Self {
        self.text.push(':');
        if text.len() > LONGEST_PART {
            // A percent sign that no escaping gives: no text can look like the digest of another one.
            self.text.push_str("%sha256-");
            for byte in Sha256::digest(text.as_bytes()) {
                let _ = write!(self.text, "{byte:02x}");
            }
            return self;
        }
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.,=/".contains(&byte) {
                self.text.push(char::from(byte));
            } else {
                let _ = write!(self.text, "%{byte:02X}");
            }
        }
        self
    }

    fn page(self, page: Page<'_>) -> Self {
        let Page { limit, offset, token } = page;
        let mut key = self;
        let _ = write!(key.text, ":{limit}:{offset}");
        key.part(token)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_tells_prefix_format_environment_revision_and_thing() {
        let keys = KeySpace::new("");
        let page = Page { limit: 25, offset: 0, token: "" };
        assert_eq!(
            keys.of_namespace("prod", "shop", "e1/7", OfNamespace::Flags(page)),
            "flipt-kubernetes:1:prod:e1/7:flags:shop:25:0:"
        );
        assert_eq!(KeySpace::new("mine").of_credentials("e1/7", "h="), "mine:1::e1/7:authentication:h=");
    }

    #[test]
    fn different_things_have_different_keys_whatever_callers_call_them() {
        let keys = KeySpace::new("");
        let long = "x".repeat(LONGEST_PART + 1);
        let digest = keys.of_namespace("e", "n", "r", OfNamespace::Flag(&long));
        let (_, digest) = digest.rsplit_once(':').unwrap();
        let names = ["a", "a:b", "b", "a%3Ab", "", "ä", "A", &long, &long[1..], digest];
        let mut seen = BTreeSet::new();
        for first in names {
            for second in names {
                let all = [
                    keys.of_namespace(first, second, "r", OfNamespace::Snapshot),
                    keys.of_namespace("e", first, second, OfNamespace::Namespace),
                    keys.of_namespace("e", first, "r", OfNamespace::Flag(second)),
                    keys.of_namespace("e", first, "r", OfNamespace::Segment(second)),
                    keys.of_namespace("x", "n", "r", OfNamespace::Rule { flag: first, id: second }),
                    keys.of_namespace("x", "n", "r", OfNamespace::Rollout { flag: first, id: second }),
                    keys.of_credentials(first, second),
                ];
                for key in all {
                    assert!(key.len() < 1_024);
                    assert!(seen.insert(key.clone()), "{key}");
                }
            }
        }
    }
}
