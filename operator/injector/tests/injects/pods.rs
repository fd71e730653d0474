//! Pods and profiles to inject, and what an API server does with the answer.

use flipt_injector::{Injection, Operation, Outcome, Profile, Settings, SourceLocation, apply, inject};
use serde_json::{Value, json};

pub(crate) fn settings() -> Settings {
    Settings {
        image: "registry.test/flipt-sidecar:0.1.0".into(),
        version: "0.1.0".into(),
        server_audience: "flipt-server".into(),
    }
}

/// A profile with this spec, beside its source.
pub(crate) fn profile(spec: Value) -> Profile {
    let mut full = json!({"source": [{"s3": {"bucket": "flags"}}]});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Profile {
        name: "default".into(),
        spec: serde_json::from_value(full).unwrap(),
        sources: vec![bucket(json!({"bucket": "flags", "prefix": "prod"}))],
        environment: "default".into(),
    }
}

pub(crate) fn bucket(bucket: Value) -> SourceLocation {
    SourceLocation::S3(serde_json::from_value(bucket).unwrap())
}

/// A pod of a Deployment, as it reaches the webhook.
pub(crate) fn plain() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "shop-5d4f8-",
            "labels": {"app": "shop", "flipt.io/inject": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-5d4f8", "uid": "u"}],
        },
        "spec": {
            "serviceAccountName": "shop",
            "containers": [{
                "name": "app",
                "image": "shop:1",
                "volumeMounts": [{"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "volumes": [{"name": "kube-api-access-x", "projected": {}}],
        },
    })
}

pub(crate) fn annotate(pod: &mut Value, annotations: Value) {
    pod["metadata"]["annotations"] = annotations;
}

/// The pod as the API server stores it.
pub(crate) fn patched(pod: &Value, injection: &Injection) -> Value {
    let mut pod = pod.clone();
    for operation in &injection.patch {
        apply(&mut pod, operation).unwrap_or_else(|error| panic!("{operation:?}: {error}"));
    }
    pod
}

/// Injects, and gives the pod that comes of it.
pub(crate) fn injected(pod: &Value, profile: &Profile) -> Value {
    let injection = inject(pod, profile, &settings());
    assert_eq!(injection.outcome, Outcome::Injected);
    patched(pod, &injection)
}

/// The sidecar of a pod.
pub(crate) fn sidecar(pod: &Value) -> &Value {
    named(&pod["spec"]["initContainers"], "flipt-sidecar")
}

pub(crate) fn named<'v>(list: &'v Value, name: &str) -> &'v Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|item| item["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .map(|list| list.iter().map(|item| item["name"].as_str().unwrap()).collect())
        .unwrap_or_default()
}

pub(crate) fn arguments(container: &Value) -> Vec<&str> {
    container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect()
}

/// What an API server fills in between two calls of a webhook.
pub(crate) fn default_fields(pod: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            container["terminationMessagePath"] = json!("/dev/termination-log");
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                if container[probe].is_object() {
                    container[probe]["successThreshold"] = json!(1);
                    container[probe]["httpGet"]["scheme"] = json!("HTTP");
                }
            }
            for variable in container["env"].as_array_mut().into_iter().flatten() {
                if variable["valueFrom"]["fieldRef"].is_object() {
                    variable["valueFrom"]["fieldRef"]["apiVersion"] = json!("v1");
                }
            }
        }
    }
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten() {
        for source in volume["projected"]["sources"].as_array_mut().into_iter().flatten() {
            for item in source["downwardAPI"]["items"].as_array_mut().into_iter().flatten() {
                item["fieldRef"]["apiVersion"] = json!("v1");
            }
        }
        if volume["configMap"].is_object() {
            volume["configMap"]["defaultMode"] = json!(420);
        }
        if volume["emptyDir"]["sizeLimit"] == "65536Ki" {
            volume["emptyDir"]["sizeLimit"] = json!("64Mi");
        }
    }
}

/// Whether a step of a patch is one that an injection may take in this pod.
pub(crate) fn is_allowed(pod: &Value, operation: &Operation) -> bool {
    let ours = |path: &str| {
        let mut keys = path.split('/').skip(1);
        let keys: [&str; 4] = std::array::from_fn(|_| keys.next().unwrap_or_default());
        match keys {
            ["spec", "initContainers", index, _] => index
                .parse()
                .is_ok_and(|index: usize| pod["spec"]["initContainers"][index]["name"] == "flipt-sidecar"),
            ["metadata", "annotations", "flipt.io~1status" | "flipt.io~1verify-keys", ""]
            | ["metadata", "labels", "flipt.io~1injected", ""] => true,
            [
                "metadata",
                "annotations",
                "cluster-autoscaler.kubernetes.io~1safe-to-evict-local-volumes",
                "",
            ] => true,
            ["spec", "containers", ..] => path.ends_with("/value") && path.contains("/env/"),
            _ => false,
        }
    };
    match operation {
        // Adding a member that is there would replace it; adding to a list never does.
        Operation::Add { path, .. } => {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            pod.pointer(parent).is_some_and(Value::is_array) || pod.pointer(path).is_none_or(Value::is_null)
        }
        Operation::Replace { path, .. } => ours(path),
        Operation::Move { from, .. } => ours(from),
    }
}
