//! `authentication.methods.kubernetes`: callers with service account tokens (config spec, section 3.13; the keys
//! beyond Flipt's are ours).

use std::{path::PathBuf, time::Duration};

use flipt_identity::{AllowEntry, Pattern, Permission};

use crate::{
    Origin,
    reader::{Item, Reader, Shown},
};

const PREFIX: &str = "authentication.methods.kubernetes";
/// Flipt's default; left as it is, the address comes from the environment that Kubernetes gives every pod.
const DISCOVERY_URL: &str = "https://kubernetes.default.svc.cluster.local";
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What an entry of the allow-list looks like, for people who got it wrong.
const ENTRY: &str = "namespace/service-account=permission[:flipt-namespace|…], for example \"shop/*=evaluate:shop|common\"; permission is evaluate, read or write";

/// `authentication.methods.kubernetes`: callers with service account tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// Address of the API server, if it is not the one of the cluster that the server runs in.
    pub api_server: Option<String>,
    /// File with the certificates that the API server is trusted by.
    pub ca_path: PathBuf,
    /// File with the server's own token.
    pub token_path: PathBuf,
    /// Accepted audiences.
    pub audiences: Vec<String>,
    /// Whether tokens for the API server are accepted, too.
    pub accept_api_audience: bool,
    /// Issuer of tokens; the one of the server's own token if absent.
    pub issuer: Option<String>,
    /// Where the keys to check tokens with come from.
    pub keys: KeySource,
    /// How long keys are used that could not be read again.
    pub max_stale: Duration,
    /// Who may call.
    pub mode: AccountMode,
    /// Whom [`AccountMode::Allowlist`] admits; in the other mode, what callers may do.
    pub allow: Vec<AllowEntry>,
    /// How long an answer of the API server about a token is good, if it is asked at all.
    pub token_review: Option<Duration>,
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Describes a file with a JSON Web Key Set.
    File(PathBuf),
    /// Describes an address with one.
    Url(String),
    /// Indicates the API server of the cluster.
    ApiServer,
}

/// Which service accounts may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountMode {
    /// Indicates those of the allow-list.
    Allowlist,
    /// Indicates all of the cluster.
    Cluster,
}

impl Kubernetes {
    /// Reads the keys, whether the method is enabled or not.
    pub(crate) fn read(reader: &mut Reader<'_>, enabled: bool) -> Option<Self> {
        let key = |name: &str| format!("{PREFIX}.{name}");
        let mut text = |name: &str, default: &str| {
            reader.optional_text(&key(name)).unwrap_or_else(|| {
                if enabled {
                    reader.derived(&key(name), Shown::Text(default.to_owned()));
                }
                default.to_owned()
            })
        };
        let discovery_url = text("discovery_url", DISCOVERY_URL);
        let ca_path = text("ca_path", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt").into();
        let token_path =
            text("service_account_token_path", "/var/run/secrets/kubernetes.io/serviceaccount/token").into();
        let mark = reader.mark();
        let given = |text: String| (!text.is_empty()).then_some(text);
        let audiences = reader.list(&key("audiences"), &["flipt-server"]);
        let accept_api_audience = reader.bool(&key("accept_api_audience"), false);
        let issuer = given(reader.text(&key("issuer"), ""));
        let file = given(reader.text(&key("keys.file"), ""));
        let (asks_api_server, _) =
            reader.choice(&key("keys.apiserver"), true, &[("auto", true), ("off", false)]);
        let url = given(reader.text(&key("keys.url"), ""));
        let max_stale = reader.duration(&key("keys.max_stale"), DAY, SECOND);
        let modes = [("allowlist", AccountMode::Allowlist), ("cluster", AccountMode::Cluster)];
        let (mode, _) = reader.choice(&key("mode"), AccountMode::Allowlist, &modes);
        let allow = read_allow(reader);
        let reviews = reader.bool(&key("token_review.enabled"), false);
        let cache = reader.duration(&key("token_review.cache"), 10 * SECOND, Duration::ZERO);
        if !enabled {
            reader.hide_defaults(mark);
            return None;
        }
        let mut fail = |name: &str, problem: &str| {
            let origin = reader.is_set(&key(name)).unwrap_or(Origin::Default);
            reader.fail(&key(name), origin, problem);
        };
        if audiences.is_empty() && !accept_api_audience {
            fail("audiences", "no token could be accepted; name an audience, such as flipt-server");
        }
        for (name, address) in [("keys.url", url.as_deref()), ("discovery_url", Some(discovery_url.as_str()))]
        {
            if address.is_some_and(|address| !address.starts_with("https://")) {
                fail(name, "must begin with https://: whoever can change keys on their way can forge tokens");
            }
        }
        let keys = match (file, url) {
            (Some(_), Some(_)) => {
                fail("keys.url", "keys.file is set too; leave out one of the two");
                KeySource::ApiServer
            }
            (Some(file), None) => KeySource::File(file.into()),
            (None, Some(url)) => KeySource::Url(url),
            (None, None) => {
                if !asks_api_server {
                    fail(
                        "keys.apiserver",
                        "no keys to check tokens with; set keys.file or keys.url, or auto",
                    );
                }
                KeySource::ApiServer
            }
        };
        if mode == AccountMode::Allowlist && allow.is_empty() {
            reader.note(format!(
                "{PREFIX}.allow is empty: no service account may call; add entries of the form {ENTRY}"
            ));
        }
        let api_server = (discovery_url != DISCOVERY_URL).then_some(discovery_url);
        let token_review = reviews.then_some(cache);
        Some(Self {
            api_server,
            ca_path,
            token_path,
            audiences,
            accept_api_audience,
            issuer,
            keys,
            max_stale,
            mode,
            allow,
            token_review,
        })
    }
}

fn read_allow(reader: &mut Reader<'_>) -> Vec<AllowEntry> {
    let key = format!("{PREFIX}.allow");
    let (items, origin) = reader.items(&key, ';');
    let mut entries = Vec::new();
    let mut shown = Vec::new();
    for (place, item) in items.into_iter().enumerate() {
        let (origin, entry) = match item {
            Item::Text(text, origin) => {
                let entry = compact(&text).ok_or_else(|| format!("{text:?} is no entry; expected {ENTRY}"));
                (origin, entry)
            }
            Item::Fields(fields, origin) => (origin, from_fields(fields)),
        };
        match entry {
            Ok(entry) => {
                shown.push(written(&entry));
                entries.push(entry);
            }
            Err(problem) => reader.fail(&format!("{key}[{place}]"), origin, problem),
        }
    }
    reader.show(&key, Shown::List(shown), origin);
    entries
}

fn permission(text: &str) -> Option<Permission> {
    match text {
        "evaluate" => Some(Permission::Evaluate),
        "read" => Some(Permission::Read),
        "write" => Some(Permission::Write),
        _ => None,
    }
}

fn namespaces<'a>(keys: impl Iterator<Item = &'a str>) -> Option<Vec<Pattern>> {
    let patterns: Vec<Pattern> = keys.map(|key| Pattern::new(key.trim())).collect();
    (!patterns.is_empty() && patterns.iter().all(|pattern| !pattern.as_str().is_empty())).then_some(patterns)
}

/// An entry in its compact form.
fn compact(text: &str) -> Option<AllowEntry> {
    let (account, granted) = text.trim().split_once('=').unwrap_or((text.trim(), "evaluate"));
    let (namespace, name) = account.trim().split_once('/')?;
    let (level, keys) = match granted.split_once(':') {
        Some((level, keys)) => (level, namespaces(keys.split('|'))?),
        None => (granted, vec![Pattern::any()]),
    };
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return None;
    }
    Some(AllowEntry {
        namespace: namespace.into(),
        service_account: name.into(),
        flipt_namespaces: keys,
        permission: permission(level.trim())?,
    })
}

/// An entry as a map of fields.
fn from_fields(fields: Vec<(String, Vec<String>)>) -> Result<AllowEntry, String> {
    let (mut namespace, mut service_account) = (None, None);
    let (mut keys, mut level) = (vec![Pattern::any()], Permission::Evaluate);
    for (name, values) in fields {
        let one = || match values.as_slice() {
            [value] if !value.is_empty() => Ok(value.as_str()),
            _ => Err(format!("{name}: expected one text that is not empty")),
        };
        match name.as_str() {
            "namespace" => namespace = Some(Pattern::new(one()?)),
            "service_account" => service_account = Some(Pattern::new(one()?)),
            "permission" => {
                level =
                    permission(one()?).ok_or_else(|| format!("{name}: expected evaluate, read or write"))?;
            }
            "flipt_namespaces" => {
                keys = namespaces(values.iter().map(String::as_str)).ok_or_else(|| {
                    format!("{name}: expected at least one namespace; leave it out to allow all")
                })?;
            }
            _ => {
                return Err(format!(
                    "unknown field {name:?}; known are namespace, service_account, flipt_namespaces, permission"
                ));
            }
        }
    }
    let missing = |name: &str| format!("{name} is missing; \"*\" stands for any");
    Ok(AllowEntry {
        namespace: namespace.ok_or_else(|| missing("namespace"))?,
        service_account: service_account.ok_or_else(|| missing("service_account"))?,
        flipt_namespaces: keys,
        permission: level,
    })
}

/// The compact form of an entry.
fn written(entry: &AllowEntry) -> String {
    let level = match entry.permission {
        Permission::Evaluate => "evaluate",
        Permission::Read => "read",
        Permission::Write => "write",
    };
    let keys: Vec<&str> = entry.flipt_namespaces.iter().map(Pattern::as_str).collect();
    format!("{}/{}={level}:{}", entry.namespace.as_str(), entry.service_account.as_str(), keys.join("|"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Option<Kubernetes>, String> {
        let pairs = pairs.iter().map(|(key, value)| {
            (format!("FLIPT_AUTHENTICATION_METHODS_KUBERNETES_{key}"), (*value).to_owned())
        });
        let loaded = crate::load(None, &pairs.collect::<BTreeMap<_, _>>());
        loaded.map(|loaded| loaded.config.authentication.kubernetes).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_admit_nobody_and_ask_the_api_server_for_keys() {
        assert_eq!(load(&[]).unwrap(), None);
        let config = load(&[("ENABLED", "true")]).unwrap().unwrap();
        assert_eq!(config.audiences, ["flipt-server"]);
        assert!(!config.accept_api_audience && config.allow.is_empty() && config.token_review.is_none());
        assert_eq!((config.mode, config.keys), (AccountMode::Allowlist, KeySource::ApiServer));
        assert_eq!((config.issuer, config.max_stale, config.api_server), (None, DAY, None));
    }

    #[test]
    fn an_allow_list_fits_into_one_variable() {
        let allow = "flipt-system/flipt-operator=write;shop/*=evaluate:shop|common; a/b";
        let config = load(&[("ENABLED", "true"), ("ALLOW", allow)]).unwrap().unwrap();
        let written: Vec<String> = config.allow.iter().map(written).collect();
        let expected =
            ["flipt-system/flipt-operator=write:*", "shop/*=evaluate:shop|common", "a/b=evaluate:*"];
        assert_eq!(written, expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_key_and_remedy() {
        for (key, value, parts) in [
            ("ALLOW", "shop", ["allow[0]", "namespace/service-account"]),
            ("ALLOW", "shop/a=admin", ["allow[0]", "evaluate, read or write"]),
            ("ALLOW", "shop/a=read:", ["allow[0]", "expected"]),
            ("KEYS_APISERVER", "off", ["keys.apiserver", "keys.file"]),
            ("KEYS_URL", "http://x", ["keys.url", "https://"]),
            ("DISCOVERY_URL", "http://x", ["discovery_url", "https://"]),
            ("MODE", "same-pod", ["mode", "allowlist, cluster"]),
            ("KEYS_MAX_STALE", "0s", ["keys.max_stale", "at least 1s"]),
        ] {
            let error = load(&[("ENABLED", "true"), (key, value)]).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{key}={value}: {error}");
        }
        let error = load(&[("ENABLED", "true"), ("KEYS_FILE", "/x"), ("KEYS_URL", "https://x")]).unwrap_err();
        assert!(error.contains("leave out one"), "{error}");
    }

    #[test]
    fn a_file_lists_entries_as_maps_or_in_their_compact_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flipt.yml");
        let load = |entry: &str| {
            let text = format!(
                "authentication:\n  methods:\n    kubernetes:\n      enabled: true\n      allow:\n      - {entry}\n"
            );
            std::fs::write(&path, text).unwrap();
            let loaded = crate::load(Some(&path), &BTreeMap::new()).map_err(|error| error.to_string())?;
            assert!(loaded.unknown.is_empty(), "{:?}", loaded.unknown);
            Ok(loaded.config.authentication.kubernetes.unwrap().allow.iter().map(written).collect())
        };
        let map = "{ namespace: shop, service_account: '*', flipt_namespaces: [shop], permission: read }";
        let good: Result<Vec<String>, String> = load(map);
        assert_eq!(good.unwrap(), ["shop/*=read:shop"]);
        assert_eq!(load("shop/cart=write").unwrap(), ["shop/cart=write:*"]);
        for (entry, part) in [
            ("{ namespace: shop }", "service_account is missing"),
            ("{ namespace: shop, service_acount: a }", "unknown field"),
            ("{ namespace: a, service_account: b, flipt_namespaces: [] }", "leave it out"),
            ("{ namespace: a, service_account: b, permission: admin }", "evaluate, read or write"),
        ] {
            let error = load(entry).unwrap_err();
            assert!(error.contains(part) && error.contains("allow[0]"), "{error}");
        }
    }
}
