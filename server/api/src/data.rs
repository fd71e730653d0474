//! The snapshot endpoint for client-side engines (api spec, section 2.9).

use flipt_proto::evaluation::{
    EvaluationConstraintComparisonType, EvaluationNamespaceSnapshot, EvaluationNamespaceSnapshotRequest,
    data_service_server::DataService, evaluation_rollout,
};
use flipt_serving::Error;
use http::HeaderMap;
use sha1::{Digest as _, Sha1};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{Api, Fails as _};

/// Full name of the service.
pub(crate) const SERVICE: &str = "flipt.evaluation.DataService";
/// Header with the highest server version that the client understands.
const ACCEPTED_VERSION: &str = "x-flipt-accept-server-version";
/// What a client without that header is taken for.
const ASSUMED_VERSION: Client = Client(1, 37, 1);
const KNOWS_ENTITY_IDS: Client = Client(1, 38, 0);
const KNOWS_DEFAULT_VARIANTS: Client = Client(1, 47, 0);

/// Version a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Client(u64, u64, u64);

impl Client {
    fn from_headers(headers: &HeaderMap) -> Self {
        headers
            .get(ACCEPTED_VERSION)
            .and_then(|value| value.to_str().ok())
            .and_then(Self::parse)
            .unwrap_or(ASSUMED_VERSION)
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
}

/// A snapshot, or the news that the client has it already.
pub(crate) enum Answer {
    Snapshot { etag: Option<String>, snapshot: Box<EvaluationNamespaceSnapshot> },
    NotModified { etag: String },
}

fn etag(version: &str) -> Option<String> {
    use std::fmt::Write as _;
    if version.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(version.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// Whether a conditional header names this tag. Flipt compares byte for byte; quotes, a weak mark and lists
/// are understood here too.
fn names(condition: &str, etag: &str) -> bool {
    condition
        .split(',')
        .map(str::trim)
        .any(|tag| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == etag)
}

pub(crate) async fn snapshot(
    api: &Api,
    key: &str,
    condition: Option<&str>,
    headers: &HeaderMap,
) -> Result<Answer, Error> {
    if let Some(condition) = condition {
        let version =
            api.store.namespace_version(flipt_model::namespace_or_default(key)).await.or_refuse()?;
        if let Some(etag) = etag(&version).filter(|etag| names(condition, etag)) {
            return Ok(Answer::NotModified { etag });
        }
    }
    let (mut snapshot, version) = api.store.namespace_snapshot(key).await.or_refuse()?;
    restrict(&mut snapshot, Client::from_headers(headers));
    Ok(Answer::Snapshot { etag: etag(&version), snapshot: Box::new(snapshot) })
}

/// Takes out what an old client would stumble over.
fn restrict(snapshot: &mut EvaluationNamespaceSnapshot, client: Client) {
    for flag in &mut snapshot.flags {
        if client < KNOWS_DEFAULT_VARIANTS {
            flag.default_variant = None;
        }
        if client >= KNOWS_ENTITY_IDS {
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

#[tonic::async_trait]
impl DataService for Api {
    async fn evaluation_snapshot_namespace(
        &self,
        request: Request<EvaluationNamespaceSnapshotRequest>,
    ) -> Result<Response<EvaluationNamespaceSnapshot>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        let condition = headers.get("grpcgateway-if-none-match").and_then(|value| value.to_str().ok());
        let (etag, code, snapshot) = match snapshot(self, &message.key, condition, &headers).await? {
            Answer::Snapshot { etag, snapshot } => (etag, None, *snapshot),
            Answer::NotModified { etag } => (Some(etag), Some("304"), EvaluationNamespaceSnapshot::default()),
        };
        let mut response = Response::new(snapshot);
        if let Some(value) = etag.and_then(|etag| MetadataValue::try_from(etag).ok()) {
            response.metadata_mut().insert("x-etag", value);
        }
        if let Some(code) = code {
            response.metadata_mut().insert("x-http-code", MetadataValue::from_static(code));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently_and_pre_releases_come_before_their_release() {
        assert_eq!(Client::parse("v1.47"), Some(Client(1, 47, 0)));
        assert_eq!(Client::parse("1.47.0+x"), Some(Client(1, 47, 0)));
        assert!(Client::parse("1.47.0-rc.1").unwrap() < KNOWS_DEFAULT_VARIANTS);
        assert!(Client::parse("1.47.0-rc.1").unwrap() > KNOWS_ENTITY_IDS);
        assert_eq!(Client::parse("latest"), None);
    }

    #[test]
    fn the_tag_is_the_documented_hash_in_any_spelling() {
        let tag = etag("etag").unwrap();
        assert_eq!(tag, "92e200311a56800b3e475bf2d2442724535e87bf");
        for condition in [tag.clone(), format!("\"{tag}\""), format!("W/\"{tag}\", \"x\"")] {
            assert!(names(&condition, &tag), "{condition}");
        }
        assert!(!names("*", &tag));
    }
}
