//! What a client says it understands: which server version's snapshots, and which encoding.

use flipt_proto::evaluation::{
    EvaluationConstraintComparisonType, EvaluationNamespaceSnapshot, evaluation_rollout,
};
use http::HeaderMap;

/// Header with the highest server version that the client understands.
const ACCEPTED_VERSION: &str = "x-flipt-accept-server-version";
/// What a client without that header is taken for.
const ASSUMED_VERSION: AcceptedVersion = AcceptedVersion(1, 37, 1);
const KNOWS_ENTITY_IDS: AcceptedVersion = AcceptedVersion(1, 38, 0);
const KNOWS_DEFAULT_VARIANTS: AcceptedVersion = AcceptedVersion(1, 47, 0);

/// Version a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AcceptedVersion(u64, u64, u64);

impl AcceptedVersion {
    /// Number of kinds of clients that [`AcceptedVersion::restrict`] tells apart.
    pub(crate) const CLASSES: usize = 3;

    /// What the request's header says.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        headers
            .get(ACCEPTED_VERSION)
            .and_then(|value| value.to_str().ok())
            .and_then(Self::parse)
            .unwrap_or(ASSUMED_VERSION)
    }

    /// Which kind of client this is, below [`AcceptedVersion::CLASSES`].
    pub(crate) fn class(self) -> usize {
        usize::from(self >= KNOWS_ENTITY_IDS) + usize::from(self >= KNOWS_DEFAULT_VARIANTS)
    }

    /// Lenient semantic version: a leading `v` and missing parts are fine, build metadata is ignored, a
    /// pre-release counts as lower than its release.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, pre_release) = text.split_once('-').map_or((text, false), |(n, _)| (n, true));
        let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
        let mut next = || parts.next().map_or(Some(0), |part| part);
        let (major, minor, patch) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return None;
        }
        if !pre_release {
            return Some(Self(major, minor, patch));
        }
        // Just below the release: its predecessor, whatever that is called.
        Some(match (minor, patch) {
            (0, 0) => Self(major.saturating_sub(1), u64::MAX, u64::MAX),
            (minor, 0) => Self(major, minor - 1, u64::MAX),
            (minor, patch) => Self(major, minor, patch - 1),
        })
    }

    /// Takes out what an old client would stumble over.
    pub(crate) fn restrict(self, snapshot: &mut EvaluationNamespaceSnapshot) {
        for flag in &mut snapshot.flags {
            if self < KNOWS_DEFAULT_VARIANTS {
                flag.default_variant = None;
            }
            if self >= KNOWS_ENTITY_IDS {
                continue;
            }
            let in_rules = flag.rules.iter_mut().flat_map(|rule| &mut rule.segments);
            let in_rollouts = flag
                .rollouts
                .iter_mut()
                .filter_map(|rollout| match &mut rollout.rule {
                    Some(evaluation_rollout::Rule::Segment(segment)) => Some(&mut segment.segments),
                    _ => None,
                })
                .flatten();
            for constraint in in_rules.chain(in_rollouts).flat_map(|segment| &mut segment.constraints) {
                if constraint.r#type
                    == EvaluationConstraintComparisonType::EntityIdConstraintComparisonType as i32
                {
                    constraint.r#type = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently_and_pre_releases_come_before_their_release() {
        assert_eq!(AcceptedVersion::parse("v1.47"), Some(AcceptedVersion(1, 47, 0)));
        assert_eq!(AcceptedVersion::parse("1.47.0+x"), Some(AcceptedVersion(1, 47, 0)));
        assert!(AcceptedVersion::parse("1.47.0-rc.1").unwrap() < KNOWS_DEFAULT_VARIANTS);
        assert!(AcceptedVersion::parse("1.47.0-rc.1").unwrap() > KNOWS_ENTITY_IDS);
        assert_eq!(AcceptedVersion::parse("latest"), None);
    }
}
