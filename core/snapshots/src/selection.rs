//! A part of the namespaces, named by patterns.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use flipt_identity::Pattern;
use flipt_model::Snapshot;

/// Patterns of namespace keys; `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<Pattern>);

impl Selection {
    /// Every namespace that one of the patterns matches.
    #[must_use]
    pub fn new<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self(patterns.into_iter().map(|pattern| Pattern::new(pattern)).collect())
    }

    /// Every namespace.
    #[must_use]
    pub fn all() -> Self {
        Self::new(["*"])
    }

    /// Whether a namespace is part of it.
    #[must_use]
    pub fn has(&self, namespace: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(namespace))
    }

    /// Takes everything else away.
    pub fn apply(&self, snapshot: &mut Snapshot) {
        snapshot.namespaces.retain(|namespace| self.has(&namespace.key));
    }

    /// The patterns that match no namespace: misspelt, or of namespaces that are gone.
    #[must_use]
    pub fn idle<'a>(&'a self, snapshot: &Snapshot) -> Vec<&'a str> {
        let is_idle =
            |pattern: &&Pattern| !snapshot.namespaces.iter().any(|namespace| pattern.matches(&namespace.key));
        self.0.iter().filter(is_idle).map(Pattern::as_str).collect()
    }
}

/// Patterns separated by commas. Empty ones are left out.
impl FromStr for Selection {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty())))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<&str> = self.0.iter().map(Pattern::as_str).collect();
        f.write_str(&patterns.join(","))
    }
}

#[cfg(test)]
mod tests {
    use flipt_model::Namespace;

    use super::*;

    #[test]
    fn patterns_choose_namespaces_and_say_which_chose_none() {
        let namespace = |key: &str| Namespace { key: key.into(), ..Default::default() };
        let mut snapshot =
            Snapshot { namespaces: ["default", "shop", "shop-eu", "team"].map(namespace).into() };
        let selection: Selection = "shop*, team,gone,".parse().unwrap();
        assert_eq!(selection.idle(&snapshot), ["gone"]);
        selection.apply(&mut snapshot);
        let keys: Vec<&str> = snapshot.namespaces.iter().map(|namespace| namespace.key.as_str()).collect();
        assert_eq!(keys, ["shop", "shop-eu", "team"]);
        assert_eq!(selection.to_string(), "shop*,team,gone");
        assert!(Selection::all().has("anything"));
    }
}
