//! Whatever the pod is: nothing of others is lost, and nothing panics.

use flipt_injector::{Operation, Outcome, Profile, SourceLocation, apply, inject};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::pods::{is_allowed, patched, plain, profile, settings, sidecar};

#[test]
fn fields_that_are_newer_than_this_program_survive() {
    let mut pod = plain();
    pod["spec"]["schedulingGroup"] = json!({"podGroupName": "x"});
    pod["spec"]["containers"][0]["restartPolicyRules"] = json!([{"action": "Restart"}]);
    pod["metadata"]["future"] = json!([1, {"a": null}]);
    let after = patched(&pod, &inject(&pod, &profile(json!({})), &settings()));
    assert_eq!(after["spec"]["schedulingGroup"], pod["spec"]["schedulingGroup"]);
    assert_eq!(after["spec"]["containers"][0]["restartPolicyRules"], json!([{"action": "Restart"}]));
    assert_eq!(after["metadata"]["future"], pod["metadata"]["future"]);
    assert_eq!(sidecar(&after)["name"], "flipt-sidecar");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "[a-z/~.*]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z/~.]{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("app"),
        Just("setup"),
        Just("istio-proxy"),
        Just("linkerd-init"),
        Just("flipt-token"),
        Just("flipt-sidecar"),
        Just("FLIPT_URL"),
    ]
}

fn container() -> impl Strategy<Value = Value> {
    let amounts = prop_oneof![
        Just(json!({})),
        Just(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        Just(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "2"}})),
    ];
    let port = prop_oneof![18079u32..18084, 18999u32..19002, any::<u32>()];
    let variable = (name(), any_json()).prop_map(|(name, value)| json!({"name": name, "value": value}));
    (
        name(),
        amounts,
        prop::collection::vec(port.prop_map(|port| json!({"containerPort": port})), 0..3),
        prop::option::of(prop::collection::vec(variable, 0..3)),
        prop::option::of(any_json()),
        any::<bool>(),
    )
        .prop_map(|(name, resources, ports, env, unknown, always)| {
            let mut container = json!({"name": name, "resources": resources, "ports": ports, "env": env});
            if let Some(unknown) = unknown {
                container["unknown"] = unknown;
            }
            if always {
                container["restartPolicy"] = json!("Always");
            }
            container
        })
}

fn annotation() -> impl Strategy<Value = (String, Value)> {
    let key = prop_oneof![
        "flipt.io/(namespaces|containers|http-port|grpc-port|health-port|cpu-request|cpu-limit|memory-request|memory-limit|log-level|poll-interval|start-policy|auth-mode|image|status|x)",
        "[a-z]{1,4}/[a-z~]{1,4}",
    ];
    let value = prop_oneof![
        Just("18080"),
        Just("65535"),
        Just("100m"),
        Just("64Mi"),
        Just("app,setup"),
        Just("block"),
        Just("1m"),
        Just("none"),
        Just("*"),
        Just("default"),
        Just("debug"),
        Just("ä\u{0}"),
    ];
    (key, value.prop_map(Value::from))
}

fn pod() -> impl Strategy<Value = Value> {
    (
        prop::collection::vec(container(), 1..4),
        prop::option::of(prop::collection::vec(container(), 0..4)),
        prop::option::of(prop::collection::vec(
            (name(), any_json()).prop_map(|(name, content)| json!({"name": name, "emptyDir": content})),
            0..4,
        )),
        prop::option::of(prop::collection::btree_map("[a-z.]{1,4}/[a-z]{1,3}", "[a-z]{0,3}", 0..3)),
        prop::option::of(prop::collection::vec(annotation(), 0..4)),
        any_json(),
    )
        .prop_map(|(containers, init, volumes, labels, annotations, unknown)| {
            json!({
                "metadata": {
                    "labels": labels,
                    "annotations": annotations.map(|all| Value::Object(all.into_iter().collect::<Map<_, _>>())),
                    "unknown": unknown,
                },
                "spec": {
                    "serviceAccountName": "default",
                    "containers": containers,
                    "initContainers": init,
                    "volumes": volumes,
                    "unknown": unknown,
                },
            })
        })
}

fn any_profile() -> impl Strategy<Value = Profile> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 1024u16..).prop_map(
        |(disk, none, aws, open, port)| {
            let mut profile = profile(json!({
                "cache": {"medium": if disk { "Disk" } else { "Memory" }, "sizeLimit": "64Mi"},
                "auth": {"mode": if none { "none" } else { "same-pod" }},
                "aws": aws.then(|| json!({"roleArn": "arn:aws:iam::123456789012:role/x"})),
                "overridable": if open { json!(["Image", "AuthMode"]) } else { json!([]) },
                "imagePullSecrets": [{"name": "app"}],
                "ports": {"http": port, "grpc": 19000, "health": 18081},
            }));
            if aws {
                profile.sources.push(SourceLocation::Server("http://server".into()));
                profile.sources.push(SourceLocation::ConfigMap("seed".into()));
            }
            profile
        },
    )
}

/// Holds the promises that hold for every pod.
fn check(pod: &Value, profile: &Profile) {
    let injection = inject(pod, profile, &settings());
    let mut after = pod.clone();
    for operation in &injection.patch {
        assert!(is_allowed(&after, operation), "{operation:?} of {after}");
        apply(&mut after, operation).unwrap();
    }
    assert!(injection.warnings.iter().all(|warning| warning.len() <= 250));
    let again = inject(&after, profile, &settings());
    assert_eq!(again.patch, Vec::<Operation>::new());
    match injection.outcome {
        Outcome::Skipped(_) => assert_eq!((&after, again.outcome), (pod, injection.outcome)),
        _ => assert_eq!(again.outcome, Outcome::AlreadyInjected),
    }
    // Members that nobody here knows are as they were.
    for path in ["/metadata/unknown", "/spec/unknown", "/spec/serviceAccountName"] {
        assert_eq!(after.pointer(path), pod.pointer(path));
    }
    let unknown = |pod: &Value| -> Vec<Value> {
        ["initContainers", "containers"]
            .iter()
            .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten())
            .filter(|container| container["name"] != "flipt-sidecar")
            .map(|container| {
                json!([container["name"], container["unknown"], container["ports"], container["resources"]])
            })
            .collect()
    };
    assert_eq!(unknown(&after), unknown(pod));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn twice_is_once_and_nothing_of_others_is_lost(pod in pod(), profile in any_profile()) {
        check(&pod, &profile);
    }

    #[test]
    fn no_json_makes_it_panic(metadata in any_json(), spec in any_json(), container in any_json(), profile in any_profile()) {
        check(&json!({"metadata": metadata, "spec": spec}), &profile);
        check(&json!({"metadata": {"annotations": metadata}, "spec": {"serviceAccountName": "a", "containers": [{"name": "a", "env": container, "volumeMounts": spec}]}}), &profile);
        check(&json!({"metadata": {"labels": metadata}, "spec": {"serviceAccountName": "a", "containers": [{"name": "a", "ports": container}], "volumes": spec}}), &profile);
    }
}
