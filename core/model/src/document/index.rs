//! The index file, which says what of a source is a feature file.

use thiserror::Error;

use crate::document::decode::{At, Path};
use crate::document::glob::{Glob, GlobError};
use crate::document::node::Node;
use crate::document::yaml_reader::YamlDocuments;
use crate::document::{DocumentError, Encoding, decode_text};

/// Name of the index file, in the root of the source.
pub const INDEX_FILE: &str = ".flipt.yml";

/// Patterns that hold where there is no index file.
pub const DEFAULT_INCLUDE: [&str; 4] =
    ["**features.yml", "**features.yaml", "**.features.yml", "**.features.yaml"];

/// What an index file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

/// Why an index file cannot be used.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum IndexError {
    /// The file is empty.
    #[error("reading index: EOF")]
    Empty,
    /// The file is not YAML, or a field is not what it should be.
    #[error("reading index: {0}")]
    Malformed(#[source] DocumentError),
    /// An include pattern is malformed.
    #[error("compiling include glob: {pattern:?}: {source}")]
    Include {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: GlobError,
    },
    /// An exclude pattern is malformed.
    #[error("compiling exclude glob: {pattern:?}: {source}")]
    Exclude {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: GlobError,
    },
}

impl Default for Index {
    /// What holds where there is no index file.
    fn default() -> Self {
        // The default patterns are well-formed; a test says so.
        let include = DEFAULT_INCLUDE.iter().filter_map(|pattern| Glob::new(pattern).ok()).collect();
        Self { include, exclude: Vec::new() }
    }
}

impl Index {
    /// Reads an index file. Its version is not looked at, unknown keys are ignored; without `include` nothing
    /// is selected.
    ///
    /// # Errors
    /// The file is empty or not YAML, or a pattern is malformed.
    pub fn read(text: &[u8]) -> Result<Self, IndexError> {
        let text = decode_text(text, Encoding::Yaml).map_err(IndexError::Malformed)?;
        let document = YamlDocuments::new(&text).next().ok_or(IndexError::Empty)?;
        let document = document.map_err(IndexError::Malformed)?;
        let include =
            compile(&document, "include", |pattern, source| IndexError::Include { pattern, source })?;
        let exclude =
            compile(&document, "exclude", |pattern, source| IndexError::Exclude { pattern, source })?;
        Ok(Self { include, exclude })
    }

    /// Whether a path relative to the root, with `/` and without leading `./`, is a feature file.
    #[must_use]
    pub fn selects(&self, path: &str) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(path));
        any(&self.include) && !any(&self.exclude)
    }
}

fn compile(
    document: &Node,
    name: &str,
    refuse: impl Fn(String, GlobError) -> IndexError,
) -> Result<Vec<Glob>, IndexError> {
    let path = Path::Top;
    let at = At { node: document, path, encoding: Encoding::Yaml };
    let fields = at.fields().map_err(IndexError::Malformed)?;
    let Some(list) = fields.get(&path, name) else { return Ok(Vec::new()) };
    let patterns = list.texts().map_err(IndexError::Malformed)?;
    patterns
        .into_iter()
        .map(|pattern| Glob::new(&pattern).map_err(|source| refuse(pattern, source)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_index_every_path_ending_in_features_is_selected() {
        let index = Index::default();
        assert_eq!(index.include.len(), DEFAULT_INCLUDE.len());
        for path in ["features.yml", "a/features.yaml", "prod.features.yaml", "a/.b/x.features.yml"] {
            assert!(index.selects(path), "{path}");
        }
        for path in ["features.json", "a.yml", "features.yml.bak"] {
            assert!(!index.selects(path), "{path}");
        }
    }

    #[test]
    fn an_exclude_outweighs_an_include() {
        let index =
            Index::read(b"version: 1.0\ninclude: [\"*.json\"]\nexclude: [\"b.json\"]\nother: 1\n").unwrap();
        assert!(index.selects("a.json"));
        assert!(!index.selects("b.json"));
        assert!(!index.selects("features.yml"));
    }

    #[test]
    fn an_index_without_include_selects_nothing() {
        assert!(!Index::read(b"version: \"1.0\"\n").unwrap().selects("features.yml"));
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let error = |text: &str| Index::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error(""), "reading index: EOF");
        assert_eq!(error("# comment\n"), "reading index: EOF");
        assert!(error("include: [").starts_with("reading index: "));
        assert!(error("- a").starts_with("reading index: "));
        assert!(error("include: {a: b}").starts_with("reading index: "));
        assert!(error("include: ['[a']").starts_with("compiling include glob: "));
        assert!(error("exclude: ['{a']").starts_with("compiling exclude glob: "));
    }
}
