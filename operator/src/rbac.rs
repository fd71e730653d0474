//! What the operator may do in a cluster: one table, from which its roles are made.

use std::fmt::Write as _;

use crate::{leader::LEASE, settings::Settings};

/// Where a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Objects that have no namespace.
    Cluster,
    /// The namespaces that are watched: all, or those of `--watch-namespaces`.
    Watched,
    /// The operator's own namespace.
    Own,
    /// As [`Scope::Watched`], but only with `--evict-missed`.
    Evict,
    /// The Job that makes an uninstallation possible, in the whole cluster: under a service account of its own.
    Uninstall,
    /// The same Job in the operator's own namespace.
    UninstallOwn,
}

impl Scope {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Cluster, Self::Watched, Self::Own, Self::Evict, Self::Uninstall, Self::UninstallOwn];

    /// Name of its file in the chart.
    fn file(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Watched => "watched",
            Self::Own => "own",
            Self::Evict => "evict",
            Self::Uninstall => "uninstall",
            Self::UninstallOwn => "uninstall-own",
        }
    }

    /// What its file says of itself.
    fn title(self) -> &'static str {
        match self {
            Self::Cluster => "ClusterRole: objects that have no namespace",
            Self::Watched => {
                "ClusterRole, or with watchNamespaces a Role in each of them and in the operator's own"
            }
            Self::Own => "Role in the operator's own namespace",
            Self::Evict => "As watched, if labelled pods without a sidecar are evicted",
            Self::Uninstall => "ClusterRole of the Job that uninstalls, under a service account of its own",
            Self::UninstallOwn => "Role of the same Job in the operator's own namespace",
        }
    }
}

/// A name that is known only where the roles are made.
const WEBHOOK: &str = "@WEBHOOK@";
const SERVICE_ACCOUNT: &str = "@SERVICE_ACCOUNT@";

/// One rule.
struct Rule {
    scope: Scope,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    names: &'static [&'static str],
    why: &'static str,
}

/// Paths of the API server, which belong to [`Scope::Cluster`].
const PATHS: &[&str] = &["/.well-known/openid-configuration", "/openid/v1/jwks"];
const PATHS_WHY: &str = "issuer and keys of service account tokens, handed on as flipt-trust";

const CHILDREN: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
const READ: &[&str] = &["get", "list", "watch"];
/// Server-side apply needs `create` beside `patch`, and is how the chart's objects get in and out.
const KINDS: &[&str] = &["get", "list", "watch", "create", "patch", "update", "delete"];

const fn rule(
    scope: Scope,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
) -> Rule {
    Rule { scope, group, resources, verbs, names: &[], why }
}

const fn named(rule: Rule, names: &'static [&'static str]) -> Rule {
    Rule { names, ..rule }
}

/// Everything the operator does in a cluster.
const RULES: &[Rule] = &[
    // Objects without a namespace.
    rule(
        Scope::Cluster,
        "",
        &["namespaces"],
        READ,
        "grants by label; where flipt-trust belongs; uid of kube-system",
    ),
    rule(
        Scope::Cluster,
        "flipt.io",
        &["clusterfliptsidecarprofiles"],
        KINDS,
        "profiles of the cluster, and the one that the chart brings",
    ),
    rule(
        Scope::Cluster,
        "flipt.io",
        &["clusterfliptsidecarprofiles/status"],
        &["get", "patch", "update"],
        "what became of them",
    ),
    rule(
        Scope::Cluster,
        "admissionregistration.k8s.io",
        &["mutatingwebhookconfigurations"],
        &["list", "watch"],
        "notices that its bundle was taken away; a list cannot be granted by name",
    ),
    named(
        rule(
            Scope::Cluster,
            "admissionregistration.k8s.io",
            &["mutatingwebhookconfigurations"],
            &["get", "patch", "update"],
            "writes the bundle of authorities of its own webhook",
        ),
        &[WEBHOOK],
    ),
    named(
        rule(
            Scope::Cluster,
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            &["get"],
            "flags of a kind that is deleted as a whole stay in the server",
        ),
        &["fliptnamespaces.flipt.io", "fliptflags.flipt.io", "fliptsegments.flipt.io"],
    ),
    // Namespaces that are watched.
    rule(
        Scope::Watched,
        "flipt.io",
        &[
            "fliptservers",
            "fliptnamespaces",
            "fliptflags",
            "fliptsegments",
            "fliptsnapshotexports",
            "fliptsidecarprofiles",
        ],
        KINDS,
        "the custom resources, and those that the chart brings",
    ),
    rule(
        Scope::Watched,
        "flipt.io",
        &[
            "fliptservers/status",
            "fliptnamespaces/status",
            "fliptflags/status",
            "fliptsegments/status",
            "fliptsnapshotexports/status",
            "fliptsidecarprofiles/status",
        ],
        &["get", "patch", "update"],
        "what became of them",
    ),
    rule(
        Scope::Watched,
        "flipt.io",
        &[
            "fliptservers/finalizers",
            "fliptnamespaces/finalizers",
            "fliptflags/finalizers",
            "fliptsegments/finalizers",
            "fliptsnapshotexports/finalizers",
            "fliptsidecarprofiles/finalizers",
        ],
        &["update"],
        "cleans up before they go; owns what is made for them",
    ),
    rule(Scope::Watched, "apps", &["deployments"], CHILDREN, "servers that the operator runs"),
    rule(
        Scope::Watched,
        "",
        &["services", "serviceaccounts", "configmaps"],
        CHILDREN,
        "servers that the operator runs; identity of exports; flipt-trust beside injected pods",
    ),
    rule(Scope::Watched, "policy", &["poddisruptionbudgets"], CHILDREN, "servers that the operator runs"),
    rule(Scope::Watched, "batch", &["cronjobs", "jobs"], CHILDREN, "exports; migrations of servers"),
    rule(
        Scope::Watched,
        "",
        &["secrets"],
        &["get"],
        "the one Secret that a FliptServer names: its token, its certificates",
    ),
    rule(
        Scope::Watched,
        "",
        &["pods"],
        READ,
        "labelled pods without a sidecar; what an export says at its end",
    ),
    rule(Scope::Watched, "events.k8s.io", &["events"], &["create", "patch"], "tells what happens"),
    // The operator's own namespace.
    rule(
        Scope::Own,
        "",
        &["secrets"],
        &["get", "list", "watch", "create", "patch", "update"],
        "certificate of the webhook",
    ),
    rule(
        Scope::Own,
        "",
        &["configmaps"],
        CHILDREN,
        "keys of tokens that are not shown any more and may still be needed",
    ),
    rule(
        Scope::Own,
        "coordination.k8s.io",
        &["leases"],
        &["get", "create", "patch", "update"],
        "one replica writes",
    ),
    named(
        rule(
            Scope::Own,
            "coordination.k8s.io",
            &["leases"],
            &["delete"],
            "without which its owners cannot be changed everywhere",
        ),
        &[LEASE],
    ),
    rule(Scope::Own, "events.k8s.io", &["events"], &["create", "patch"], "tells what happens"),
    named(
        rule(
            Scope::Own,
            "",
            &["serviceaccounts/token"],
            &["create"],
            "tokens for servers, of its own service account",
        ),
        &[SERVICE_ACCOUNT],
    ),
    // On demand.
    rule(Scope::Evict, "", &["pods/eviction"], &["create"], "labelled pods without a sidecar are replaced"),
    // At the end.
    named(
        rule(
            Scope::Uninstall,
            "admissionregistration.k8s.io",
            &["mutatingwebhookconfigurations"],
            &["get", "delete"],
            "no pod waits for a webhook that is gone",
        ),
        &[WEBHOOK],
    ),
    rule(
        Scope::Uninstall,
        "flipt.io",
        &[
            "fliptservers",
            "fliptnamespaces",
            "fliptflags",
            "fliptsegments",
            "fliptsnapshotexports",
            "fliptsidecarprofiles",
            "clusterfliptsidecarprofiles",
        ],
        &["get", "list", "patch", "delete"],
        "finalizers that nobody would remove any more; with purge, the resources",
    ),
    rule(
        Scope::Uninstall,
        "",
        &["configmaps"],
        &["list", "delete"],
        "flipt-trust, which nobody would keep current any more",
    ),
    rule(
        Scope::UninstallOwn,
        "coordination.k8s.io",
        &["leases"],
        &["get", "create", "update"],
        "takes the Lease, so that no operator puts back what is released",
    ),
    named(
        rule(
            Scope::UninstallOwn,
            "coordination.k8s.io",
            &["leases"],
            &["delete"],
            "without which its owners cannot be changed everywhere",
        ),
        &[LEASE],
    ),
    rule(
        Scope::UninstallOwn,
        "",
        &["pods"],
        &["list"],
        "the operators, with the last of which the Lease goes",
    ),
    named(
        rule(
            Scope::Uninstall,
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            &["get", "delete"],
            "with purge, the kinds",
        ),
        &[
            "fliptservers.flipt.io",
            "fliptnamespaces.flipt.io",
            "fliptflags.flipt.io",
            "fliptsegments.flipt.io",
            "fliptsnapshotexports.flipt.io",
            "fliptsidecarprofiles.flipt.io",
            "clusterfliptsidecarprofiles.flipt.io",
        ],
    ),
];

/// The rules of one scope as a YAML list, each with its reason. `resolve` turns the names that are not known here into
/// what stands for them.
fn rules(scope: Scope, resolve: impl Fn(&str) -> String) -> String {
    let list = |items: &[&str]| {
        let quoted: Vec<String> = items.iter().map(|item| format!("{:?}", resolve(item))).collect();
        format!("[{}]", quoted.join(", "))
    };
    let mut text = String::new();
    for rule in RULES.iter().filter(|rule| rule.scope == scope) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# {}", rule.why);
        let _ = writeln!(text, "- apiGroups: {}", list(&[rule.group]));
        let _ = writeln!(text, "  resources: {}", list(rule.resources));
        if !rule.names.is_empty() {
            let _ = writeln!(text, "  resourceNames: {}", list(rule.names));
        }
        let _ = writeln!(text, "  verbs: {}", list(rule.verbs));
    }
    if scope == Scope::Cluster {
        let _ = writeln!(text, "# {PATHS_WHY}");
        let _ = writeln!(text, "- nonResourceURLs: {}", list(PATHS));
        let _ = writeln!(text, "  verbs: [\"get\"]");
    }
    text
}

/// The files of the chart: name and content. Names that the chart makes up stand there as `@WEBHOOK@` and
/// `@SERVICE_ACCOUNT@`.
#[cfg_attr(not(test), allow(dead_code, reason = "the test writes and compares them"))]
fn files() -> Vec<(String, String)> {
    Scope::ALL
        .into_iter()
        .map(|scope| {
            let head = format!(
                "# {}.\n# Made of the table in operator/src/rbac.rs by `make rbac`.\n",
                scope.title()
            );
            (format!("{}.yaml", scope.file()), head + &rules(scope, str::to_owned))
        })
        .collect()
}

/// The roles of an operator with these settings, as `flipt-operator rbac` prints them.
pub(crate) fn roles(settings: &Settings) -> String {
    let resolve = |name: &str| match name {
        WEBHOOK => settings.webhook_name.clone(),
        SERVICE_ACCOUNT => settings.service_account.clone(),
        name => name.to_owned(),
    };
    let mut text = String::new();
    let mut role = |kind: &str, name: &str, namespace: Option<&str>, scopes: &[Scope]| {
        let _ = writeln!(text, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}");
        let place = namespace.map(|namespace| format!(", namespace: {namespace}")).unwrap_or_default();
        let _ = writeln!(text, "metadata: {{name: {name}{place}}}\nrules:");
        for scope in scopes {
            text.push_str(&rules(*scope, resolve));
        }
    };
    let watched: &[Scope] =
        if settings.evict_missed { &[Scope::Watched, Scope::Evict] } else { &[Scope::Watched] };
    let own = settings.namespace.as_str();
    match settings.watched() {
        None => {
            let everywhere: Vec<Scope> =
                std::iter::once(Scope::Cluster).chain(watched.iter().copied()).collect();
            role("ClusterRole", "flipt-operator", None, &everywhere);
            role("Role", "flipt-operator", Some(own), &[Scope::Own]);
        }
        Some(namespaces) => {
            role("ClusterRole", "flipt-operator", None, &[Scope::Cluster]);
            role("Role", "flipt-operator", Some(own), &[Scope::Own]);
            let mut namespaces: Vec<&str> = namespaces;
            if !namespaces.contains(&own) {
                namespaces.push(own);
            }
            for namespace in namespaces {
                role("Role", "flipt-operator-watched", Some(namespace), watched);
            }
        }
    }
    role("ClusterRole", "flipt-operator-uninstall", None, &[Scope::Uninstall]);
    role("Role", "flipt-operator-uninstall", Some(own), &[Scope::UninstallOwn]);
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use k8s_openapi::api::rbac::v1::PolicyRule;
    use serde::Deserialize as _;

    use super::*;
    use crate::settings::Arguments;

    fn settings(line: &[&str]) -> Settings {
        Arguments::try_parse_from([&["flipt-operator"], line].concat()).unwrap().settings
    }

    fn documents(text: &str) -> Vec<serde_json::Value> {
        yaml_serde::Deserializer::from_str(text)
            .map(|document| serde_json::Value::deserialize(document).unwrap())
            .filter(|document| !document.is_null())
            .collect()
    }

    #[test]
    fn the_chart_grants_what_the_table_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/flipt/files/rbac");
        if std::env::var_os("UPDATE_RBAC").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            for (name, content) in files() {
                std::fs::write(format!("{folder}/{name}"), content).unwrap();
            }
        }
        for (name, content) in files() {
            let there = std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
            assert!(there == content, "{folder}/{name} is not current; run `make rbac`");
        }
    }

    #[test]
    fn rules_are_what_kubernetes_reads_and_say_why() {
        for (name, content) in files() {
            let rules: Vec<PolicyRule> = yaml_serde::from_str(&content).unwrap();
            assert!(!rules.is_empty(), "{name}");
            for rule in rules {
                assert!(!rule.verbs.is_empty());
                let everything = [rule.api_groups, rule.resources, Some(rule.verbs)];
                assert!(!everything.into_iter().flatten().flatten().any(|text| text == "*"), "{name}");
            }
        }
        assert!(RULES.iter().all(|rule| !rule.why.is_empty()));
    }

    #[test]
    fn secrets_are_read_one_by_one_outside_of_the_own_namespace() {
        for rule in RULES.iter().filter(|rule| rule.resources.contains(&"secrets")) {
            assert!(rule.scope == Scope::Own || rule.verbs == ["get"], "{}", rule.why);
        }
    }

    #[test]
    fn with_watched_namespaces_nothing_in_others_is_granted() {
        let all = documents(&roles(&settings(&["rbac"])));
        assert_eq!(all.len(), 4);
        let few =
            documents(&roles(&settings(&["rbac", "--watch-namespaces", "shop,pay", "--namespace", "ops"])));
        let cluster = &few[0]["rules"];
        assert!(!cluster.to_string().contains("secrets") && cluster.to_string().contains("flipt-injector"));
        let places: Vec<&str> =
            few.iter().filter_map(|role| role["metadata"]["namespace"].as_str()).collect();
        assert_eq!(places, ["ops", "shop", "pay", "ops", "ops"]);
        assert!(few.iter().all(|role| !role["rules"].to_string().contains("eviction")));
        let evicting = roles(&settings(&["rbac", "--evict-missed"]));
        assert!(evicting.contains("pods/eviction"));
    }
}
