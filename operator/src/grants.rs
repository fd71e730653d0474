//! Who may put what into a server: its `allowedNamespaces`.

use std::collections::BTreeMap;

use flipt_crds::{AllowedNamespaces, GrantedKind, NamespacesFrom};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

/// Somebody who wants to put something into a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    /// Kind of the object.
    pub(crate) kind: GrantedKind,
    /// Namespace of the object.
    pub(crate) namespace: &'a str,
    /// Labels of that namespace; none if they are not known.
    pub(crate) labels: Option<&'a BTreeMap<String, String>>,
    /// The namespace of the server that it wants to write.
    pub(crate) flipt_namespace: &'a str,
}

/// Whether one of the entries allows it.
pub(crate) fn allows(entries: &[AllowedNamespaces], server_namespace: &str, who: Applicant<'_>) -> bool {
    entries.iter().any(|entry| {
        let from = match entry.from {
            NamespacesFrom::All => true,
            NamespacesFrom::Same => who.namespace == server_namespace,
            NamespacesFrom::Selector => match (&entry.selector, who.labels) {
                (Some(selector), Some(labels)) => selects(selector, labels),
                _ => false,
            },
        };
        let namespace = entry.flipt_namespaces.is_empty()
            || entry.flipt_namespaces.iter().any(|glob| matches(glob, who.flipt_namespace));
        let kind = entry.kinds.is_empty() || entry.kinds.contains(&who.kind);
        from && namespace && kind
    })
}

/// A selector that nobody understands selects nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// Whether a text is what a pattern describes, `*` standing for any text.
fn matches(glob: &str, text: &str) -> bool {
    let Some((prefix, mut rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(prefix) else { return false };
    while let Some((part, after)) = rest.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = text.get(at + part.len()..).unwrap_or_default();
        rest = after;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: serde_json::Value) -> Vec<AllowedNamespaces> {
        serde_json::from_value(json).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn globs_match_whole_keys() {
        for (glob, text, expected) in [
            ("shop", "shop", true),
            ("shop", "shop-2", false),
            ("*", "", true),
            ("shop-*", "shop-eu", true),
            ("shop-*", "shop", false),
            ("*-eu", "shop-eu", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn only_what_an_entry_names_is_allowed() {
        let (team, other_team) = (labels(&[("team", "shop")]), labels(&[("team", "pay")]));
        let entries = entries(serde_json::json!([
            { "from": "Same" },
            { "from": "Selector", "selector": { "matchLabels": { "team": "shop" } },
              "fliptNamespaces": ["shop", "shop-*"], "kinds": ["FliptFlag", "FliptSegment"] },
        ]));
        let asks = |kind, namespace, labels, flipt_namespace| {
            allows(&entries, "flipt-system", Applicant { kind, namespace, labels, flipt_namespace })
        };
        assert!(asks(GrantedKind::FliptNamespace, "flipt-system", None, "anything"));
        assert!(asks(GrantedKind::FliptFlag, "shop", Some(&team), "shop-eu"));
        assert!(!asks(GrantedKind::FliptNamespace, "shop", Some(&team), "shop"), "kind");
        assert!(!asks(GrantedKind::FliptFlag, "shop", Some(&team), "pay"), "namespace of the server");
        assert!(!asks(GrantedKind::FliptFlag, "pay", Some(&other_team), "shop"), "labels");
        assert!(!asks(GrantedKind::FliptFlag, "shop", None, "shop"), "labels that are not known");
    }

    #[test]
    fn all_allows_everybody_and_nothing_allows_nobody() {
        let who = Applicant {
            kind: GrantedKind::FliptFlag,
            namespace: "shop",
            labels: None,
            flipt_namespace: "default",
        };
        assert!(allows(&entries(serde_json::json!([{ "from": "All" }])), "flipt-system", who));
        assert!(!allows(&[], "flipt-system", who));
    }

    #[test]
    fn a_selector_that_nobody_understands_selects_nothing() {
        let selector = serde_json::json!([{ "from": "Selector",
            "selector": { "matchExpressions": [{ "key": "team", "operator": "Near", "values": ["shop"] }] } }]);
        let team = labels(&[("team", "shop")]);
        let who = Applicant {
            kind: GrantedKind::FliptFlag,
            namespace: "shop",
            labels: Some(&team),
            flipt_namespace: "default",
        };
        assert!(!allows(&entries(selector), "flipt-system", who));
    }
}
