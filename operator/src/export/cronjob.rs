//! The CronJob of an export, and the service account of its pods: a pure function of what the export says.

use std::collections::BTreeMap;

use flipt_crds::{
    Bucket, ConditionalWrites, EncryptionMode, FliptSnapshotExport, FliptSnapshotExportSpec, Format,
    PullPolicy, Resources, SecretKeyRef,
};
use k8s_openapi::{
    api::{
        batch::v1::{
            CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec, PodFailurePolicy,
            PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
        },
        core::v1::{
            Capabilities, Container, EnvFromSource, KeyToPath, PodSecurityContext, PodSpec, PodTemplateSpec,
            ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretEnvSource, SecretVolumeSource,
            SecurityContext, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeMount,
            VolumeProjection,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};
use kube::{Resource, ResourceExt};

/// Label of everything that belongs to an export: its name.
pub(crate) const EXPORT_LABEL: &str = "flipt.io/export";

/// Annotation of a Job that was not started by the schedule.
pub(crate) const TRIGGER_ANNOTATION: &str = "flipt.io/trigger";

/// Annotation of a Job that a change started: the revision that it is to publish.
pub(crate) const REVISION_ANNOTATION: &str = "flipt.io/revision";

/// Name of the container that exports.
pub(crate) const CONTAINER: &str = "export";

/// Schedules that a controller missed while it was away are looked for in this time only: Kubernetes gives up on a
/// CronJob that missed a hundred of them otherwise.
const STARTING_DEADLINE_SECONDS: i64 = 100;

/// Exit codes after which another try would end the same: the guard refused, the server refuses the credentials.
const FINAL_EXIT_CODES: [i32; 2] = [3, 4];

/// User and group of our images.
const USER: i64 = 65_532;

/// Life of the server's token, which the kubelet renews.
const TOKEN_SECONDS: i64 = 3_600;

const TOKEN_FOLDER: &str = "/var/run/secrets/flipt.io/server";
const CA_FOLDER: &str = "/var/run/secrets/flipt.io/server-ca";
const SIGNING_FOLDER: &str = "/var/run/secrets/flipt.io/signing";

/// Longest name of a Job: its pods have names of their own made of it.
const MAX_JOB_NAME: usize = 63;

/// The server that is exported, as its `FliptServer` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where it is.
    pub(crate) url: String,
    /// What it accepts.
    pub(crate) credentials: Credentials,
    /// What its certificate is checked against, instead of the public ones.
    pub(crate) ca: Option<SecretKeyRef>,
}

/// What an exporter shows to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    None,
    /// A token of its own service account, for this audience.
    ServiceAccount {
        /// The audience.
        audience: String,
    },
    /// A client token of the server, from a Secret of the export's namespace.
    Secret(SecretKeyRef),
}

/// Name of the CronJob, and of the service account if the export names none.
pub(crate) fn name(export: &FliptSnapshotExport) -> String {
    format!("{}-export", export.name_any())
}

/// Name of the service account of the pods.
pub(crate) fn service_account_name(export: &FliptSnapshotExport) -> String {
    export.spec.service_account.name.clone().unwrap_or_else(|| name(export))
}

/// The service account, if the export has it created.
pub(crate) fn service_account(export: &FliptSnapshotExport) -> Option<ServiceAccount> {
    let wanted = &export.spec.service_account;
    wanted.create.then(|| ServiceAccount {
        metadata: ObjectMeta {
            name: Some(service_account_name(export)),
            namespace: export.namespace(),
            labels: Some(labels(export)),
            annotations: (!wanted.annotations.is_empty()).then(|| wanted.annotations.clone()),
            owner_references: Some(owner(export)),
            ..ObjectMeta::default()
        },
        // Pods of others do not get a token of the API server by it either.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The CronJob. `image` is the reference of its image; `paused` keeps it from starting anything.
pub(crate) fn cron_job(
    export: &FliptSnapshotExport,
    target: &Target,
    image: String,
    paused: bool,
) -> CronJob {
    let spec = &export.spec;
    CronJob {
        metadata: ObjectMeta {
            name: Some(name(export)),
            namespace: export.namespace(),
            labels: Some(labels(export)),
            owner_references: Some(owner(export)),
            ..ObjectMeta::default()
        },
        spec: Some(CronJobSpec {
            schedule: spec.schedule.clone(),
            time_zone: Some(spec.time_zone.clone()),
            suspend: Some(spec.suspend || paused),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(STARTING_DEADLINE_SECONDS),
            successful_jobs_history_limit: Some(spec.job.history.successful),
            failed_jobs_history_limit: Some(spec.job.history.failed),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(export)), ..ObjectMeta::default() }),
                spec: Some(job(export, target, image)),
            },
        }),
        status: None,
    }
}

/// A Job of the same template, because the server's state has changed to `revision`. Two operators make the same one.
///
/// `None` if the CronJob is not one of ours.
pub(crate) fn job_of_change(export: &FliptSnapshotExport, cron_job: &CronJob, revision: &str) -> Option<Job> {
    let template = &cron_job.spec.as_ref()?.job_template;
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(TRIGGER_ANNOTATION.to_owned(), "change".to_owned());
    annotations.insert(REVISION_ANNOTATION.to_owned(), revision.to_owned());
    Some(Job {
        metadata: ObjectMeta {
            name: Some(name_of_change(&export.name_any(), revision)),
            namespace: export.namespace(),
            labels: metadata.labels,
            annotations: Some(annotations),
            // Not of the CronJob, which would count them as its own and forget that they are not on its schedule.
            owner_references: Some(owner(export)),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    })
}

fn name_of_change(export: &str, revision: &str) -> String {
    let plain: String = revision.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    let room = MAX_JOB_NAME.saturating_sub(export.len() + "-change-".len());
    // The end of a revision is what differs from one to the next.
    let end = plain.get(plain.len().saturating_sub(room)..).unwrap_or_default();
    format!("{export}-change-{end}")
}

fn owner(export: &FliptSnapshotExport) -> Vec<OwnerReference> {
    export.controller_owner_ref(&()).into_iter().collect()
}

fn labels(export: &FliptSnapshotExport) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "flipt".to_owned()),
        ("app.kubernetes.io/component", "export".to_owned()),
        ("app.kubernetes.io/managed-by", "flipt-operator".to_owned()),
        (EXPORT_LABEL, export.name_any()),
    ]
    .map(|(label, value)| (label.to_owned(), value))
    .into()
}

fn job(export: &FliptSnapshotExport, target: &Target, image: String) -> JobSpec {
    let wanted = &export.spec.job;
    let mut pod_labels = wanted.pod_labels.clone();
    pod_labels.extend(labels(export));
    pod_labels.insert("flipt.io/inject".to_owned(), "false".to_owned());
    JobSpec {
        active_deadline_seconds: Some(wanted.active_deadline_seconds),
        backoff_limit: Some(wanted.backoff_limit),
        ttl_seconds_after_finished: wanted.ttl_seconds_after_finished,
        pod_replacement_policy: Some("Failed".to_owned()),
        pod_failure_policy: Some(PodFailurePolicy {
            rules: vec![PodFailurePolicyRule {
                action: "FailJob".to_owned(),
                on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                    container_name: Some(CONTAINER.to_owned()),
                    operator: "In".to_owned(),
                    values: FINAL_EXIT_CODES.to_vec(),
                }),
                on_pod_conditions: None,
            }],
        }),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(pod_labels),
                annotations: (!wanted.pod_annotations.is_empty()).then(|| wanted.pod_annotations.clone()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(export, target, image)),
        },
        ..JobSpec::default()
    }
}

fn pod(export: &FliptSnapshotExport, target: &Target, image: String) -> PodSpec {
    let spec = &export.spec;
    let files = files(spec, target);
    let volumes: Vec<Volume> = files.iter().map(|file| file.volume.clone()).collect();
    let mounts: Vec<VolumeMount> = files
        .iter()
        .map(|file| VolumeMount {
            name: file.volume.name.clone(),
            mount_path: file.folder.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        })
        .collect();
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(service_account_name(export)),
        // An exporter has no business with the API server.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: (!spec.job.image_pull_secrets.is_empty())
            .then(|| spec.job.image_pull_secrets.clone()),
        node_selector: (!spec.job.node_selector.is_empty()).then(|| spec.job.node_selector.clone()),
        tolerations: (!spec.job.tolerations.is_empty()).then(|| spec.job.tolerations.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(image),
            image_pull_policy: Some(pull_policy(spec.job.image.pull_policy).to_owned()),
            // `$(…)` would be replaced by the container's environment, which holds secrets.
            args: Some(arguments(spec, target).iter().map(|text| text.replace('$', "$$")).collect()),
            env: (!spec.job.env.is_empty()).then(|| spec.job.env.clone()),
            env_from: spec.s3.credentials_secret_ref.as_ref().map(|secret| {
                vec![EnvFromSource {
                    secret_ref: Some(SecretEnvSource { name: secret.name.clone(), optional: Some(false) }),
                    ..EnvFromSource::default()
                }]
            }),
            resources: Some(resources(&spec.job.resources)),
            termination_message_path: Some(RECEIPT_FILE.to_owned()),
            termination_message_policy: Some("File".to_owned()),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                run_as_non_root: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                ..SecurityContext::default()
            }),
            volume_mounts: (!mounts.is_empty()).then_some(mounts),
            ..Container::default()
        }],
        volumes: (!volumes.is_empty()).then_some(volumes),
        ..PodSpec::default()
    }
}

const RECEIPT_FILE: &str = "/dev/termination-log";

/// The command line of the exporter.
fn arguments(spec: &FliptSnapshotExportSpec, target: &Target) -> Vec<String> {
    let mut arguments = vec!["export".to_owned()];
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    option("--server", target.url.clone());
    if target.credentials != Credentials::None {
        option("--server-token-file", format!("{TOKEN_FOLDER}/token"));
    }
    if target.ca.is_some() {
        option("--server-ca-file", format!("{CA_FOLDER}/ca.crt"));
    }
    option("--environment", spec.environment.clone());
    option("--output", location(&spec.s3));
    let everything = spec.namespaces.iter().any(|key| key == "*");
    if !everything {
        option("--namespaces", spec.namespaces.join(","));
    }
    option("--guard-max-shrink", spec.guard.max_shrink_percent.to_string());
    option("--keep-revisions", spec.retention.keep_revisions.to_string());
    option("--keep-age", spec.retention.min_age.to_string());
    let formats: Vec<&str> = spec
        .formats
        .iter()
        .map(|format| match format {
            Format::Native => "native",
            Format::FliptFeatures => "features",
        })
        .collect();
    option("--formats", formats.join(","));
    let conditional = match spec.s3.conditional_writes {
        ConditionalWrites::Auto => "auto",
        ConditionalWrites::On => "on",
        ConditionalWrites::Off => "off",
    };
    option("--conditional-writes", conditional.to_owned());
    // Enough for the exporter to say itself that it took too long.
    option("--timeout", format!("{}s", (spec.job.active_deadline_seconds * 5 / 6).max(1)));
    if spec.signing.is_some() {
        option("--signing-key-file", format!("{SIGNING_FOLDER}/key"));
    }
    option("--receipt-file", RECEIPT_FILE.to_owned());
    if everything {
        arguments.push("--all-namespaces".to_owned());
    }
    if spec.guard.allow_empty {
        arguments.push("--guard-allow-empty".to_owned());
    }
    arguments
}

/// `s3://bucket/prefix?region=…&endpoint=…&pathStyle=true&sse=aws:kms&kmsKeyId=…`.
pub(crate) fn location(bucket: &Bucket) -> String {
    let mut location = format!("s3://{}", bucket.bucket);
    if !bucket.prefix.is_empty() {
        location.push('/');
        location.push_str(&bucket.prefix);
    }
    let mut separator = '?';
    let mut parameter = |name: &str, value: &str| {
        location.push(separator);
        location.push_str(name);
        location.push('=');
        location.push_str(&value.replace('%', "%25").replace('&', "%26"));
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
    match bucket.sse.mode {
        EncryptionMode::None => {}
        EncryptionMode::S3 => parameter("sse", "AES256"),
        EncryptionMode::Kms => {
            parameter("sse", "aws:kms");
            if let Some(key) = &bucket.sse.kms_key_id {
                parameter("kmsKeyId", key);
            }
        }
    }
    location
}

struct File {
    folder: &'static str,
    volume: Volume,
}

/// What the exporter reads from files: nothing of it can be seen in its environment or command line.
fn files(spec: &FliptSnapshotExportSpec, target: &Target) -> Vec<File> {
    let secret = |folder, name: &str, secret: &SecretKeyRef, path: &str| File {
        folder,
        volume: Volume {
            name: name.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.name.clone()),
                // The group of the pod may read, nobody else.
                default_mode: Some(0o440),
                items: Some(vec![KeyToPath { key: secret.key.clone(), path: path.to_owned(), mode: None }]),
                optional: Some(false),
            }),
            ..Volume::default()
        },
    };
    let token = match &target.credentials {
        Credentials::None => None,
        Credentials::Secret(reference) => Some(secret(TOKEN_FOLDER, "server-token", reference, "token")),
        Credentials::ServiceAccount { audience } => Some(File {
            folder: TOKEN_FOLDER,
            volume: Volume {
                name: "server-token".to_owned(),
                projected: Some(ProjectedVolumeSource {
                    default_mode: Some(0o440),
                    sources: Some(vec![VolumeProjection {
                        service_account_token: Some(ServiceAccountTokenProjection {
                            audience: Some(audience.clone()),
                            expiration_seconds: Some(TOKEN_SECONDS),
                            path: "token".to_owned(),
                        }),
                        ..VolumeProjection::default()
                    }]),
                }),
                ..Volume::default()
            },
        }),
    };
    let ca = target.ca.as_ref().map(|reference| secret(CA_FOLDER, "server-ca", reference, "ca.crt"));
    let signing = spec
        .signing
        .as_ref()
        .map(|signing| secret(SIGNING_FOLDER, "signing-key", &signing.secret_ref, "key"));
    [token, ca, signing].into_iter().flatten().collect()
}

fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    }
}

/// What the container gets: as the export says, or enough for some ten thousand flags.
fn resources(wanted: &Resources) -> ResourceRequirements {
    let usual = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
    };
    if wanted.requests.is_empty() && wanted.limits.is_empty() {
        return ResourceRequirements {
            requests: Some(usual(&[("cpu", "20m"), ("memory", "64Mi")])),
            limits: Some(usual(&[("memory", "256Mi")])),
            claims: None,
        };
    }
    ResourceRequirements {
        requests: (!wanted.requests.is_empty()).then(|| wanted.requests.clone()),
        limits: (!wanted.limits.is_empty()).then(|| wanted.limits.clone()),
        claims: None,
    }
}

#[cfg(test)]
mod tests;
