//! What people see of the custom resources with `kubectl`.

use flipt_crds::{CATEGORY, ConditionType, FliptFlag, GROUP, Reason, ResourceStatus, condition};
use flipt_e2e_cluster::{in_namespace, install_definitions, kubectl, resource_of, until, until_some};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::samples;

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn one_command_lists_what_there_is_of_every_kind() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        for sample in samples::accepted().values() {
            if !sample["kind"].as_str().unwrap().starts_with("Cluster") {
                let object = serde_json::from_value(sample.clone()).unwrap();
                resource_of(&client, &namespace, sample)
                    .create(&PostParams::default(), &object)
                    .await
                    .unwrap();
            }
        }

        // As the operator does it: the status apart from the spec, whose generation stays.
        let flags = Api::<FliptFlag>::namespaced(client.clone(), &namespace);
        let created = flags.get("flag").await.unwrap();
        let generation = created.metadata.generation;
        let now: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let mut status = ResourceStatus {
            observed_generation: generation,
            key: Some("new_checkout".into()),
            last_sync_time: Some(now.clone()),
            server_revision: Some("18231".into()),
            ..ResourceStatus::default()
        };
        condition::set(
            &mut status.conditions,
            ConditionType::Ready,
            true,
            Reason::Synced,
            "the server holds it",
            generation,
            now,
        );
        let patch = json!({ "apiVersion": "flipt.io/v1alpha1", "kind": "FliptFlag", "status": status });
        let params = PatchParams::apply("flipt-operator").force();
        let patched = flags.patch_status("flag", &params, &Patch::Apply(&patch)).await.unwrap();
        assert_eq!(patched.metadata.generation, generation);
        assert_eq!(patched.spec, created.spec);
        // The same once more is no change, and wakes nobody.
        let again = flags.patch_status("flag", &params, &Patch::Apply(&patch)).await.unwrap();
        assert_eq!(again.metadata.resource_version, patched.metadata.resource_version);

        // kubectl remembers which kinds there are, until it is asked for them.
        until("kubectl knows all kinds", || async {
            let known = kubectl(&["api-resources", "--api-group", GROUP, "--no-headers"]).await.unwrap();
            known.lines().count() == 7
        })
        .await
        .unwrap();
        let listed = kubectl(&["get", CATEGORY, "--namespace", &namespace]).await.unwrap();
        let lines: Vec<_> = listed.lines().map(words).collect();
        let has = |line: &[&str]| {
            assert!(lines.iter().any(|words| words.starts_with(line)), "{line:?} is not in\n{listed}");
        };
        has(&["NAME", "KEY", "FLIPT-NAMESPACE", "TYPE", "ENABLED", "READY", "REASON", "SYNCED", "AGE"]);
        has(&["fliptflag.flipt.io/flag", "new_checkout", "shop", "VARIANT", "true", "True", "Synced"]);
        has(&["NAME", "VERSION", "REPLICAS", "URL", "FLAGS", "READY", "AGE"]);
        has(&["NAME", "SCHEDULE", "LAST-SUCCESS", "REVISION", "FLAGS", "SIZE", "READY", "AGE"]);
        has(&["fliptsnapshotexport.flipt.io/export", "*/5", "8-18", "*", "*", "Mon-Fri"]);
        for name in ["fliptserver.flipt.io/server", "fliptnamespace.flipt.io/namespace"] {
            has(&[name]);
        }
        for name in ["fliptsegment.flipt.io/segment", "fliptsidecarprofile.flipt.io/profile"] {
            has(&[name]);
        }

        // Short names, and more columns for those who ask.
        let wide =
            kubectl(&["get", "fflag", "flag", "--namespace", &namespace, "--output", "wide"]).await.unwrap();
        assert!(words(wide.lines().next().unwrap()).ends_with(&["SERVER", "REVISION", "HASH"]), "{wide}");
        assert!(wide.contains("18231"), "{wide}");
        for name in ["fsrv", "fns", "fseg", "fexp", "fprof", "cfprof"] {
            kubectl(&["get", name, "--namespace", &namespace]).await.unwrap();
        }
        // Documentation is gathered a moment after a kind is served.
        let explained = until_some("kubectl explains a field", || async {
            kubectl(&["explain", "fliptflag.spec.rules.segments"]).await.ok()
        })
        .await
        .unwrap();
        assert!(explained.contains("Keys of the segments"), "{explained}");
    })
    .await;
}

#[tokio::test]
async fn the_spec_cannot_be_changed_by_way_of_the_status() {
    in_namespace(|client, namespace| async move {
        install_definitions(&client).await;
        let samples = samples::accepted();
        let flags = Api::<FliptFlag>::namespaced(client, &namespace);
        let flag = serde_json::from_value(samples["flag"].clone()).unwrap();
        let created = flags.create(&PostParams::default(), &flag).await.unwrap();
        let patch = json!({ "spec": { "enabled": false }, "status": { "key": "k" } });
        let patched =
            flags.patch_status("flag", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        assert!(created.spec.enabled && patched.spec.enabled);
        assert_eq!(patched.status.unwrap().key.as_deref(), Some("k"));
    })
    .await;
}
