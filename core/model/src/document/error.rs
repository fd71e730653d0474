//! Why a document cannot be read.

use thiserror::Error;

use crate::document::{Encoding, Place};

/// Why a document cannot be read; the text is the one the import command prints.
///
/// Where the reference's text is fixed it does not name the place; [`DocumentError::place`] always does.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The text is not YAML or JSON.
    #[error("unmarshalling document: {encoding}: line {}, column {}: {detail}", place.line, place.column)]
    Syntax {
        /// The encoding that was expected.
        encoding: Encoding,
        /// Where reading stopped.
        place: Place,
        /// What is wrong there.
        detail: String,
    },
    /// A value is not of the kind its field holds.
    #[error("unmarshalling document: line {}, column {}: {path}: {detail}", place.line, place.column)]
    Type {
        /// Where the value stands.
        place: Place,
        /// Keys and list positions (from 0) from the top of the document to the value, joined with dots.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A field that takes a text or a map holds a list.
    #[error("unmarshalling document: failed to unmarshal to string or {alternative}")]
    TextOrMap {
        /// Where the value stands.
        place: Place,
        /// What the map describes.
        alternative: &'static str,
    },
    /// The version is not written like one.
    #[error("parsing document version: {detail}")]
    VersionSyntax {
        /// Where the version stands.
        place: Place,
        /// What is wrong with it.
        detail: String,
    },
    /// The version is not one of the known ones.
    #[error("unsupported version: {version}")]
    UnsupportedVersion {
        /// Where the version stands.
        place: Place,
        /// The version as written.
        version: String,
    },
    /// A field needs a later version than the document declares.
    #[error("{field} is supported in version >={needed}, found {found}")]
    NeedsVersion {
        /// Where the field stands.
        place: Place,
        /// The field.
        field: &'static str,
        /// The first version that has the field.
        needed: &'static str,
        /// The declared version.
        found: &'static str,
    },
    /// An attachment cannot be written as JSON.
    #[error("marshalling attachment: {detail}")]
    Attachment {
        /// Where the offending value stands.
        place: Place,
        /// What is wrong with it.
        detail: String,
    },
    /// A distribution names a variant its flag does not have.
    #[error("finding variant: {variant}; flag: {flag}")]
    UnknownVariant {
        /// Where the distribution stands.
        place: Place,
        /// Key of the variant.
        variant: String,
        /// Key of the flag.
        flag: String,
    },
    /// A rule does not say which segments it is for.
    #[error("creating rule: flag \"{namespace}/{flag}\" rule {index} has no segment")]
    RuleWithoutSegment {
        /// Where the rule stands.
        place: Place,
        /// Key of the namespace.
        namespace: String,
        /// Key of the flag.
        flag: String,
        /// Position of the rule in its list, from 0.
        index: usize,
    },
    /// A rollout has both a segment and a threshold.
    #[error("rollout \"{namespace}/{flag}/{index}\" cannot have both segment and percentage rule")]
    RolloutWithBoth {
        /// Where the rollout stands.
        place: Place,
        /// Key of the namespace.
        namespace: String,
        /// Key of the flag.
        flag: String,
        /// Position of the rollout in its list, from 0.
        index: usize,
    },
    /// A rollout's segment has both one key and a list of keys.
    #[error("rollout {namespace}/{flag}/{index} cannot have both segment.keys and segment.key")]
    RolloutWithKeyAndKeys {
        /// Where the rollout stands.
        place: Place,
        /// Key of the namespace.
        namespace: String,
        /// Key of the flag.
        flag: String,
        /// Position of the rollout in its list, from 0.
        index: usize,
    },
    /// A rollout has neither a segment nor a threshold.
    #[error("creating rollout: rollout rule is missing")]
    RolloutWithNeither {
        /// Where the rollout stands.
        place: Place,
    },
}

impl DocumentError {
    pub(crate) fn syntax(encoding: Encoding, place: Place, detail: String) -> Self {
        Self::Syntax { encoding, place, detail }
    }

    /// Where in the text the error is.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Syntax { place, .. }
            | Self::Type { place, .. }
            | Self::TextOrMap { place, .. }
            | Self::VersionSyntax { place, .. }
            | Self::UnsupportedVersion { place, .. }
            | Self::NeedsVersion { place, .. }
            | Self::Attachment { place, .. }
            | Self::UnknownVariant { place, .. }
            | Self::RuleWithoutSegment { place, .. }
            | Self::RolloutWithBoth { place, .. }
            | Self::RolloutWithKeyAndKeys { place, .. }
            | Self::RolloutWithNeither { place } => *place,
        }
    }
}
