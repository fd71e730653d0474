//! A pod starts while the object store is away: it does not wait for ever, and recovers by itself.

use std::time::Instant;

use flipt_e2e_cluster::{
    App, Editor, app, apply, in_namespace, kubectl, kubectl_apply, object_store, release,
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// A Service of the object store's namespace that leads nowhere until its selector is `s3`.
fn gate(name: &str, selector: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": selector }, "ports": [{ "port": 7070, "targetPort": "s3" }] },
    })
}

/// Seconds from the start of the sidecar to that of the application's container.
async fn waited(namespace: &str, pod: &str) -> i64 {
    let get = ["get", "pod", pod, "--namespace", namespace, "--output", "json"];
    let pod: Value = serde_json::from_str(&kubectl(&get).await.unwrap()).unwrap();
    let started = |list: &str| {
        let at = pod["status"][list][0]["state"]["running"]["startedAt"].as_str();
        at.unwrap_or_else(|| panic!("{list}: {pod}")).parse::<Timestamp>().unwrap().as_second()
    };
    started("containerStatuses") - started("initContainerStatuses")
}

#[tokio::test]
async fn a_pod_is_ready_after_half_a_minute_and_recovers_without_a_restart() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        editor.make_banner(&namespace, true).await.unwrap();
        apply(&client, object_store::STORE_NAMESPACE, &gate(&namespace, "nobody")).await.unwrap();
        let mut bucket = object_store::bucket("e2e");
        bucket["endpoint"] = format!("http://{namespace}.{}:7070", object_store::STORE_NAMESPACE).into();
        let profile = json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptSidecarProfile", "metadata": { "name": "gated" },
            "spec": { "source": [{ "s3": bucket }], "pollInterval": "5s" },
        });
        kubectl_apply(&namespace, &profile.to_string()).await.unwrap();
        release::ready(&namespace, "fliptsidecarprofile/gated").await.unwrap();

        let mut template = app::template("cold", &namespace, "serve");
        template["metadata"]["annotations"] = json!({ "flipt.io/profile": "gated" });
        let began = Instant::now();
        let started = App::deploy(&client, &namespace, "cold", &template).await.unwrap();
        println!("ready without the object store after {:.1} s", began.elapsed().as_secs_f64());
        let waited = waited(&namespace, &started.pod).await;
        println!("of which its container waited {waited} s for the sidecar");
        // 30 s of patience, and what a container takes to start.
        assert!((29..=60).contains(&waited), "{waited} s");

        let question = json!({ "namespaceKey": namespace, "flagKey": "banner", "entityId": "u" });
        let answer = started.ask("POST", "/evaluate/v1/boolean", &question, None).await.unwrap();
        assert_eq!(answer["status"], 503, "{answer}");
        let question = json!({ "context": { "targetingKey": "u" } });
        let answer = started.ask("POST", "/ofrep/v1/evaluate/flags/banner", &question, None).await.unwrap();
        assert!(answer.to_string().contains("PROVIDER_NOT_READY"), "{answer}");

        apply(&client, object_store::STORE_NAMESPACE, &gate(&namespace, "s3")).await.unwrap();
        let began = Instant::now();
        started.decides(true).await.unwrap();
        println!("decides {:.1} s after the object store is back", began.elapsed().as_secs_f64());
        let again = App::find(&client, &namespace, "cold").await.unwrap();
        assert_eq!(again.pod, started.pod, "it is another pod");
        let path = "jsonpath={.status.initContainerStatuses[*].restartCount}";
        let arguments = ["get", "pod", &again.pod, "--namespace", &namespace, "--output", path];
        let restarts = kubectl(&arguments).await.unwrap();
        assert_eq!(restarts, "0");
    })
    .await;
}
