//! Versions of the document format.

use crate::document::{DocumentError, Place};

/// A version of the document format; later versions are greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Before flag types.
    V1_0,
    /// Flag types and rollouts; ranks of rules may be left out.
    V1_1,
    /// Several segments in a rule or rollout.
    V1_2,
    /// Default variants and metadata.
    V1_3,
    /// Namespaces with name and description. Meant where a document has no version.
    #[default]
    V1_4,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 5] = [Self::V1_0, Self::V1_1, Self::V1_2, Self::V1_3, Self::V1_4];

    /// The version as documents spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
            Self::V1_4 => "1.4",
        }
    }

    /// Reads a version as import does: white space around it, a leading `v` and leading zeros do not count,
    /// missing parts are 0, the empty text is the latest version.
    pub(crate) fn read(text: &str, place: Place) -> Result<Self, DocumentError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let malformed = |detail: String| DocumentError::VersionSyntax { place, detail };
        let trimmed = text.trim();
        let trimmed = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let (core, suffix) = match trimmed.find(['-', '+']) {
            Some(at) => trimmed.split_at(at),
            None => (trimmed, ""),
        };
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() > 3 {
            return Err(malformed(format!("{text:?} has more than three parts")));
        }
        if parts.len() < 3 && !suffix.is_empty() {
            return Err(malformed(format!("{text:?} has a suffix but not three parts")));
        }
        let mut numbers = [0_u64; 3];
        for (number, part) in numbers.iter_mut().zip(parts) {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(malformed(format!("{part:?} in {text:?} is not a number")));
            }
            *number = part.parse().map_err(|_| malformed(format!("{part:?} in {text:?} is too large")))?;
        }
        Self::ALL
            .into_iter()
            .enumerate()
            .find(|(minor, _)| suffix.is_empty() && numbers == [1, *minor as u64, 0])
            .map(|(_, version)| version)
            .ok_or_else(|| DocumentError::UnsupportedVersion { place, version: text.to_owned() })
    }

    /// Refuses a field that came with a later version than this one.
    pub(crate) fn require(
        self,
        needed: Self,
        field: &'static str,
        place: Place,
    ) -> Result<(), DocumentError> {
        if self >= needed {
            return Ok(());
        }
        Err(DocumentError::NeedsVersion { place, field, needed: needed.name(), found: self.name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Version, String> {
        Version::read(text, Place { line: 1, column: 1 }).map_err(|error| error.to_string())
    }

    #[test]
    fn versions_are_read_leniently() {
        for (text, version) in [
            ("", Version::V1_4),
            ("1.2", Version::V1_2),
            ("v1.2", Version::V1_2),
            (" 1.3", Version::V1_3),
            ("01.3", Version::V1_3),
            ("1.03.00", Version::V1_3),
            ("1", Version::V1_0),
            ("1.2.0", Version::V1_2),
        ] {
            assert_eq!(read(text), Ok(version), "{text}");
        }
    }

    #[test]
    fn other_versions_are_unsupported_as_written() {
        for text in ["1.4.1", "5.0", "1.5", "0.9", "v9", "2", "1.4.0-rc"] {
            assert_eq!(read(text), Err(format!("unsupported version: {text}")));
        }
    }

    #[test]
    fn what_is_no_version_is_malformed() {
        for text in ["abc", "1.4-rc", "1.4.0.0", "1.", "vv1", " ", "1.-1", "99999999999999999999"] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("parsing document version: "), "{text}: {error}");
        }
    }
}
