//! Keys of everything that is published, below the location's prefix.

use super::{Digest, FormatError};

/// Keys of one environment's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    environment: String,
}

impl Keys {
    /// Keys for `environment`.
    ///
    /// # Errors
    ///
    /// [`FormatError::InvalidEnvironment`] if the name cannot stand in a key.
    pub fn new(environment: &str) -> Result<Self, FormatError> {
        if flipt_model::resource::is_environment_key(environment) {
            Ok(Self { environment: environment.to_owned() })
        } else {
            Err(FormatError::InvalidEnvironment(environment.chars().take(128).collect()))
        }
    }

    /// The environment's key.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The pointer: the only object that is ever rewritten.
    #[must_use]
    pub fn pointer(&self) -> String {
        self.absolute("current.json")
    }

    /// Path of an object as pointers name it, relative to the environment.
    #[must_use]
    pub fn object_path(digest: &Digest) -> String {
        let hex = digest.hex();
        format!("objects/sha256/{}/{hex}.json.gz", &hex[..2])
    }

    /// Key of something that a pointer names by its path relative to the environment.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        format!("v1/{}/{path}", self.environment)
    }

    /// All objects start with this.
    #[must_use]
    pub fn objects_prefix(&self) -> String {
        self.absolute("objects/")
    }

    /// All history entries start with this.
    #[must_use]
    pub fn history_prefix(&self) -> String {
        self.absolute("history/")
    }

    /// The copy of the pointer that was current at `revision`.
    #[must_use]
    pub fn history(&self, revision: u64) -> String {
        self.absolute(&format!("history/{revision:020}.json"))
    }
}

/// Whether `path` is `features/<namespace>/features.yaml` with a namespace that can stand in a key.
#[must_use]
pub fn feature_file_is_valid(path: &str) -> bool {
    path.strip_prefix("features/").and_then(|rest| rest.strip_suffix("/features.yaml")).is_some_and(
        |namespace| {
            !namespace.is_empty()
                && !matches!(namespace, "." | "..")
                && !namespace.contains(['/', '\\'])
                && !namespace.chars().any(char::is_control)
        },
    )
}

/// Whether a pointer's path stays below the environment's `objects/`.
pub(super) fn object_path_is_safe(path: &str) -> bool {
    path.len() <= 512
        && path.strip_prefix("objects/").is_some_and(|rest| {
            rest.split('/').all(|segment| {
                !segment.is_empty()
                    && !segment.starts_with('.')
                    && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_laid_out_as_documented() {
        let keys = Keys::new("default").unwrap();
        assert_eq!(keys.pointer(), "v1/default/current.json");
        assert_eq!(keys.history(18_231), "v1/default/history/00000000000000018231.json");
        let path = Keys::object_path(&Digest::of(b""));
        assert_eq!(
            path,
            "objects/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.json.gz"
        );
        assert!(object_path_is_safe(&path));
    }

    #[test]
    fn an_environment_cannot_leave_its_place() {
        for name in ["", ".", "..", "a/b", "a\\b", "a b", "ä"] {
            assert!(Keys::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_path_cannot_leave_the_objects() {
        for path in ["", "objects/", "history/x", "objects/../x", "objects//x", "/objects/x", "objects/.x"] {
            assert!(!object_path_is_safe(path), "{path}");
        }
    }

    #[test]
    fn a_feature_file_has_exactly_one_namespace() {
        assert!(feature_file_is_valid("features/shop/features.yaml"));
        for path in [
            "features/features.yaml",
            "features//features.yaml",
            "features/../features.yaml",
            "x/y/features.yaml",
        ] {
            assert!(!feature_file_is_valid(path), "{path}");
        }
    }
}
