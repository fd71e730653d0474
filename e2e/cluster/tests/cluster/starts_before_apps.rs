//! The sidecar is there before the application, ends after it, and changes neither Jobs nor classes of service.

use flipt_e2e_cluster::{Editor, TIMEOUT, app, apply, in_namespace, kubectl, object_store, release, until};
use serde_json::{Value, json};

async fn ready(client: &kube::Client, namespace: &str) {
    release::install(client).await;
    object_store::give_credentials(client, namespace).await.unwrap();
    let editor = Editor::new(client).await.unwrap();
    editor.make_banner(namespace, true).await.unwrap();
    // Until the snapshot with it is published, a pod would start with the one before.
    let flag = format!("\"{namespace}\"");
    until("the snapshot is published", || async {
        published().await.is_some_and(|text| text.contains(&flag))
    })
    .await
    .unwrap();
    // Keys of tokens come with the first pod of a namespace, or with its label; who asks only once cannot wait for them.
    kubectl(&["label", "namespace", namespace, "flipt.io/injection=enabled"]).await.unwrap();
    until("the keys of tokens are there", || async {
        kubectl(&["get", "configmap", "flipt-trust", "--namespace", namespace]).await.is_ok()
    })
    .await
    .unwrap();
}

/// The content of the current snapshot.
async fn published() -> Option<String> {
    let pointer = object_store::object("e2e/v1/default/current.json").await.ok()?;
    let pointer: Value = serde_json::from_slice(&pointer).ok()?;
    let object = object_store::object(&format!("e2e/v1/default/{}", pointer["path"].as_str()?)).await.ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(object.as_slice()), &mut text).ok()?;
    Some(text)
}

#[tokio::test]
async fn an_init_container_evaluates() {
    in_namespace(|client, namespace| async move {
        ready(&client, &namespace).await;
        let mut template = app::template("early", &namespace, "serve");
        let mut init = template["spec"]["containers"][0].clone();
        init["name"] = "early".into();
        init["args"] = json!(["once"]);
        template["spec"]["initContainers"] = json!([init]);
        let started = app::App::deploy(&client, &namespace, "early", &template).await.unwrap();
        let printed = kubectl(&["logs", &started.pod, "--namespace", &namespace, "--container", "early"])
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(printed.trim()).unwrap_or_else(|_| panic!("{printed}"));
        assert_eq!((&answer["status"], &answer["body"]["enabled"]), (&200.into(), &true.into()), "{printed}");
        let path = "jsonpath={.spec.initContainers[*].name}";
        let order = kubectl(&["get", "pod", &started.pod, "--namespace", &namespace, "--output", path])
            .await
            .unwrap();
        assert_eq!(order, "flipt-sidecar early");
    })
    .await;
}

#[tokio::test]
async fn a_job_with_a_sidecar_completes() {
    in_namespace(|client, namespace| async move {
        ready(&client, &namespace).await;
        let mut template = app::template("batch", &namespace, "once");
        template["spec"]["restartPolicy"] = "Never".into();
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "batch" },
            "spec": { "backoffLimit": 0, "template": template },
        });
        apply(&client, &namespace, &job).await.unwrap();
        let wait = [
            "wait",
            "--for=condition=complete",
            "job/batch",
            "--namespace",
            &namespace,
            "--timeout",
            TIMEOUT,
        ];
        kubectl(&wait).await.unwrap();
        let printed =
            kubectl(&["logs", "job/batch", "--namespace", &namespace, "--container", "app"]).await.unwrap();
        assert!(printed.contains("\"enabled\":true"), "{printed}");
    })
    .await;
}

#[tokio::test]
async fn a_guaranteed_pod_stays_guaranteed() {
    in_namespace(|client, namespace| async move {
        ready(&client, &namespace).await;
        let mut template = app::template("sure", &namespace, "serve");
        let resources = json!({ "cpu": "50m", "memory": "32Mi" });
        template["spec"]["containers"][0]["resources"] =
            json!({ "requests": resources, "limits": resources });
        let started = app::App::deploy(&client, &namespace, "sure", &template).await.unwrap();
        let path = "jsonpath={.status.qosClass} {.spec.initContainers[0].resources}";
        let class = kubectl(&["get", "pod", &started.pod, "--namespace", &namespace, "--output", path])
            .await
            .unwrap();
        assert!(class.starts_with("Guaranteed "), "{class}");
        started.decides(true).await.unwrap();
    })
    .await;
}
