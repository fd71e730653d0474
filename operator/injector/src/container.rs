//! The sidecar's container.

use std::time::Duration;

use flipt_crds::{AllowedCaller, AuthMode, Bucket, SecretRef};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    annotation::{Overrides, Warnings, opens_after},
    image, pod,
    ports::ChosenPorts,
    profile::{Profile, Settings, SourceLocation},
    resources,
    volumes::{self, Volumes},
};

/// Name of the sidecar's container.
pub const SIDECAR: &str = "flipt-sidecar";

/// So many failed looks, one each second, until a sidecar that does not start is started anew.
const STARTUP_SECONDS: u64 = 600;
/// What a start may take beyond the time for which it waits for a snapshot.
const STARTUP_MARGIN: Duration = Duration::from_secs(60);

/// The mode in which callers are verified, in this pod.
pub(crate) fn auth_mode(profile: &Profile, overrides: &Overrides) -> AuthMode {
    overrides.auth_mode.unwrap_or(profile.spec.auth.mode)
}

/// The container, as it is added.
pub(crate) fn render(
    pod: &Value,
    profile: &Profile,
    settings: &Settings,
    overrides: &Overrides,
    ports: ChosenPorts,
    volumes: &Volumes,
    warnings: &mut Warnings,
) -> Value {
    let spec = &profile.spec;
    let image = overrides.image.clone().unwrap_or_else(|| image::resolve(&spec.image, &settings.image));
    let start_policy = overrides.start_policy.as_deref().unwrap_or(&spec.start_policy);
    let startup = opens_after(start_policy).map_or(STARTUP_SECONDS, |wait| {
        STARTUP_SECONDS.max(wait.saturating_add(STARTUP_MARGIN).as_secs()).min(i32::MAX as u64)
    });
    let probe = |path: &str| json!({ "path": path, "port": ports.health });
    let mut container = json!({
        "name": SIDECAR,
        "image": image,
        "imagePullPolicy": spec.image.pull_policy,
        "restartPolicy": "Always",
        "args": arguments(profile, overrides, ports, start_policy),
        "env": environment(profile, warnings),
        "ports": [{ "name": "flipt-health", "containerPort": ports.health, "protocol": "TCP" }],
        "startupProbe": {
            "httpGet": probe("/startupz"), "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": startup,
        },
        "readinessProbe": { "httpGet": probe("/readyz"), "periodSeconds": 5, "timeoutSeconds": 1 },
        "livenessProbe": {
            "httpGet": probe("/livez"), "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 6,
        },
        "resources": resources::choose(pod, SIDECAR, &spec.resources, overrides, warnings),
        "securityContext": spec.security_context.as_ref().map_or_else(restricted, as_json),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": volumes.sidecar_mounts,
    });
    let env_from = env_from(profile, warnings);
    if !env_from.is_empty() {
        container["envFrom"] = Value::Array(env_from);
    }
    container
}

/// The container that is there, as this one: what others have added to it stays.
pub(crate) fn merge(present: &Value, mut rendered: Value) -> Value {
    for list in ["env", "volumeMounts"] {
        let key = if list == "env" { "name" } else { "mountPath" };
        let others: Vec<Value> = pod::items(present, list)
            .iter()
            .filter(|item| pod::items(&rendered, list).iter().all(|ours| ours[key] != item[key]))
            .cloned()
            .collect();
        if let Some(items) = rendered[list].as_array_mut() {
            items.extend(others);
        }
    }
    rendered
}

fn as_json(value: &impl Serialize) -> Value {
    // Types of Kubernetes have no map whose keys are not texts, which is the only way in which this can fail.
    serde_json::to_value(value).unwrap_or_default()
}

/// What the strictest of the Pod Security Standards asks for.
fn restricted() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

fn arguments(
    profile: &Profile,
    overrides: &Overrides,
    ports: ChosenPorts,
    start_policy: &str,
) -> Vec<String> {
    let spec = &profile.spec;
    let mut arguments = Vec::new();
    let mut argument = |name: &str, value: &str| {
        // Kubernetes replaces `$(NAME)` in arguments.
        arguments.push(format!("--{name}={}", value.replace("$(", "$$(")));
    };
    for (index, source) in profile.sources.iter().enumerate() {
        argument("source", &location(source, index));
    }
    if profile.sources.iter().any(|source| matches!(source, SourceLocation::Server(_))) {
        argument("source-token-file", &format!("{}/token", volumes::SERVER_TOKEN_FOLDER));
    }
    argument("environment", &profile.environment);
    let namespaces = overrides.namespaces.as_ref().unwrap_or(&spec.namespaces);
    if !namespaces.iter().any(|namespace| namespace == "*") {
        argument("namespaces", &namespaces.join(","));
    }
    if !spec.trust.verify_keys.is_empty() {
        argument("verify-keys", &format!("{}/keys.pem", volumes::VERIFY_FOLDER));
    }
    argument("poll-interval", overrides.poll_interval.as_deref().unwrap_or(&spec.poll_interval.to_string()));
    argument("max-stale", &spec.max_stale.to_string());
    argument("start-policy", start_policy);
    argument("cache-dir", volumes::CACHE_FOLDER);
    argument("listen", &format!("127.0.0.1:{0},[::1]:{0}", ports.http));
    argument("grpc-listen", &format!("127.0.0.1:{0},[::1]:{0}", ports.grpc));
    argument("health-listen", &format!("0.0.0.0:{}", ports.health));
    if let Some(level) = &overrides.log_level {
        argument("log-level", level);
    }

    let auth = &spec.auth;
    let mode = auth_mode(profile, overrides);
    argument("auth-mode", as_json(&mode).as_str().unwrap_or_default());
    if mode != AuthMode::None {
        argument("auth-jwks-file", &format!("{}/jwks.json", volumes::TRUST_FOLDER));
        argument("auth-audience", &auth.audiences.join(","));
        if let Some(issuer) = &auth.issuer {
            argument("auth-issuer", issuer);
        }
        if let Some(accept) = auth.accept_api_audience {
            argument("auth-accept-api-audience", &accept.to_string());
        }
        for caller in &auth.allow {
            argument("auth-allow", &allow(caller));
        }
    }
    arguments
}

fn allow(caller: &AllowedCaller) -> String {
    let account = format!("{}/{}", caller.namespace, caller.service_account);
    match caller.flipt_namespaces.as_slice() {
        [] => account,
        namespaces => format!("{account}={}", namespaces.join("|")),
    }
}

fn location(source: &SourceLocation, index: usize) -> String {
    match source {
        SourceLocation::S3(bucket) => bucket_location(bucket),
        SourceLocation::Server(url) => url.clone(),
        SourceLocation::ConfigMap(_) => format!("file://{}/features.yaml", volumes::seed_folder(index)),
    }
}

fn bucket_location(bucket: &Bucket) -> String {
    let mut url = format!("s3://{}", bucket.bucket);
    if !bucket.prefix.is_empty() {
        url.push('/');
        url.push_str(&encode(&bucket.prefix));
    }
    let mut separator = '?';
    let mut parameter = |name: &str, value: &str| {
        url.push(separator);
        url.push_str(name);
        url.push('=');
        url.push_str(&encode(value));
        separator = '&';
    };
    if let Some(region) = &bucket.region {
        parameter("region", region);
    }
    if let Some(endpoint) = &bucket.endpoint {
        parameter("endpoint", endpoint);
    }
    if bucket.force_path_style {
        parameter("pathStyle", "true");
    }
    url
}

/// Encodes what would otherwise be read as something else.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' | '?' | '&' | '#' | '=' | '+' | ' ' => {
                encoded.push_str(&format!("%{:02X}", character as u32))
            }
            _ => encoded.push(character),
        }
    }
    encoded
}

/// Variables of the sidecar; those of the profile last, and in the place of ours of the same name.
fn environment(profile: &Profile, warnings: &mut Warnings) -> Vec<Value> {
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let text = |name: &str, value: &str| json!({ "name": name, "value": value });
    let mut variables = vec![
        field("FLIPT_SIDECAR_POD_UID", "metadata.uid"),
        field("FLIPT_SIDECAR_POD_NAMESPACE", "metadata.namespace"),
        field("FLIPT_SIDECAR_POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
        // A variable rather than an argument: a profile may name a sidecar that is too old to know it.
        text("FLIPT_SIDECAR_STALE_AFTER", &profile.spec.stale_after.to_string()),
    ];
    if let Some(aws) = &profile.spec.aws {
        let region = profile.sources.iter().find_map(|source| match source {
            SourceLocation::S3(bucket) => bucket.region.as_deref(),
            _ => None,
        });
        if profile.sources.iter().any(|source| {
            matches!(source, SourceLocation::S3(Bucket { credentials_secret_ref: Some(_), .. }))
        }) {
            warnings
                .push("the profile has both aws.roleArn and credentialsSecretRef: the latter comes first");
        }
        variables.push(text("AWS_ROLE_ARN", &aws.role_arn));
        variables.push(text("AWS_WEB_IDENTITY_TOKEN_FILE", &format!("{}/token", volumes::AWS_TOKEN_FOLDER)));
        variables.extend(region.map(|region| text("AWS_REGION", region)));
    }
    variables.retain(|ours| profile.spec.env.iter().all(|theirs| theirs.name != pod::name(ours)));
    variables.extend(profile.spec.env.iter().map(as_json));
    variables
}

/// Sources of further variables. Of two that set the same, the last one counts: the first source's credentials, and
/// then what the profile names.
fn env_from(profile: &Profile, warnings: &mut Warnings) -> Vec<Value> {
    let mut secrets: Vec<&SecretRef> = profile
        .sources
        .iter()
        .filter_map(|source| match source {
            SourceLocation::S3(bucket) => bucket.credentials_secret_ref.as_ref(),
            _ => None,
        })
        .collect();
    secrets.dedup();
    if secrets.len() > 1 {
        warnings
            .push("sources of the profile have different credentials: those of the first are used for all");
    }
    // A missing Secret must not keep the pod from starting.
    let credentials = secrets.first().map(|secret| {
        Value::Object(Map::from_iter([(
            "secretRef".to_owned(),
            json!({ "name": secret.name, "optional": true }),
        )]))
    });
    credentials.into_iter().chain(profile.spec.env_from.iter().map(as_json)).collect()
}
