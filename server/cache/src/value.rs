//! How what is cached is written.

use flipt_model::Snapshot;
use flipt_proto::{auth, evaluation::EvaluationNamespaceSnapshot, flipt as pb};
use flipt_store::Version;
use prost::Message;

/// Something that can be cached. Whoever changes its encoding changes the format of the key space.
pub(crate) trait Value: Sized + Send + Sync {
    /// The value as bytes; `None` if it cannot be written.
    fn encode(&self) -> Option<Vec<u8>>;
    /// The value that was written as these bytes; `None` if none was.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

macro_rules! messages {
    ($($message:ty),* $(,)?) => {$(
        impl Value for $message {
            fn encode(&self) -> Option<Vec<u8>> {
                Some(self.encode_to_vec())
            }
            fn decode(bytes: &[u8]) -> Option<Self> {
                Message::decode(bytes).ok()
            }
        }
    )*};
}

messages!(
    auth::Authentication,
    pb::Flag,
    pb::FlagList,
    pb::Namespace,
    pb::NamespaceList,
    pb::Rollout,
    pb::RolloutList,
    pb::Rule,
    pb::RuleList,
    pb::Segment,
    pb::SegmentList,
    SnapshotAtVersion,
);

/// The snapshot of a namespace with the namespace's version.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotAtVersion {
    #[prost(message, required, tag = "1")]
    pub(crate) snapshot: EvaluationNamespaceSnapshot,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

/// State of an environment with the environment's version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StateAtVersion {
    pub(crate) state: Snapshot,
    pub(crate) version: Version,
}

impl Value for StateAtVersion {
    fn encode(&self) -> Option<Vec<u8>> {
        let Version { epoch, revision } = &self.version;
        serde_json::to_vec(&(epoch, revision, &self.state)).ok()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (epoch, revision, state) = serde_json::from_slice(bytes).ok()?;
        Some(Self { state, version: Version { epoch, revision } })
    }
}
