//! What a pod says about its injection: labels, which select it, and annotations, which tune it.

use std::{collections::BTreeMap, time::Duration};

use flipt_crds::{AuthMode, FliptSidecarProfileSpec, Overridable};
use serde_json::Value;

use crate::{DEFAULT_PROFILE, pod, quantity};

/// Label of pods that ask for a sidecar (`"true"`), or ask to be left alone (`"false"`).
pub const LABEL_INJECT: &str = "flipt.io/inject";
/// Label of namespaces whose pods all get a sidecar (`enabled`), or none (`disabled`).
pub const LABEL_NAMESPACE_INJECTION: &str = "flipt.io/injection";
/// Label that an injection leaves on a pod.
pub const LABEL_INJECTED: &str = "flipt.io/injected";
/// Annotation that an injection leaves on a pod: see [`InjectionStatus`](crate::InjectionStatus).
pub const ANNOTATION_STATUS: &str = "flipt.io/status";
/// Annotation that names the profile.
pub const ANNOTATION_PROFILE: &str = "flipt.io/profile";

/// Annotation in which a pod carries the keys that its snapshots must be signed with. An injection writes it.
pub(crate) const ANNOTATION_VERIFY_KEYS: &str = "flipt.io/verify-keys";

const PREFIX: &str = "flipt.io/";
/// Shortest pause between two looks at a source that a pod may ask for.
const MIN_POLL: Duration = Duration::from_secs(5);
/// Least memory with which a sidecar starts at all.
const MIN_MEMORY: &str = "16Mi";
/// Longest warning: an API server cuts what is longer.
const MAX_WARNING_BYTES: usize = 250;

/// Name of the profile that a pod asks for.
#[must_use]
pub fn profile_name(pod: &Value) -> &str {
    pod["metadata"]["annotations"][ANNOTATION_PROFILE]
        .as_str()
        .filter(|name| !name.is_empty())
        .unwrap_or(DEFAULT_PROFILE)
}

/// Sentences for whoever creates the pod.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Vec<String>);

impl Warnings {
    pub(crate) fn push(&mut self, text: impl Into<String>) {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(MAX_WARNING_BYTES));
        self.0.push(text);
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// What a pod asks for, as far as it may.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Overrides {
    pub(crate) namespaces: Option<Vec<String>>,
    pub(crate) containers: Option<Vec<String>>,
    pub(crate) http_port: Option<u16>,
    pub(crate) grpc_port: Option<u16>,
    pub(crate) health_port: Option<u16>,
    pub(crate) cpu_request: Option<String>,
    pub(crate) cpu_limit: Option<String>,
    pub(crate) memory_request: Option<String>,
    pub(crate) memory_limit: Option<String>,
    pub(crate) log_level: Option<String>,
    pub(crate) poll_interval: Option<String>,
    pub(crate) start_policy: Option<String>,
    pub(crate) auth_mode: Option<AuthMode>,
    pub(crate) image: Option<String>,
}

impl Overrides {
    /// Reads the annotations. What is unknown, wrong or not allowed is left out with a warning: no annotation can
    /// keep a pod from being created.
    pub(crate) fn read(pod: &Value, profile: &FliptSidecarProfileSpec, warnings: &mut Warnings) -> Self {
        let mut overrides = Self::default();
        for (key, value) in pod::texts(pod, "annotations") {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            if let Err(problem) = overrides.take(name, value, pod, profile) {
                warnings.push(format!("annotation {key}: {problem}; it is ignored"));
            }
        }
        overrides
    }

    fn take(
        &mut self,
        name: &str,
        value: &str,
        pod: &Value,
        profile: &FliptSidecarProfileSpec,
    ) -> Result<(), String> {
        match name {
            "profile" | "status" | "verify-keys" => {}
            "namespaces" => self.namespaces = Some(namespaces(value, profile)?),
            "containers" => self.containers = Some(containers(value, pod)?),
            "http-port" => self.http_port = Some(port(value)?),
            "grpc-port" => self.grpc_port = Some(port(value)?),
            "health-port" => self.health_port = Some(port(value)?),
            "cpu-request" => self.cpu_request = Some(amount(value, "100m", "1m")?),
            "cpu-limit" => self.cpu_limit = Some(amount(value, "500m", "1m")?),
            "memory-request" => self.memory_request = Some(amount(value, "64Mi", MIN_MEMORY)?),
            "memory-limit" => self.memory_limit = Some(amount(value, "96Mi", MIN_MEMORY)?),
            "log-level" => match value {
                "debug" | "info" | "warn" | "error" => self.log_level = Some(value.to_owned()),
                _ => return Err("expected debug, info, warn or error".to_owned()),
            },
            "poll-interval" => {
                duration(value)
                    .filter(|interval| *interval >= MIN_POLL)
                    .ok_or("expected a duration of at least 5s, such as 15s")?;
                self.poll_interval = Some(value.to_owned());
            }
            "start-policy" => {
                if !start_policy_is_valid(value) {
                    return Err("expected block, or open-after=30s".to_owned());
                }
                self.start_policy = Some(value.to_owned());
            }
            "auth-mode" => {
                allowed(profile, Overridable::AuthMode)?;
                self.auth_mode = Some(auth_mode(value, profile)?);
            }
            "image" => {
                allowed(profile, Overridable::Image)?;
                if value.is_empty() || value.len() > 512 || value.contains(char::is_whitespace) {
                    return Err("expected an image, such as registry.example/flipt-sidecar:0.1.0".to_owned());
                }
                self.image = Some(value.to_owned());
            }
            _ => return Err("unknown".to_owned()),
        }
        Ok(())
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn namespaces(value: &str, profile: &FliptSidecarProfileSpec) -> Result<Vec<String>, String> {
    let wanted = list(value);
    let key = |text: &String| {
        text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    };
    if wanted.is_empty() || wanted.len() > 64 || !wanted.iter().all(key) {
        return Err("expected keys of namespaces, such as shop,common".to_owned());
    }
    match wanted.iter().find(|wanted| !profile.namespaces.iter().any(|allowed| matches(allowed, wanted))) {
        Some(other) => Err(format!("the profile does not offer namespace {other:?}")),
        None => Ok(wanted),
    }
}

/// Whether a text, or every text that a pattern stands for, is among those of another pattern.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn containers(value: &str, pod: &Value) -> Result<Vec<String>, String> {
    let wanted = list(value);
    if wanted.is_empty() {
        return Err("expected names of containers, such as app,worker".to_owned());
    }
    let missing: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|wanted| !pod::containers_except(pod, "").any(|container| pod::name(container) == *wanted))
        .collect();
    if missing.is_empty() {
        Ok(wanted)
    } else {
        Err(format!("the pod has no container {}", missing.join(", ")))
    }
}

fn port(value: &str) -> Result<u16, String> {
    value
        .parse()
        .ok()
        .filter(|port| *port >= 1024)
        .ok_or_else(|| "expected a port from 1024 to 65535".to_owned())
}

fn amount(value: &str, example: &str, least: &str) -> Result<String, String> {
    match quantity::parse(value) {
        Some(amount) if Some(amount) >= quantity::parse(least) => Ok(value.to_owned()),
        _ => Err(format!("expected an amount of at least {least}, such as {example}")),
    }
}

/// A duration as profiles write it.
pub(crate) fn duration(value: &str) -> Option<Duration> {
    flipt_crds::Duration::try_from(value.to_owned()).ok().map(|duration| duration.get())
}

/// How long a start waits for a snapshot; `None`: for ever.
pub(crate) fn opens_after(policy: &str) -> Option<Duration> {
    policy.strip_prefix("open-after=").and_then(duration)
}

fn start_policy_is_valid(policy: &str) -> bool {
    policy == "block" || opens_after(policy).is_some()
}

fn allowed(profile: &FliptSidecarProfileSpec, what: Overridable) -> Result<(), String> {
    if profile.overridable.contains(&what) {
        Ok(())
    } else {
        Err(format!("the profile does not allow it (spec.overridable lacks {what:?})"))
    }
}

fn auth_mode(value: &str, profile: &FliptSidecarProfileSpec) -> Result<AuthMode, String> {
    let mode: AuthMode = serde_json::from_value(Value::String(value.to_owned())).map_err(|_| {
        "expected same-pod, same-service-account, same-namespace, allowlist, cluster or none".to_owned()
    })?;
    if mode == AuthMode::Allowlist && profile.auth.allow.is_empty() {
        return Err("the profile has no list of callers (spec.auth.allow)".to_owned());
    }
    Ok(mode)
}

/// Labels of a pod whose values are texts.
pub(crate) fn labels(pod: &Value) -> BTreeMap<&str, &str> {
    pod::texts(pod, "labels")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile() -> FliptSidecarProfileSpec {
        serde_json::from_value(json!({"source": [], "namespaces": ["shop", "team-*"]})).unwrap()
    }

    fn read(annotations: Value, profile: &FliptSidecarProfileSpec) -> (Overrides, Vec<String>) {
        let pod = json!({
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "setup"}]},
        });
        let mut warnings = Warnings::default();
        (Overrides::read(&pod, profile, &mut warnings), warnings.into_vec())
    }

    #[test]
    fn a_wrong_value_is_ignored_with_what_was_expected() {
        for (key, value, expected) in [
            ("http-port", "80", "1024"),
            ("grpc-port", "many", "65535"),
            ("cpu-request", "fast", "100m"),
            ("memory-limit", "1Mi", "16Mi"),
            ("log-level", "trace", "debug"),
            ("poll-interval", "1s", "5s"),
            ("start-policy", "never", "block"),
            ("containers", "app,web", "no container web"),
            ("namespaces", "other", "does not offer"),
            ("namespaces", "a b", "shop,common"),
            ("auth-mode", "none", "spec.overridable"),
            ("image", "evil", "spec.overridable"),
            ("proifle", "x", "unknown"),
        ] {
            let (overrides, warnings) = read(json!({ format!("flipt.io/{key}"): value }), &profile());
            assert_eq!(overrides, Overrides::default(), "{key}");
            assert!(warnings.len() == 1 && warnings[0].contains(expected), "{key}: {warnings:?}");
        }
    }

    #[test]
    fn what_concerns_security_needs_the_profiles_consent() {
        let mut profile = profile();
        profile.overridable = vec![Overridable::Image, Overridable::AuthMode];
        let wanted = json!({"flipt.io/image": "mine:1", "flipt.io/auth-mode": "none"});
        let (overrides, warnings) = read(wanted, &profile);
        assert_eq!(overrides.image.as_deref(), Some("mine:1"));
        assert_eq!(overrides.auth_mode, Some(AuthMode::None));
        assert!(warnings.is_empty(), "{warnings:?}");
        let (overrides, warnings) = read(json!({"flipt.io/auth-mode": "allowlist"}), &profile);
        assert_eq!(overrides.auth_mode, None);
        assert!(warnings[0].contains("spec.auth.allow"), "{warnings:?}");
    }

    #[test]
    fn other_annotations_are_nobodys_business() {
        let (overrides, warnings) =
            read(json!({"example.com/http-port": "1", "flipt.io/containers": "app,setup"}), &profile());
        assert_eq!(overrides.containers, Some(vec!["app".to_owned(), "setup".to_owned()]));
        assert!(warnings.is_empty());
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("team-*", "team-a", true),
            ("team-*", "a-team-", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("*a", "aa", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
