//! Paths of the REST port that are neither calls nor evaluations. All of them are asked with GET.

use crate::rest::matches;

/// What is at such a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Whether the server is up (api spec, section 11.1).
    Health,
    /// Whether the process answers at all (observability spec, section 9.4).
    Livez,
    /// Whether the server should be sent requests: its first state is loaded, and it is not ending.
    Readyz,
    /// Metrics in the text format of Prometheus (api spec, section 11.2).
    Metrics,
    /// The description of this port, as an OpenAPI document.
    Description,
    /// Version, platform, and what user interfaces need to know (api spec, section 11.3).
    Information,
    /// The effective configuration without secrets (api spec, section 11.4).
    Configuration,
    /// The state of a namespace for client-side engines (api spec, section 2.9).
    Snapshot,
    /// The same as Flipt v2 serves it (v2 spec, section 4.3).
    ClientSnapshot,
    /// The same again after every change (v2 spec, section 4.3).
    ClientStream,
    /// Which state of an environment is the current one, as a bucket says it.
    PublishedPointer,
    /// The state of an environment, as it stands in a bucket.
    PublishedObject,
}

impl Endpoint {
    /// Every such path.
    pub(crate) const ALL: [Self; 12] = [
        Self::Health,
        Self::Livez,
        Self::Readyz,
        Self::Metrics,
        Self::Description,
        Self::Information,
        Self::Configuration,
        Self::Snapshot,
        Self::ClientSnapshot,
        Self::ClientStream,
        Self::PublishedPointer,
        Self::PublishedObject,
    ];

    /// The path without its leading slash; `{name}` stands for a value.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Description => "api/openapi.json",
            Self::Information => "meta/info",
            Self::Configuration => "meta/config",
            Self::Snapshot => "internal/v1/evaluation/snapshot/namespace/{key}",
            Self::ClientSnapshot => "client/v2/environments/{environment_key}/namespaces/{key}/snapshot",
            Self::ClientStream => "client/v2/environments/{environment_key}/namespaces/{key}/stream",
            Self::PublishedPointer => "snapshots/v1/{environment_key}/current.json",
            Self::PublishedObject => "snapshots/v1/{environment_key}/objects/sha256/{folder}/{name}",
        }
    }

    /// Whether it needs no credentials and no other part of the server: it is served before everything else,
    /// and at exactly its path, without a trailing slash (api spec, section 2.2).
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Self::Health | Self::Livez | Self::Readyz | Self::Metrics | Self::Description)
    }

    /// The plain one at exactly this path.
    pub(crate) fn plain(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        Self::ALL.into_iter().find(|endpoint| endpoint.is_plain() && endpoint.path() == path)
    }

    /// What is at a path, with the values in it. The plain ones are not found this way.
    pub(crate) fn of<'p>(segments: &[&'p str]) -> Option<(Self, Vec<&'p str>)> {
        Self::ALL.into_iter().filter(|endpoint| !endpoint.is_plain()).find_map(|endpoint| {
            let fields = matches(endpoint.path(), segments)?;
            Some((endpoint, fields.into_iter().map(|(_, value)| value).collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_exact() {
        assert_eq!(Endpoint::plain("/health"), Some(Endpoint::Health));
        assert_eq!(Endpoint::plain("/health/"), None);
        assert_eq!(Endpoint::plain("/meta/info"), None);
    }

    #[test]
    fn paths_carry_values() {
        let path = ["client", "v2", "environments", "e", "namespaces", "", "stream"];
        assert_eq!(Endpoint::of(&path), Some((Endpoint::ClientStream, vec!["e", ""])));
        assert_eq!(Endpoint::of(&["health"]), None);
        assert_eq!(Endpoint::of(&["meta"]), None);
    }
}
