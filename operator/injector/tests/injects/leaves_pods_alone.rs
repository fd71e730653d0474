//! Pods that get no sidecar, and why.

use flipt_injector::{Outcome, SkipReason, inject};
use serde_json::{Value, json};

use crate::pods::{plain, profile, settings};

fn outcome(change: impl FnOnce(&mut Value)) -> Outcome {
    let mut pod = plain();
    change(&mut pod);
    let injection = inject(&pod, &profile(json!({})), &settings());
    if matches!(injection.outcome, Outcome::Skipped(_)) {
        assert!(injection.patch.is_empty());
    }
    injection.outcome
}

#[test]
fn a_pod_that_cannot_have_a_sidecar_is_left_alone_with_the_reason() {
    type Change = fn(&mut Value);
    let cases: [(SkipReason, Change); 12] = [
        (SkipReason::OptedOut, |pod| pod["metadata"]["labels"]["flipt.io/inject"] = json!("false")),
        (SkipReason::HostNetwork, |pod| pod["spec"]["hostNetwork"] = json!(true)),
        (SkipReason::StaticPod, |pod| {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"})
        }),
        (SkipReason::StaticPod, |pod| {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.source": "file"})
        }),
        (SkipReason::Windows, |pod| pod["spec"]["os"] = json!({"name": "windows"})),
        (SkipReason::Windows, |pod| pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"})),
        (SkipReason::Windows, |pod| {
            pod["spec"]["nodeSelector"] = json!({"beta.kubernetes.io/os": "windows"})
        }),
        (SkipReason::NoServiceAccount, |pod| pod["spec"]["serviceAccountName"] = Value::Null),
        (SkipReason::ContainerNameTaken, |pod| pod["spec"]["containers"][0]["name"] = json!("flipt-sidecar")),
        (SkipReason::ContainerNameTaken, |pod| {
            pod["spec"]["initContainers"] = json!([{"name": "flipt-sidecar"}])
        }),
        (SkipReason::Malformed, |pod| pod["spec"]["containers"] = json!([1])),
        (SkipReason::Malformed, |pod| *pod = json!("pod")),
    ];
    for (reason, change) in cases {
        assert_eq!(outcome(change), Outcome::Skipped(reason));
    }
    assert_eq!(outcome(|_| {}), Outcome::Injected);
}

#[test]
fn a_profile_without_a_source_that_exists_starts_no_sidecar_that_never_can() {
    let mut profile = profile(json!({}));
    profile.sources.clear();
    let injection = inject(&plain(), &profile, &settings());
    assert_eq!(injection.outcome, Outcome::Skipped(SkipReason::NoSource));
}

#[test]
fn a_pod_without_owner_is_no_special_case() {
    assert_eq!(outcome(|pod| pod["metadata"] = json!({"name": "bare"})), Outcome::Injected);
}
