//! Pods: no JSON makes an injection panic, its patch always fits, and twice is once.

#![no_main]

use std::sync::LazyLock;

use flipt_injector::{Outcome, Profile, Settings, SourceLocation, apply, inject};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile {
    name: "default".into(),
    spec: serde_json::from_value(json!({
        "source": [], "overridable": ["Image", "AuthMode"], "cache": {"medium": "Disk", "sizeLimit": "1Gi"},
    }))
    .expect("the profile is one"),
    sources: vec![SourceLocation::Server("http://server".into()), SourceLocation::ConfigMap("seed".into())],
    environment: "default".into(),
});

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    image: "flipt-sidecar:1".into(),
    version: "1".into(),
    server_audience: "flipt-server".into(),
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(pod) = serde_json::from_slice::<Value>(bytes) else { return };
    let injection = inject(&pod, &PROFILE, &SETTINGS);
    let mut after = pod.clone();
    for operation in &injection.patch {
        apply(&mut after, operation).expect("a step of the patch fits");
    }
    let again = inject(&after, &PROFILE, &SETTINGS);
    assert!(again.patch.is_empty(), "{:?}", again.patch);
    match injection.outcome {
        Outcome::Skipped(_) => assert_eq!(after, pod),
        _ => assert_eq!(again.outcome, Outcome::AlreadyInjected),
    }
});
