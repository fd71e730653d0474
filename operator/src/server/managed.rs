//! A server that the operator runs: the objects it is made of, and in which order they come.
//!
//! The database's schema is brought up to date by a Job before the first pod of a new image starts. Every step of a
//! migration only adds, so pods of the image before go on serving meanwhile; and a migration that fails leaves them.

use flipt_crds::{FliptServer, ManagedServer, PullPolicy, Reason, ServiceType};
use k8s_openapi::{
    api::{apps::v1::Deployment, batch::v1::Job},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    connection::own_audience,
    context::FIELD_MANAGER,
    image,
    resources::{Error, limited},
    settings::Settings,
    term::Term,
};

/// Selects what the operator has made for servers.
pub(super) const CHILDREN: &str = "app.kubernetes.io/managed-by=flipt-operator,app.kubernetes.io/name=flipt";
/// On the Deployment: the migration that it was made after.
const MIGRATION: &str = "flipt.io/migration";
/// Port of HTTP, unless the configuration says otherwise.
const HTTP: u16 = 8080;
/// Port of gRPC, unless the configuration says otherwise.
const GRPC: u16 = 9000;
/// How long a pod that ends goes on taking requests.
const DRAIN_SECONDS: u8 = 10;

/// What has become of a server.
pub(super) struct Run {
    /// Where it is reached.
    pub(super) url: String,
    /// Pods that are ready.
    pub(super) ready_replicas: Option<i32>,
    /// Whether it runs as it should, or what it waits for.
    pub(super) rolled_out: Result<(), String>,
}

/// What keeps a server from being run.
pub(super) enum Stop {
    /// It cannot be run as it is described; the reason and the message of a condition.
    Refused(Reason, String),
    /// The API server did not do what it was asked; it is tried again.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            // What a policy or the API server itself does not let through, it will not let through the next time either.
            Error::Kubernetes(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                Self::Refused(Reason::InvalidSpec, status.message.clone())
            }
            error => Self::Failed(error),
        }
    }
}

/// Makes a server run as it is described.
///
/// # Errors
/// [`Stop`].
pub(super) async fn run(term: &Term, server: &FliptServer) -> Result<Run, Stop> {
    let Some(objects) = render(server, &term.context.settings) else {
        return Ok(Run { url: String::new(), ready_replicas: None, rolled_out: Ok(()) });
    };
    let namespace = server.namespace().unwrap_or_default();
    let client = &term.context.client;
    let url = format!("http://{}.{namespace}.svc:{}", objects.name, objects.http);
    for object in [Some(&objects.service), objects.config.as_ref()].into_iter().flatten() {
        apply(term, server, &namespace, object).await?;
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let there = limited(deployments.get_opt(&objects.name)).await?;
    let ready = |deployment: &Deployment| deployment.status.as_ref().and_then(|status| status.ready_replicas);
    let migrated = there
        .as_ref()
        .and_then(|deployment| deployment.annotations().get(MIGRATION))
        .is_some_and(|migration| *migration == objects.migration);
    if !migrated {
        let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
        let job = limited(jobs.get_opt(&objects.migration)).await?;
        let waiting = match job.as_ref().map(standing) {
            Some(Migration::Done) => None,
            None => {
                apply(term, server, &namespace, &objects.job).await?;
                Some(format!("Job {} migrates the database", objects.migration))
            }
            Some(Migration::Going) => Some(format!("Job {} migrates the database", objects.migration)),
            Some(Migration::Failed(why)) => Some(format!(
                "Job {} could not migrate the database: {why}; see the log of its pods, and delete the Job to try again",
                objects.migration
            )),
        };
        if let Some(waiting) = waiting {
            let ready_replicas = Some(there.as_ref().and_then(ready).unwrap_or(0));
            return Ok(Run { url, ready_replicas, rolled_out: Err(waiting) });
        }
    }
    apply(term, server, &namespace, &objects.deployment).await?;
    match &objects.budget {
        Some(budget) => apply(term, server, &namespace, budget).await?,
        None => remove_budget(term, server, &namespace, &objects.name).await?,
    }
    if !migrated {
        remove_old_migrations(term, &namespace, &objects).await?;
    }
    let deployment = limited(deployments.get(&objects.name)).await?;
    Ok(Run {
        url,
        ready_replicas: Some(ready(&deployment).unwrap_or(0)),
        rolled_out: rolled_out(&deployment),
    })
}

/// How a migration stands.
#[derive(Debug, PartialEq, Eq)]
enum Migration {
    Going,
    Done,
    Failed(String),
}

fn standing(job: &Job) -> Migration {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |type_: &str| conditions.iter().find(|it| it.type_ == type_ && it.status == "True");
    if holds("Complete").is_some() {
        return Migration::Done;
    }
    match holds("Failed") {
        Some(failed) => Migration::Failed(failed.message.clone().unwrap_or_default()),
        None => Migration::Going,
    }
}

fn rolled_out(deployment: &Deployment) -> Result<(), String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let name = deployment.name_any();
    let status = deployment.status.clone().unwrap_or_default();
    let stuck =
        status.conditions.iter().flatten().find(|it| it.type_ == "Progressing" && it.status == "False");
    if let Some(stuck) = stuck {
        return Err(format!("Deployment {name}: {}", stuck.message.clone().unwrap_or_default()));
    }
    if status.observed_generation < deployment.metadata.generation {
        return Err(format!("Deployment {name} is not looked at yet"));
    }
    let [all, updated, ready] = [status.replicas, status.updated_replicas, status.ready_replicas]
        .map(|replicas| replicas.unwrap_or(0));
    // Pods of before are ready, too: the new ones are once there are no others.
    if updated >= wanted && ready >= wanted && all == updated {
        return Ok(());
    }
    Err(format!(
        "Deployment {name}: of {wanted} pods, {updated} are as described; {ready} are ready, with those of before"
    ))
}

/// Brings an object to what it should be. One of the same name that somebody else has made is left alone.
async fn apply(term: &Term, server: &FliptServer, namespace: &str, object: &Value) -> Result<(), Stop> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api: Api<DynamicObject> = Api::namespaced_with(term.context.client.clone(), namespace, &resource);
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let there = limited(api.get_metadata_opt(name)).await?;
    if there.is_some_and(|there| !is_of(&there.metadata, server)) {
        let message = format!(
            "{kind} {name} exists and was not made for this server: remove it, or give the server another name"
        );
        return Err(Stop::Refused(Reason::Conflict, message));
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    limited(api.patch(name, &parameters, &Patch::Apply(object))).await?;
    Ok(())
}

fn is_of(meta: &ObjectMeta, server: &FliptServer) -> bool {
    meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == server.metadata.uid.as_ref())
}

/// Removes the budget of a server that has one pod only: it would stop every node from being drained.
async fn remove_budget(term: &Term, server: &FliptServer, namespace: &str, name: &str) -> Result<(), Error> {
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    let api: Api<PodDisruptionBudget> = Api::namespaced(term.context.client.clone(), namespace);
    let Some(budget) = limited(api.get_opt(name)).await? else { return Ok(()) };
    if is_of(&budget.metadata, server) {
        limited(api.delete(name, &DeleteParams::default())).await?;
    }
    Ok(())
}

/// Removes the Jobs of images that are not used any more.
async fn remove_old_migrations(term: &Term, namespace: &str, objects: &Objects) -> Result<(), Error> {
    let jobs: Api<Job> = Api::namespaced(term.context.client.clone(), namespace);
    let ours = ListParams::default().labels(&format!(
        "{CHILDREN},app.kubernetes.io/instance={},app.kubernetes.io/component=migration",
        objects.name
    ));
    for job in limited(jobs.list(&ours)).await? {
        if job.name_any() != objects.migration {
            limited(jobs.delete(&job.name_any(), &DeleteParams::background())).await?;
        }
    }
    Ok(())
}

/// What a server is made of.
struct Objects {
    /// Name of its Deployment and Service.
    name: String,
    /// Name of the Job that migrates its database.
    migration: String,
    http: u16,
    config: Option<Value>,
    job: Value,
    deployment: Value,
    service: Value,
    budget: Option<Value>,
}

/// The objects that a server is made of; nothing, if the operator does not run it.
fn render(server: &FliptServer, settings: &Settings) -> Option<Objects> {
    let managed = server.spec.managed.as_ref()?;
    let namespace = server.namespace().unwrap_or_default();
    // Names of Services have no dots.
    let name = format!("flipt-{}", server.name_any().replace('.', "-"));
    let reference = image::reference(&managed.image, &settings.server_image);
    let port = |key: &str, default: u16| {
        let port = managed.config.get("server").and_then(|server| server.get(key));
        port.and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(default)
    };
    let (http, grpc) = (port("http_port", HTTP), port("grpc_port", GRPC));

    let secret = &managed.database.url_secret_ref;
    let migration_of = json!([reference, secret]).to_string();
    let migration = format!("{name}-migrate-{}", &hash(&migration_of)[..8]);
    let config_text = Value::Object(managed.config.clone()).to_string();

    let owner = json!([{
        "apiVersion": FliptServer::api_version(&()), "kind": FliptServer::kind(&()),
        "name": server.name_any(), "uid": server.metadata.uid, "controller": true, "blockOwnerDeletion": true,
    }]);
    let selector = |component: &str| {
        json!({
            "app.kubernetes.io/name": "flipt",
            "app.kubernetes.io/instance": name,
            "app.kubernetes.io/component": component,
        })
    };
    let labels = |component: &str| {
        let mut labels = selector(component);
        labels["app.kubernetes.io/managed-by"] = "flipt-operator".into();
        labels
    };
    let metadata = |name: &str, component: &str| json!({ "name": name, "namespace": namespace, "labels": labels(component), "ownerReferences": owner });
    let pod_labels = |component: &str| {
        let mut labels = labels(component);
        labels["flipt.io/inject"] = "false".into();
        labels
    };
    let environment = environment(server, managed, settings);
    let mut volumes = vec![
        // Nothing lasts here: what has to last is in the database.
        json!({ "name": "state", "emptyDir": {} }),
        json!({ "name": "tmp", "emptyDir": {} }),
    ];
    let mut mounts = vec![
        json!({ "name": "state", "mountPath": "/var/opt/flipt" }),
        json!({ "name": "tmp", "mountPath": "/tmp" }),
    ];
    let config = (!managed.config.is_empty()).then(|| {
        volumes.push(json!({ "name": "config", "configMap": { "name": name } }));
        mounts.push(json!({ "name": "config", "mountPath": "/etc/flipt/config", "readOnly": true }));
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&name, "server"),
            // JSON is YAML.
            "data": { "default.yml": config_text },
        })
    });
    let container = |name: &str| {
        json!({
            "name": name,
            "image": reference,
            "imagePullPolicy": pull_policy(managed.image.pull_policy),
            "env": environment,
            "resources": managed.resources,
            "volumeMounts": mounts,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        })
    };
    let pod = |container: Value| {
        json!({
            "containers": [container],
            "volumes": volumes,
            "enableServiceLinks": false,
            "imagePullSecrets": managed.image_pull_secrets,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
        })
    };

    let mut serving = container("flipt");
    serving["ports"] = json!([
        { "name": "http", "containerPort": http, "protocol": "TCP" },
        { "name": "grpc", "containerPort": grpc, "protocol": "TCP" },
    ]);
    let probe = |path: &str, period: u8, failures: u8| json!({ "httpGet": { "path": path, "port": "http" }, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures });
    serving["startupProbe"] = probe("/livez", 1, 120);
    serving["readinessProbe"] = probe("/readyz", 5, 2);
    serving["livenessProbe"] = probe("/livez", 10, 6);
    let mut serving = pod(serving);
    serving["terminationGracePeriodSeconds"] = (DRAIN_SECONDS + 25).into();
    // It asks the API server for the keys of tokens.
    serving["automountServiceAccountToken"] = true.into();
    serving["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": selector("server") },
    }]);

    let mut migrating = container("migrate");
    migrating["args"] = json!(["migrate"]);
    let mut migrating = pod(migrating);
    migrating["restartPolicy"] = "OnFailure".into();
    migrating["automountServiceAccountToken"] = false.into();

    let mut deployment_metadata = metadata(&name, "server");
    deployment_metadata["annotations"] = json!({ MIGRATION: migration });
    Some(Objects {
        deployment: json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": deployment_metadata,
            "spec": {
                "replicas": managed.replicas,
                "revisionHistoryLimit": 3,
                "selector": { "matchLabels": selector("server") },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
                "template": {
                    "metadata": {
                        "labels": pod_labels("server"),
                        "annotations": { "flipt.io/config-hash": hash(&config_text) },
                    },
                    "spec": serving,
                },
            },
        }),
        job: json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(&migration, "migration"),
            "spec": {
                "backoffLimit": 10,
                "template": { "metadata": { "labels": pod_labels("migration") }, "spec": migrating },
            },
        }),
        service: json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(&name, "server"),
            "spec": {
                "type": service_type(managed.service.service_type),
                "selector": selector("server"),
                "ports": [
                    { "name": "http", "port": http, "targetPort": "http", "protocol": "TCP", "appProtocol": "http" },
                    { "name": "grpc", "port": grpc, "targetPort": "grpc", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c" },
                ],
            },
        }),
        budget: (managed.replicas > 1).then(|| {
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(&name, "server"),
                "spec": { "maxUnavailable": IntOrString::Int(1), "selector": { "matchLabels": selector("server") } },
            })
        }),
        config,
        name,
        migration,
        http,
    })
}

/// What the configuration does not say: the database, and who gets in. A configuration with a section
/// `authentication` decides that by itself.
fn environment(server: &FliptServer, managed: &ManagedServer, settings: &Settings) -> Vec<Value> {
    let namespace = server.namespace().unwrap_or_default();
    let secret = &managed.database.url_secret_ref;
    let mut environment = vec![json!({
        "name": "FLIPT_DB_URL",
        "valueFrom": { "secretKeyRef": { "name": secret.name, "key": secret.key } },
    })];
    let mut set = |name: &str, value: &str| environment.push(json!({ "name": name, "value": value }));
    if managed.config.get("server").and_then(|server| server.get("shutdown_delay")).is_none() {
        // The cluster's proxies hear of a pod that ends later than the pod itself.
        set("FLIPT_SERVER_SHUTDOWN_DELAY", &format!("{DRAIN_SECONDS}s"));
    }
    if !managed.config.contains_key("log") {
        set("FLIPT_LOG_ENCODING", "json");
    }
    let audiences = Value::Object(managed.config.clone());
    if audiences.pointer("/authentication/methods/kubernetes/audiences").is_none() {
        // The operator's token is for this server alone; those of others are as everywhere.
        set(
            "FLIPT_AUTHENTICATION_METHODS_KUBERNETES_AUDIENCES",
            &format!("flipt-server {}", own_audience(server)),
        );
    }
    if !managed.config.contains_key("authentication") {
        // Whoever runs pods in the server's namespace can mount the Secret of its database: to let them read flags
        // gives nothing away, and lets exports in whatever their service account is called.
        let allow = format!("{}/{}=write;{namespace}/*=read", settings.namespace, settings.service_account);
        set("FLIPT_AUTHENTICATION_REQUIRED", "true");
        set("FLIPT_AUTHENTICATION_METHODS_KUBERNETES_ENABLED", "true");
        set("FLIPT_AUTHENTICATION_METHODS_KUBERNETES_ALLOW", &allow);
    }
    environment
}

const fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    }
}

const fn service_type(type_: ServiceType) -> &'static str {
    match type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::settings::Arguments;

    fn rendered(managed: Value) -> Objects {
        let mut managed = managed;
        managed["database"] = json!({ "urlSecretRef": { "name": "flipt-db", "key": "url" } });
        let server: FliptServer = serde_json::from_value(json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer",
            "metadata": { "name": "main", "namespace": "flags", "uid": "u-1" },
            "spec": { "managed": managed },
        }))
        .unwrap();
        let line =
            ["flipt-operator", "--namespace", "flipt-system", "--server-image", "localhost/flipt:test"];
        render(&server, &Arguments::try_parse_from(line).unwrap().settings).unwrap()
    }

    /// Every object has the form that the API server expects.
    fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> T {
        serde_json::from_value(object.clone()).unwrap()
    }

    #[test]
    fn pods_are_restricted_and_get_secrets_by_reference() {
        let objects = rendered(json!({}));
        let deployment: Deployment = typed(&objects.deployment);
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
        let container = &pod.containers[0];
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(container.image.as_deref(), Some("localhost/flipt:test"));
        let url = container.env.as_ref().unwrap().iter().find(|it| it.name == "FLIPT_DB_URL").unwrap();
        assert!(url.value.is_none() && url.value_from.as_ref().unwrap().secret_key_ref.is_some());
    }

    fn value(objects: &Objects, name: &str) -> Option<String> {
        let environment = objects.deployment.pointer("/spec/template/spec/containers/0/env").unwrap();
        let found = environment.as_array().unwrap().iter().find(|it| it["name"] == name);
        found.map(|it| it["value"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_pod_that_ends_goes_on_serving_unless_the_configuration_says_otherwise() {
        assert_eq!(value(&rendered(json!({})), "FLIPT_SERVER_SHUTDOWN_DELAY").as_deref(), Some("10s"));
        let own = rendered(json!({ "config": { "server": { "shutdown_delay": "20s" } } }));
        assert_eq!(value(&own, "FLIPT_SERVER_SHUTDOWN_DELAY"), None);
    }

    #[test]
    fn the_operators_token_is_accepted_beside_those_of_others() {
        const AUDIENCES: &str = "FLIPT_AUTHENTICATION_METHODS_KUBERNETES_AUDIENCES";
        let given = |config: Value| value(&rendered(json!({ "config": config })), AUDIENCES);
        assert_eq!(given(json!({})).as_deref(), Some("flipt-server flipt-server.flags.main"));
        let required = given(json!({ "authentication": { "required": true } }));
        assert_eq!(required.as_deref(), Some("flipt-server flipt-server.flags.main"));
        let own = json!({ "authentication": { "methods": { "kubernetes": { "audiences": ["a"] } } } });
        assert_eq!(given(own), None);
    }

    #[test]
    fn pods_are_those_described_when_there_are_no_others_and_all_are_ready() {
        let deployment = |generation: i64, status: Value| -> Deployment {
            typed(&json!({
                "metadata": { "name": "flipt-main", "generation": generation },
                "spec": { "replicas": 2, "selector": {}, "template": {} }, "status": status,
            }))
        };
        let counts = |all: i32, updated: i32, ready: i32| json!({ "observedGeneration": 3, "replicas": all, "updatedReplicas": updated, "readyReplicas": ready });
        assert_eq!(rolled_out(&deployment(3, counts(2, 2, 2))), Ok(()));
        for (what, generation, status) in [
            ("the new description is not looked at", 4, counts(2, 2, 2)),
            ("one of before is still there", 3, counts(3, 2, 2)),
            ("one is not replaced yet", 3, counts(2, 1, 2)),
            ("one is not ready", 3, counts(2, 2, 1)),
            ("nothing is known", 3, json!({})),
        ] {
            assert!(rolled_out(&deployment(generation, status)).is_err(), "{what}");
        }
        let mut stuck = counts(2, 2, 2);
        stuck["conditions"] =
            json!([{ "type": "Progressing", "status": "False", "message": "deadline exceeded" }]);
        assert!(rolled_out(&deployment(3, stuck)).unwrap_err().contains("deadline exceeded"));
    }

    #[test]
    fn what_is_refused_is_said_and_what_fails_is_tried_again() {
        for (code, refused) in
            [(400, true), (403, true), (422, true), (409, false), (500, false), (503, false)]
        {
            let status = kube::core::Status { code, ..kube::core::Status::default() };
            let stop = Stop::from(Error::Kubernetes(kube::Error::Api(Box::new(status))));
            assert_eq!(matches!(stop, Stop::Refused(Reason::InvalidSpec, _)), refused, "{code}");
        }
    }

    #[test]
    fn nobody_gets_in_but_the_operator_and_readers_of_the_own_namespace() {
        let objects = rendered(json!({}));
        assert_eq!(value(&objects, "FLIPT_AUTHENTICATION_REQUIRED").as_deref(), Some("true"));
        assert_eq!(
            value(&objects, "FLIPT_AUTHENTICATION_METHODS_KUBERNETES_ALLOW").as_deref(),
            Some("flipt-system/flipt-operator=write;flags/*=read")
        );
        let own = rendered(json!({ "config": { "authentication": { "required": false } } }));
        assert_eq!(value(&own, "FLIPT_AUTHENTICATION_REQUIRED"), None);
    }

    #[test]
    fn a_new_image_is_migrated_before_it_runs_and_a_new_configuration_is_not() {
        let first = rendered(json!({}));
        let configured = rendered(json!({ "config": { "log": { "level": "debug" } }, "replicas": 3 }));
        let upgraded = rendered(json!({ "image": { "tag": "2" } }));
        assert_eq!(first.migration, configured.migration);
        assert_ne!(first.migration, upgraded.migration);
        let job: Job = typed(&upgraded.job);
        let pod = job.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.containers[0].args, Some(vec!["migrate".to_owned()]));
        assert_eq!(pod.containers[0].image.as_deref(), Some("localhost/flipt:2"));
        assert!(first.config.is_none() && configured.config.is_some());
        let annotations = "/spec/template/metadata/annotations";
        assert_ne!(
            first.deployment.pointer(annotations),
            configured.deployment.pointer(annotations),
            "pods start anew with a new configuration"
        );
    }

    #[test]
    fn a_budget_belongs_to_servers_with_several_pods() {
        assert!(rendered(json!({ "replicas": 2 })).budget.is_some());
        assert!(rendered(json!({ "replicas": 1 })).budget.is_none());
    }

    #[test]
    fn ports_are_those_of_the_configuration() {
        let objects = rendered(json!({ "config": { "server": { "http_port": 8081 } } }));
        assert_eq!(objects.http, 8081);
        assert_eq!(objects.service["spec"]["ports"][0]["port"], 8081);
        assert_eq!(objects.service["spec"]["ports"][1]["port"], 9000);
    }

    #[test]
    fn everything_goes_with_the_server() {
        let objects = rendered(json!({ "replicas": 2, "config": { "log": {} } }));
        let all = [&objects.deployment, &objects.job, &objects.service]
            .into_iter()
            .chain(&objects.config)
            .chain(&objects.budget);
        for object in all {
            assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u-1", "{object}");
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "flipt-operator");
        }
    }

    #[test]
    fn a_job_is_done_or_failed_when_it_says_so() {
        let job = |type_: &str| -> Job {
            typed(&json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": {},
                "status": { "conditions": [{ "type": type_, "status": "True", "message": "no" }] } }))
        };
        assert_eq!(standing(&job("Complete")), Migration::Done);
        assert_eq!(standing(&job("Failed")), Migration::Failed("no".to_owned()));
        assert_eq!(standing(&job("Suspended")), Migration::Going);
    }
}
