//! What is injected, before a pod has been seen: a profile whose references have been resolved.

use flipt_crds::{Bucket, FliptSidecarProfileSpec};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A place where a sidecar finds snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum SourceLocation {
    /// A prefix of a bucket.
    S3(Bucket),
    /// A server, by its URL.
    Server(String),
    /// A ConfigMap in the namespace of the pod, by its name, with the documents of a namespace in `features.yaml`.
    ConfigMap(String),
}

/// A profile whose references have been resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What stands in it. `spec.source` is not looked at.
    pub spec: FliptSidecarProfileSpec,
    /// Where its snapshots come from: the first, and the others when those before do not answer at a start.
    pub sources: Vec<SourceLocation>,
    /// Environment that is followed.
    pub environment: String,
}

/// What the operator adds to every profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Image of a sidecar whose profile names none.
    pub image: String,
    /// Version of the operator, which is written on every pod.
    pub version: String,
    /// Audience of the token with which a sidecar reads from a server.
    pub server_audience: String,
}

impl Profile {
    /// Hash of all that a pod gets from this profile. A pod whose status has another one has a sidecar of an older
    /// profile, or of an older release.
    #[must_use]
    pub fn hash(&self, settings: &Settings) -> String {
        let parts = (
            &self.spec,
            &self.sources,
            &self.environment,
            crate::image::resolve(&self.spec.image, &settings.image),
            &settings.server_audience,
        );
        digest(&parts)
    }
}

/// Short hash of something that can be written as JSON.
pub(crate) fn digest(value: &impl Serialize) -> String {
    // None of our types has a map whose keys are not texts, which is the only way in which this can fail.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
