//! From a tree of documents to the state that answers are made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use flipt_model::{
    Namespace, Snapshot,
    document::{LoadError, RulePosition, load_features_with_warnings},
};
use sha2::{Digest as _, Sha256};

use crate::Tree;

/// Documents that make no state; the one before stays in force.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadFailure(Box<LoadError>);

impl LoadFailure {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &str {
        self.0.file()
    }

    /// The line, from 1; `None` if the file's name is what is wrong.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.0.line()
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match *self.0 {
            LoadError::Extension { .. } => "let the index file select only .yml, .yaml and .json files",
            LoadError::UnknownSegment { .. } => {
                "define the segment in the same namespace, or correct its key"
            }
            LoadError::UnknownVariant { .. } => "add the variant to the flag, or correct its key",
            _ => "correct the file; `flipt validate` checks a folder",
        }
    }
}

impl std::fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file())?;
        if let Some(line) = self.line() {
            write!(f, ":{line}")?;
        }
        match &*self.0 {
            // Its text begins with the file.
            LoadError::Document { source, .. } => write!(f, ": {source}"),
            LoadError::Invalid { issues, .. } => {
                let messages: Vec<&str> = issues.iter().map(|issue| issue.message.as_str()).collect();
                write!(f, ": {}", messages.join("; "))
            }
            other => write!(f, ": {other}"),
        }
    }
}

impl std::error::Error for LoadFailure {}

/// What is known of a namespace beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Text that stands for the content; empty if no document is for the namespace.
    pub(crate) version: String,
    /// When this content was loaded first, in microseconds since the Unix epoch.
    pub(crate) loaded_at: i64,
}

/// The documents of one tree, resolved.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Namespaces, flags and segments in key order.
    pub(crate) snapshot: Snapshot,
    facts: BTreeMap<String, Facts>,
    listed: BTreeSet<RulePosition>,
}

impl State {
    /// Resolves a tree. Namespaces whose content is that of `before` keep their version and time.
    pub(crate) fn load(tree: &Tree, before: Option<&Self>, now: i64) -> Result<Self, LoadFailure> {
        let features =
            load_features_with_warnings(&tree.files).map_err(|error| LoadFailure(Box::new(error)))?;
        for warning in &features.warnings {
            tracing::warn!(warning, "feature file accepted, but look at it");
        }
        let facts = features
            .snapshot
            .namespaces
            .iter()
            .map(|namespace| {
                let key = &namespace.key;
                let version =
                    if features.documented.contains(key) { digest(namespace) } else { String::new() };
                let loaded_at = before
                    .filter(|before| before.namespace(key) == Some(namespace))
                    .and_then(|before| before.facts.get(key))
                    .map_or(now, |facts| facts.loaded_at);
                (key.clone(), Facts { version, loaded_at })
            })
            .collect();
        Ok(Self { snapshot: features.snapshot, facts, listed: features.listed })
    }

    pub(crate) fn namespace(&self, key: &str) -> Option<&Namespace> {
        let namespaces = &self.snapshot.namespaces;
        let at = namespaces.binary_search_by(|namespace| namespace.key.as_str().cmp(key)).ok()?;
        namespaces.get(at)
    }

    pub(crate) fn facts(&self, namespace: &str) -> Option<&Facts> {
        self.facts.get(namespace)
    }

    /// Whether the segments of a rule are written as a list, be it of one.
    pub(crate) fn is_listed(&self, namespace: &str, flag: &str, index: usize) -> bool {
        self.listed.contains(&RulePosition { namespace: namespace.to_owned(), flag: flag.to_owned(), index })
    }
}

/// What the version of a namespace is: the content itself decides, not the time of its files, so that replicas
/// agree and two edits within a second differ.
fn digest(namespace: &Namespace) -> String {
    // Serialising plain data into memory does not fail.
    let bytes = serde_json::to_vec(namespace).unwrap_or_default();
    Sha256::digest(&bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        Tree { files, changed_at: 0 }
    }

    #[test]
    fn only_namespaces_whose_content_changed_get_a_new_version_and_time() {
        let a = ("a.features.yml", "namespace: a\nflags: [{key: f, name: F}]\n");
        let b = ("b.features.yml", "namespace: b\nflags: [{key: f, name: F}]\n");
        let before = State::load(&tree(&[a, b]), None, 1).unwrap();
        let changed = ("b.features.yml", "namespace: b\nflags: [{key: f, name: G}]\n");
        let after = State::load(&tree(&[a, changed]), Some(&before), 2).unwrap();
        assert_eq!(after.facts("a"), before.facts("a"));
        assert_ne!(after.facts("b").unwrap().version, before.facts("b").unwrap().version);
        assert_eq!(after.facts("b").unwrap().loaded_at, 2);
        assert_eq!(after.facts("default").unwrap().version, "");
    }

    #[test]
    fn a_failure_names_file_line_and_remedy() {
        let refused = |text| State::load(&tree(&[("x/features.yml", text)]), None, 1).unwrap_err();
        let failure = refused("flags:\n- key: a\n");
        assert!(failure.to_string().starts_with("x/features.yml:2: flags.0.name: "), "{failure}");
        let failure = refused("flags:\n- {key: a, name: A, rules: [{segment: s}]}\n");
        assert_eq!(
            failure.to_string(),
            "x/features.yml:2: flag default/a rule 1 references unknown segment \"s\""
        );
        assert!(failure.remedy().contains("segment"));
        assert!(refused("flags: [\n").to_string().starts_with("x/features.yml:"));
    }
}
