//! The part of `storage.oci` that `flipt bundle` reads: where bundles lie on this machine (config spec, section
//! 3.11).

use std::path::PathBuf;

use crate::reader::Reader;

/// Where bundles lie on this machine, and how they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundles {
    /// The directory that holds an image layout for each repository.
    pub directory: PathBuf,
    /// Version of the manifests that are written, as configured: `1.0` and `1.1` are known.
    pub manifest_version: String,
}

impl Bundles {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let directory = reader.text("storage.oci.bundles_directory", "");
        let directory = if directory.is_empty() {
            crate::user_config_directory(reader.environment()).join("flipt/bundles")
        } else {
            directory.into()
        };
        Self { directory, manifest_version: reader.text("storage.oci.manifest_version", "1.1") }
    }
}
