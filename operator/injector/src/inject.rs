//! The injection as a whole.

use serde_json::{Value, json};

use crate::{
    annotation::{LABEL_INJECT, Overrides, Warnings, labels},
    application,
    container::{self, SIDECAR},
    patch::{Draft, Operation},
    place, pod,
    ports::ChosenPorts,
    profile::{Profile, Settings, digest},
    status::InjectionStatus,
    volumes,
};

/// Annotations of pods that a node runs by itself, from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// What is to be done with a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// How the pod becomes what it should be. Empty: it is, or it is left alone.
    pub patch: Vec<Operation>,
    /// Sentences for whoever creates the pod.
    pub warnings: Vec<String>,
    /// What that means.
    pub outcome: Outcome,
}

/// What an injection has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The pod gets a sidecar, or what an earlier injection could not know that it needs.
    Injected,
    /// The pod has everything.
    AlreadyInjected,
    /// The pod is left alone.
    Skipped(SkipReason),
}

/// Why a pod is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It is labelled so.
    OptedOut,
    /// It uses the network of its node, where ports of sidecars would meet, and localhost is everybody's.
    HostNetwork,
    /// Its node runs it by itself: it has no service account, and no token.
    StaticPod,
    /// It runs on Windows, for which there is no sidecar.
    Windows,
    /// It has no service account, without which a node gives it no token.
    NoServiceAccount,
    /// It has a container of the sidecar's name that no injection has put there.
    ContainerNameTaken,
    /// The profile has no source, or none that exists.
    NoSource,
    /// It has not the shape of a pod.
    Malformed,
}

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::OptedOut,
        Self::HostNetwork,
        Self::StaticPod,
        Self::Windows,
        Self::NoServiceAccount,
        Self::ContainerNameTaken,
        Self::NoSource,
        Self::Malformed,
    ];

    /// In one word, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::HostNetwork => "host_network",
            Self::StaticPod => "static_pod",
            Self::Windows => "windows",
            Self::NoServiceAccount => "no_service_account",
            Self::ContainerNameTaken => "container_name_taken",
            Self::NoSource => "no_source",
            Self::Malformed => "malformed",
        }
    }

    /// In a sentence, for people, with the remedy.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::OptedOut => "the pod has the label flipt.io/inject: \"false\"",
            Self::HostNetwork => {
                "the pod uses the network of its node (hostNetwork), which a sidecar cannot share with others: \
                 give the pod a network of its own, or evaluate at the server"
            }
            Self::StaticPod => "the pod is static: its node runs it by itself, without a service account",
            Self::Windows => "the pod runs on Windows, for which there is no sidecar",
            Self::NoServiceAccount => {
                "the pod has no service account, which its token is made of: set spec.serviceAccountName"
            }
            Self::ContainerNameTaken => {
                "the pod has a container flipt-sidecar of its own: give it another name"
            }
            Self::NoSource => {
                "the profile has no source of snapshots that exists: create the FliptSnapshotExport that it \
                 names, or the profile, and start the pod anew"
            }
            Self::Malformed => "the pod has not the shape of a pod",
        }
    }
}

/// Says how a pod gets its sidecar.
///
/// Expected flow: the webhook finds the profile that the pod asks for
/// ([`profile_name`](crate::profile_name)), resolves its references, and answers with the patch and the warnings.
///
/// Guarantees
/// - The patch adds. It replaces only what an injection has put there before, and moves only the sidecar.
/// - Once applied, the same call gives an empty patch and [`Outcome::AlreadyInjected`], also after an API server has
///   filled in its defaults and after other webhooks have added what is theirs.
/// - If another webhook has added a container, a clash of ports or a mesh, the next call gives what is missing.
/// - No pod is refused because of its annotations: a wrong value gives a warning, and the profile's value holds.
///
/// Caveats: a variable that a container has by `envFrom` cannot be seen here, and one that is added comes before it.
#[must_use]
pub fn inject(pod: &Value, profile: &Profile, settings: &Settings) -> Injection {
    if let Some(reason) = skipped(pod, profile) {
        return Injection { patch: Vec::new(), warnings: Vec::new(), outcome: Outcome::Skipped(reason) };
    }
    let before = InjectionStatus::of(pod);
    let mut warnings = Warnings::default();
    let overrides = Overrides::read(pod, &profile.spec, &mut warnings);
    let ports = ChosenPorts::choose(pod, SIDECAR, &profile.spec.ports, &overrides, &mut warnings);
    let mode = container::auth_mode(profile, &overrides);

    let mut draft = Draft::new(pod);
    let volumes = volumes::add(&mut draft, profile, settings, mode);
    let rendered = container::render(pod, profile, settings, &overrides, ports, &volumes, &mut warnings);
    let status = InjectionStatus {
        version: settings.version.clone(),
        profile: profile.name.clone(),
        hash: profile.hash(settings),
        container: SIDECAR.to_owned(),
        rendered: digest(&rendered),
        ports,
    };
    put(&mut draft, rendered, before.as_ref().is_some_and(|before| before.rendered == status.rendered));
    let told = before.as_ref().map(|before| before.ports);
    application::connect(&mut draft, profile, &overrides, ports, told, &volumes, &mut warnings);
    pull_secrets(&mut draft, profile);
    for (field, key, value) in status.marks() {
        draft.set_member(&format!("/metadata/{field}"), key, json!(value));
    }

    let patch = draft.into_patch();
    let outcome = if patch.is_empty() { Outcome::AlreadyInjected } else { Outcome::Injected };
    Injection { patch, warnings: warnings.into_vec(), outcome }
}

fn skipped(pod: &Value, profile: &Profile) -> Option<SkipReason> {
    if !pod::is_pod(pod) {
        return Some(SkipReason::Malformed);
    }
    let spec = &pod["spec"];
    let annotations = pod::texts(pod, "annotations");
    let is_static = annotations.contains_key(MIRROR)
        || annotations.get(CONFIG_SOURCE).is_some_and(|source| *source != "api");
    let account = [&spec["serviceAccountName"], &spec["serviceAccount"]];
    let is_ours = InjectionStatus::of(pod).is_some();
    let named =
        |list| pod::items(spec, list).iter().filter(|container| pod::name(container) == SIDECAR).count();

    if labels(pod).get(LABEL_INJECT) == Some(&"false") {
        Some(SkipReason::OptedOut)
    } else if is_static {
        Some(SkipReason::StaticPod)
    } else if spec["hostNetwork"] == true {
        Some(SkipReason::HostNetwork)
    } else if is_windows(spec) {
        Some(SkipReason::Windows)
    } else if account.iter().all(|account| account.as_str().is_none_or(str::is_empty)) {
        Some(SkipReason::NoServiceAccount)
    } else if named("containers") > 0 || named("initContainers") > usize::from(is_ours) {
        Some(SkipReason::ContainerNameTaken)
    } else if profile.sources.is_empty() {
        Some(SkipReason::NoSource)
    } else {
        None
    }
}

/// Whether a pod is meant for nodes with Windows, by its own word or by the label of the nodes.
fn is_windows(spec: &Value) -> bool {
    let selected = |label: &str| spec["nodeSelector"][label] == "windows";
    spec["os"]["name"] == "windows" || selected("kubernetes.io/os") || selected("beta.kubernetes.io/os")
}

/// Puts the sidecar into its place. One that is there and is what it should be is only moved, should a mesh have
/// come after it.
fn put(draft: &mut Draft, rendered: Value, is_current: bool) {
    const LIST: &str = "/spec/initContainers";
    let containers = pod::items(&draft.pod()["spec"], "initContainers");
    let wanted = place::wanted(containers, SIDECAR);
    let Some(index) = containers.iter().position(|container| pod::name(container) == SIDECAR) else {
        draft.insert(LIST, wanted, rendered);
        return;
    };
    let merged = (!is_current).then(|| container::merge(&containers[index], rendered));
    if let Some(merged) = merged {
        draft.set(&format!("{LIST}/{index}"), merged);
    }
    if index != wanted {
        draft.shift(LIST, index, wanted);
    }
}

fn pull_secrets(draft: &mut Draft, profile: &Profile) {
    for secret in &profile.spec.image_pull_secrets {
        let present = pod::items(&draft.pod()["spec"], "imagePullSecrets");
        if !secret.name.is_empty() && pod::find(present, &secret.name).is_none() {
            draft.push("/spec/imagePullSecrets", json!({ "name": secret.name }));
        }
    }
}
