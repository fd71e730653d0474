//! What a second call does, after the API server and other webhooks have had the pod in their hands.

use flipt_injector::{InjectionStatus, Outcome, Profile, inject};
use serde_json::{Value, json};

use crate::pods::{
    arguments, default_fields, injected, named, names, patched, plain, profile, settings, sidecar,
};

/// The second call, after something has happened to the pod; the pod that comes of it, and what the call said.
fn again(profile: &Profile, happens: impl FnOnce(&mut Value)) -> (Value, Outcome) {
    let mut pod = injected(&plain(), profile);
    default_fields(&mut pod);
    happens(&mut pod);
    let injection = inject(&pod, profile, &settings());
    let after = patched(&pod, &injection);
    assert!(inject(&after, profile, &settings()).patch.is_empty(), "a third call finds something to do");
    (after, injection.outcome)
}

#[test]
fn nothing_is_done_twice() {
    for spec in [
        json!({}),
        json!({"cache": {"medium": "Disk", "sizeLimit": "65536Ki"}, "aws": {"roleArn": "arn:aws:iam::123456789012:role/x"}}),
        json!({"imagePullSecrets": [{"name": "a"}], "env": [{"name": "A", "value": "b"}]}),
    ] {
        assert_eq!(again(&profile(spec), |_| {}).1, Outcome::AlreadyInjected);
    }
}

#[test]
fn what_others_did_to_the_sidecar_stays() {
    let (pod, outcome) = again(&profile(json!({})), |pod| {
        let sidecar = &mut pod["spec"]["initContainers"][0];
        sidecar["env"].as_array_mut().unwrap().push(json!({"name": "HTTPS_PROXY", "value": "http://proxy"}));
        sidecar["readinessProbe"]["httpGet"]["path"] = json!("/app-health/flipt-sidecar/readyz");
    });
    assert_eq!(outcome, Outcome::AlreadyInjected);
    assert_eq!(sidecar(&pod)["readinessProbe"]["httpGet"]["path"], "/app-health/flipt-sidecar/readyz");
}

#[test]
fn a_container_that_came_later_is_connected_too() {
    let (pod, outcome) = again(&profile(json!({})), |pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "agent"}));
    });
    assert_eq!(outcome, Outcome::Injected);
    assert_eq!(named(&pod["spec"]["containers"][1]["env"], "FLIPT_URL")["value"], "http://127.0.0.1:18080");
}

#[test]
fn a_port_that_was_taken_later_moves_the_sidecar_and_the_address() {
    let (pod, outcome) = again(&profile(json!({})), |pod| {
        let sidecar = &mut pod["spec"]["initContainers"][0];
        sidecar["env"].as_array_mut().unwrap().push(json!({"name": "HTTPS_PROXY", "value": "http://proxy"}));
        pod["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "agent", "ports": [{"containerPort": 18080}], "env": [{"name": "FLIPT_URL", "value": "mine"}]}));
    });
    assert_eq!(outcome, Outcome::Injected);
    assert!(arguments(sidecar(&pod)).contains(&"--listen=127.0.0.1:18081,[::1]:18081"));
    assert_eq!(named(&sidecar(&pod)["env"], "HTTPS_PROXY")["value"], "http://proxy");
    assert_eq!(named(&pod["spec"]["containers"][0]["env"], "FLIPT_URL")["value"], "http://127.0.0.1:18081");
    assert_eq!(named(&pod["spec"]["containers"][1]["env"], "FLIPT_URL")["value"], "mine");
}

#[test]
fn a_mesh_that_came_later_comes_first() {
    let istio =
        [json!({"name": "istio-init"}), json!({"name": "istio-proxy", "restartPolicy": "Always", "env": []})];
    let linkerd =
        [json!({"name": "linkerd-init"}), json!({"name": "linkerd-proxy", "restartPolicy": "Always"})];
    for mesh in [istio, linkerd] {
        for at_end in [true, false] {
            let (pod, _) = again(&profile(json!({})), |pod| {
                let containers = pod["spec"]["initContainers"].as_array_mut().unwrap();
                let at = if at_end { containers.len() } else { 0 };
                containers.splice(at..at, mesh.clone());
                containers.push(json!({"name": "setup"}));
            });
            let order = names(&pod["spec"]["initContainers"]);
            assert_eq!(order, [names(&json!(mesh)), vec!["flipt-sidecar", "setup"]].concat());
            // A mesh's proxy evaluates nothing.
            assert_eq!(pod["spec"]["initContainers"][1]["volumeMounts"], Value::Null);
        }
    }
}

#[test]
fn a_pod_that_is_copied_with_its_sidecar_gets_todays() {
    let old = injected(&plain(), &profile(json!({})));
    let new = profile(json!({"pollInterval": "1m"}));
    let pod = patched(&old, &inject(&old, &new, &settings()));
    assert!(arguments(sidecar(&pod)).contains(&"--poll-interval=1m"));
    assert_eq!(names(&pod["spec"]["initContainers"]), ["flipt-sidecar"]);
    let status = InjectionStatus::of(&pod).unwrap();
    assert_eq!(status.hash, new.hash(&settings()));
    assert_ne!(Some(status.hash), InjectionStatus::of(&old).map(|status| status.hash));
}
