//! What a bundle's manifest says, in the order of members that its digest depends on (documents spec, section
//! 12).

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CREATED: &str = "org.opencontainers.image.created";
pub(super) const ARTIFACT: &str = "application/vnd.io.flipt.features.v1";
const LAYER: &str = "application/vnd.io.flipt.features.namespace.v1";
const NAMESPACE: &str = "io.flipt.features.namespace";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The blob of a configuration that says nothing.
pub(super) const EMPTY: &[u8] = b"{}";
const EMPTY_DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// How a manifest names the type of its artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManifestVersion {
    /// As the type of its configuration, for registries that know nothing else.
    V1_0,
    /// In a member of its own.
    V1_1,
}

impl ManifestVersion {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "1.0" => Ok(Self::V1_0),
            "1.1" => Ok(Self::V1_1),
            _ => Err(Failure::new(format!(
                "wrong manifest version, it should be 1.0 or 1.1 (storage.oci.manifest_version is {text:?})"
            ))),
        }
    }
}

/// A blob by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A blob that lies in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, blob: Blob) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: blob.digest,
            size: blob.size,
            data: None,
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }
}

/// The layer of a document.
pub(super) fn layer(blob: Blob, namespace: &str) -> Descriptor {
    let annotations = BTreeMap::from([(NAMESPACE.to_owned(), namespace.to_owned())]);
    Descriptor { annotations, ..Descriptor::new(LAYER, blob) }
}

/// A manifest as bytes.
pub(super) fn manifest(
    version: ManifestVersion,
    mut layers: Vec<Descriptor>,
    created: DateTime<Utc>,
) -> Vec<u8> {
    let empty = Blob { digest: EMPTY_DIGEST.to_owned(), size: EMPTY.len() as u64 };
    let (artifact_type, config) = match version {
        ManifestVersion::V1_0 => (None, Descriptor::new(ARTIFACT, empty)),
        ManifestVersion::V1_1 => {
            let config = Descriptor { data: Some("e30=".to_owned()), ..Descriptor::new(EMPTY_TYPE, empty) };
            if layers.is_empty() {
                layers.push(config.clone());
            }
            (Some(ARTIFACT.to_owned()), config)
        }
    };
    let created = created.to_rfc3339_opts(SecondsFormat::Secs, true);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type,
        config,
        layers,
        annotations: BTreeMap::from([(CREATED.to_owned(), created)]),
    };
    // Texts and numbers only: this cannot fail.
    serde_json::to_vec(&manifest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The example of the documents spec, section 12.2.
    #[test]
    fn a_manifest_without_its_annotations_has_the_known_digest() {
        let blob = |digest: &str, size| Blob { digest: format!("sha256:{digest}"), size };
        let json =
            layer(blob("85ee577ad99c62f314abca9f43ad87c2ee8818513e6383a77690df56d0352748", 23), "default");
        let yaml =
            layer(blob("bbc859ba2a5e9ecc9469a06ae8770b7c0a6e2af2bf16f6bb9184d0244ffd79da", 16), "other");
        let yaml = Descriptor { media_type: format!("{LAYER}+yaml"), ..yaml };
        let bytes = manifest(ManifestVersion::V1_1, vec![json, yaml], DateTime::UNIX_EPOCH);
        let text = String::from_utf8(bytes).unwrap();
        let (bare, annotations) = text.rsplit_once(",\"annotations\"").unwrap();
        assert_eq!(annotations, r#":{"org.opencontainers.image.created":"1970-01-01T00:00:00Z"}}"#);
        let digest = Sha256::digest(format!("{bare}}}"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "7cd89519a7f44605a0964cb96e72fef972ebdc0fa4153adac2e8cd2ed5b0e90a");
    }
}
