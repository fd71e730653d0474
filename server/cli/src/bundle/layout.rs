//! Bundles on disk: an OCI image layout per repository. Every file is written whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use flipt_config::BundleReference;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::manifest::{self, Blob, Descriptor, Manifest};
use crate::{atomic_file, failure::Failure};

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const TAG: &str = "org.opencontainers.image.ref.name";

/// The bundles of one repository.
pub(super) struct Layout {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    manifests: Vec<Descriptor>,
}

/// A bundle on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) digest: String,
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) created: DateTime<Utc>,
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

impl Layout {
    /// The layout of a repository below the directory of all bundles; it is made if it does not exist.
    pub(super) fn create(bundles: &Path, repository: &str) -> Result<Self, Failure> {
        let layout = Self { folder: bundles.join(repository) };
        let blobs = layout.folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
        let marker = layout.folder.join(MARKER);
        if !marker.exists() {
            write(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(layout)
    }

    /// The layout of a repository that exists.
    pub(super) fn open(bundles: &Path, repository: &str) -> Result<Self, Failure> {
        let folder = bundles.join(repository);
        if folder.join(INDEX).is_file() {
            Ok(Self { folder })
        } else {
            Err(Failure::new(format!("{repository}: not found in {}", bundles.display())))
        }
    }

    /// Stores a blob.
    pub(super) fn put(&self, content: &[u8]) -> Result<Blob, Failure> {
        let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let blob = Blob { digest: format!("sha256:{hex}"), size: content.len() as u64 };
        write(&self.path_of(&blob.digest)?, content)?;
        Ok(blob)
    }

    /// Where a blob lies. Digests come from files too, and are parts of paths.
    fn path_of(&self, digest: &str) -> Result<PathBuf, Failure> {
        match digest.strip_prefix("sha256:") {
            Some(hex) if BundleReference::is_digest(digest) => Ok(self.folder.join("blobs/sha256").join(hex)),
            _ => Err(Failure::new(format!("{}: {digest:?} is no digest", self.folder.display()))),
        }
    }

    fn index(&self) -> Result<Index, Failure> {
        let path = self.folder.join(INDEX);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Index { schema_version: 2, manifests: Vec::new() })
            }
            Err(error) => Err(failed(&path)(error)),
        }
    }

    fn manifest(&self, digest: &str) -> Result<Manifest, Failure> {
        let path = self.path_of(digest)?;
        let text = fs::read(&path).map_err(failed(&path))?;
        serde_json::from_slice(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    /// The manifest with this tag or digest.
    pub(super) fn find(&self, name: &str) -> Option<Blob> {
        let index = self.index().ok()?;
        let found = index.manifests.into_iter().find(|manifest| {
            manifest.digest == name || manifest.annotations.get(TAG).is_some_and(|tag| tag == name)
        })?;
        Some(Blob { digest: found.digest, size: found.size })
    }

    /// Names a manifest. An older one with the tag stays without it.
    pub(super) fn tag(&self, manifest: &Blob, tag: Option<&str>) -> Result<(), Failure> {
        let mut index = self.index()?;
        for older in &mut index.manifests {
            if tag.is_some() && older.annotations.get(TAG).map(String::as_str) == tag {
                older.annotations.remove(TAG);
            }
        }
        index
            .manifests
            .retain(|entry| entry.digest != manifest.digest || entry.annotations.contains_key(TAG));
        let known = index.manifests.iter().any(|entry| entry.digest == manifest.digest);
        if tag.is_some() || !known {
            let mut entry = Descriptor::new(manifest::MANIFEST, manifest.clone());
            entry.annotations = self.manifest(&manifest.digest)?.annotations;
            entry.annotations.extend(tag.map(|tag| (TAG.to_owned(), tag.to_owned())));
            entry.artifact_type = Some(manifest::ARTIFACT.to_owned());
            index.manifests.push(entry);
        }
        let text = serde_json::to_vec(&index).map_err(Failure::new)?;
        write(&self.folder.join(INDEX), &text)
    }

    /// Copies a manifest and everything it names, the manifest last.
    pub(super) fn copy_from(&self, other: &Self, manifest: &Blob) -> Result<(), Failure> {
        let named = other.manifest(&manifest.digest)?;
        let blobs = named.layers.iter().chain([&named.config]).map(|blob| blob.digest.as_str());
        for digest in blobs.chain([manifest.digest.as_str()]) {
            let path = other.path_of(digest)?;
            let content = fs::read(&path).map_err(failed(&path))?;
            if self.put(&content)?.digest != digest {
                return Err(Failure::new(format!("{}: damaged: not what its name says", path.display())));
            }
        }
        Ok(())
    }

    /// What is in it, by tag.
    fn listed(&self, repository: &str) -> Result<Vec<Listed>, Failure> {
        let mut listed = Vec::new();
        for entry in self.index()?.manifests {
            let created = self.manifest(&entry.digest)?.annotations.get(manifest::CREATED).cloned();
            let created = created.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
            let Some(created) = created else {
                return Err(Failure::new(format!("{}: no time of creation", entry.digest)));
            };
            listed.push(Listed {
                repository: repository.to_owned(),
                tag: entry.annotations.get(TAG).cloned().unwrap_or_default(),
                digest: entry.digest,
                created: created.to_utc(),
            });
        }
        Ok(listed)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    atomic_file::write(path, content, atomic_file::public()).map_err(failed(path))
}

/// Every bundle, by repository. What is no layout, or a damaged one, is left out with a warning.
pub(super) fn list(bundles: &Path) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    if bundles.is_dir() {
        walk(bundles, "", &mut listed)?;
    }
    listed.sort_by(|a, b| (&a.repository, a.created, &a.tag).cmp(&(&b.repository, b.created, &b.tag)));
    Ok(listed)
}

fn walk(folder: &Path, repository: &str, listed: &mut Vec<Listed>) -> Result<(), Failure> {
    if folder.join(INDEX).is_file() {
        match (Layout { folder: folder.to_owned() }).listed(repository) {
            Ok(bundles) => listed.extend(bundles),
            Err(failure) => tracing::warn!(repository, error = %failure, "bundles left out of the list"),
        }
    }
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Blobs of the layout itself.
        let is_content = name == "blobs" && folder.join(MARKER).exists();
        if entry.file_type().map_err(failed(folder))?.is_dir() && !is_content {
            let below = if repository.is_empty() { name } else { format!("{repository}/{name}") };
            walk(&entry.path(), &below, listed)?;
        }
    }
    Ok(())
}
