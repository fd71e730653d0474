//! A bundle that a person named on the command line (cli spec, section 7).

use flipt_config::BundleReference;

use crate::failure::Failure;

/// Tag of a bundle that names none.
const LATEST: &str = "latest";

/// A bundle that a person named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference(BundleReference);

impl Reference {
    /// Reads a name.
    ///
    /// # Errors
    /// The texts that scripts know, and what else cannot name a bundle.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        text.parse().map(Self).map_err(Failure::new)
    }

    /// The repository on this machine.
    ///
    /// # Errors
    /// If it is in a registry.
    pub(crate) fn require_local(&self) -> Result<&str, Failure> {
        match &self.0.registry {
            None => Ok(&self.0.repository),
            Some(registry) => Err(Failure::new(format!(
                "{registry}: this version does not talk to registries; copy the image layout with a tool such as oras or skopeo"
            ))),
        }
    }

    /// Tag or digest, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The tag, `latest` if there is none.
    ///
    /// # Errors
    /// If a digest was given.
    pub(crate) fn tag_or_latest(&self) -> Result<&str, Failure> {
        match self.name() {
            None => Ok(LATEST),
            Some(tag) if BundleReference::is_tag(tag) => Ok(tag),
            Some(digest) => {
                Err(Failure::new(format!("{digest}: a bundle is built with a tag, not a digest")))
            }
        }
    }
}
