//! Volumes that a sidecar and its application need: tokens, trust, cache.

use flipt_crds::{AuthMode, CacheMedium};
use serde_json::{Value, json};

use crate::{
    annotation::ANNOTATION_VERIFY_KEYS,
    patch::Draft,
    pod,
    profile::{Profile, Settings, SourceLocation},
};

/// Folder of the application's token.
pub(crate) const TOKEN_FOLDER: &str = "/var/run/secrets/flipt.io/serviceaccount";
/// Folder of the token with which the sidecar reads from a server.
pub(crate) const SERVER_TOKEN_FOLDER: &str = "/var/run/secrets/flipt.io/server";
/// Folder of the token with which the sidecar takes a role of AWS.
pub(crate) const AWS_TOKEN_FOLDER: &str = "/var/run/secrets/flipt.io/aws";
/// Folder of a token of the API server, which Kubernetes mounts into every container that has nothing there.
const API_TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Folder of the cluster's token keys.
pub(crate) const TRUST_FOLDER: &str = "/etc/flipt/trust";
/// Folder of the keys that snapshots must be signed with.
pub(crate) const VERIFY_FOLDER: &str = "/etc/flipt/verify";
/// Folder of the last known good snapshot.
pub(crate) const CACHE_FOLDER: &str = "/var/cache/flipt";
/// ConfigMap with the cluster's token keys, in every namespace with sidecars.
const TRUST_CONFIG_MAP: &str = "flipt-trust";
/// Local volumes that do not keep an autoscaler from removing a node.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// Shortest life that Kubernetes gives to a token is 10 minutes; its agent renews it after 80 % of this one.
const TOKEN_SECONDS: u32 = 3600;
/// Read by all, written by none (0444).
const READ_ONLY: u32 = 0o444;

/// A volume, and where the sidecar finds it.
#[derive(Debug)]
struct Wanted {
    name: &'static str,
    content: Value,
    /// Where the sidecar has it; `None`: it is the application's only.
    folder: Option<String>,
}

/// Volumes that have been put into a pod.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// Name of the volume with the application's token, if callers are verified.
    pub(crate) token: Option<String>,
    /// Mounts of the sidecar.
    pub(crate) sidecar_mounts: Vec<Value>,
}

/// Folder of a source that is a ConfigMap.
pub(crate) fn seed_folder(index: usize) -> String {
    format!("/etc/flipt/seed/{index}")
}

fn token(audience: &str, seconds: u32) -> Value {
    json!({
        "projected": {
            "defaultMode": READ_ONLY,
            "sources": [{
                "serviceAccountToken": { "audience": audience, "expirationSeconds": seconds, "path": "token" }
            }],
        }
    })
}

fn wanted(profile: &Profile, settings: &Settings, mode: AuthMode) -> Vec<Wanted> {
    let mut volumes = Vec::new();
    let mut want = |name, content, folder: Option<&str>| {
        volumes.push(Wanted { name, content, folder: folder.map(str::to_owned) });
    };
    if mode != AuthMode::None {
        let audience = profile.spec.auth.audiences.first().map_or("flipt", String::as_str);
        want("flipt-token", token(audience, TOKEN_SECONDS), None);
        let field = |path: &str, field: &str| json!({ "path": path, "fieldRef": { "fieldPath": field } });
        want(
            "flipt-trust",
            json!({
                "projected": {
                    "defaultMode": READ_ONLY,
                    "sources": [
                        // Without it the pod starts all the same, and the sidecar waits for it.
                        { "configMap": { "name": TRUST_CONFIG_MAP, "optional": true } },
                        { "downwardAPI": { "items": [
                            field("pod-uid", "metadata.uid"), field("namespace", "metadata.namespace"),
                        ] } },
                    ],
                }
            }),
            Some(TRUST_FOLDER),
        );
    }
    let cache = &profile.spec.cache;
    let mut directory = json!({ "sizeLimit": cache.size_limit });
    if cache.medium == CacheMedium::Memory {
        directory["medium"] = json!("Memory");
    }
    want("flipt-cache", json!({ "emptyDir": directory }), Some(CACHE_FOLDER));
    if profile.sources.iter().any(|source| matches!(source, SourceLocation::Server(_))) {
        want(
            "flipt-server-token",
            token(&settings.server_audience, TOKEN_SECONDS),
            Some(SERVER_TOKEN_FOLDER),
        );
    }
    if !profile.spec.trust.verify_keys.is_empty() {
        // The pod carries the keys itself: there is no other object that could be missing.
        let field = format!("metadata.annotations['{ANNOTATION_VERIFY_KEYS}']");
        let items = json!([{ "path": "keys.pem", "fieldRef": { "fieldPath": field } }]);
        let content = json!({ "downwardAPI": { "defaultMode": READ_ONLY, "items": items } });
        want("flipt-verify", content, Some(VERIFY_FOLDER));
    }
    if profile.spec.aws.is_some() {
        want("flipt-aws-token", token("sts.amazonaws.com", 86_400), Some(AWS_TOKEN_FOLDER));
    }
    for (index, source) in profile.sources.iter().enumerate() {
        if let SourceLocation::ConfigMap(name) = source {
            volumes.push(Wanted {
                name: "flipt-seed",
                content: json!({ "configMap": { "name": name, "optional": true } }),
                folder: Some(seed_folder(index)),
            });
        }
    }
    volumes
}

/// Puts the volumes into the pod, as far as they are not there yet.
pub(crate) fn add(draft: &mut Draft, profile: &Profile, settings: &Settings, mode: AuthMode) -> Volumes {
    let mut added = Volumes::default();
    let keys = &profile.spec.trust.verify_keys;
    if !keys.is_empty() {
        let keys: String = keys.iter().map(|key| public_key(key)).collect();
        draft.set_member("/metadata/annotations", ANNOTATION_VERIFY_KEYS, json!(keys));
    }
    for Wanted { name, content, folder } in wanted(profile, settings, mode) {
        let actual = ensure(draft, name, &content);
        if name == "flipt-cache" && profile.spec.cache.medium == CacheMedium::Disk {
            allow_eviction(draft, &actual);
        }
        match folder {
            Some(folder) => {
                let read_only = name != "flipt-cache";
                let mut mount = json!({ "name": actual, "mountPath": folder });
                if read_only {
                    mount["readOnly"] = json!(true);
                }
                added.sidecar_mounts.push(mount);
                if name == "flipt-cache" {
                    // The sidecar has no business with the API server: an empty folder keeps the token away.
                    added.sidecar_mounts.push(json!({
                        "name": actual, "mountPath": API_TOKEN_FOLDER, "subPath": "no-api-token", "readOnly": true,
                    }));
                }
            }
            None => added.token = Some(actual),
        }
    }
    added
}

/// A public key in PEM. A profile has its 32 bytes, or the whole structure around them, in base64.
fn public_key(key: &str) -> String {
    /// What says that this is a key of Ed25519: 12 bytes, which end where a character of base64 does.
    const ED25519: &str = "MCowBQYDK2VwAyEA";
    let start = if key.starts_with(ED25519) { "" } else { ED25519 };
    format!("-----BEGIN PUBLIC KEY-----\n{start}{key}\n-----END PUBLIC KEY-----\n")
}

/// Name under which the pod has this volume: the usual one, unless the pod has another volume of that name.
fn ensure(draft: &mut Draft, name: &str, content: &Value) -> String {
    let mut actual = name.to_owned();
    let mut number = 1;
    while let Some(present) = pod::find(pod::items(&draft.pod()["spec"], "volumes"), &actual) {
        if pod::covers(present, content) {
            return actual;
        }
        number += 1;
        actual = format!("{name}-{number}");
    }
    let mut volume = content.clone();
    volume["name"] = json!(actual);
    draft.push("/spec/volumes", volume);
    actual
}

/// Adds a volume to those that do not keep an autoscaler from removing a node.
fn allow_eviction(draft: &mut Draft, volume: &str) {
    let annotations = pod::texts(draft.pod(), "annotations");
    let present = annotations.get(SAFE_TO_EVICT).copied().unwrap_or_default();
    if present.split(',').any(|name| name.trim() == volume) {
        return;
    }
    let value = if present.is_empty() { volume.to_owned() } else { format!("{present},{volume}") };
    draft.set_member("/metadata/annotations", SAFE_TO_EVICT, json!(value));
}
