//! Whatever is dead for a minute, a running pod answers; and afterwards changes arrive again, without a restart.

use std::time::{Duration, Instant};

use flipt_e2e_cluster::{
    App, Editor, Outage, TIMEOUT, cluster_is_ours, in_namespace, kubectl, kubectl_apply, kubernetes_recovers,
    object_store, release, until,
};
use serde_json::Value;

use crate::manifests::{banner, shop};

/// How long each is dead.
const OUTAGE: Duration = Duration::from_secs(60);

/// Kills all pods of a Deployment, and keeps them away.
async fn kill(namespace: &str, deployment: &str, selector: &str) {
    kubectl(&["scale", "deployment", deployment, "--replicas", "0", "--namespace", namespace]).await.unwrap();
    let kill =
        ["delete", "pod", "--selector", selector, "--namespace", namespace, "--grace-period", "0", "--force"];
    kubectl(&kill).await.unwrap();
}

async fn revive(namespace: &str, deployment: &str, replicas: &str) {
    kubectl(&["scale", "deployment", deployment, "--replicas", replicas, "--namespace", namespace])
        .await
        .unwrap();
    let rollout = format!("deployment/{deployment}");
    kubectl(&["rollout", "status", &rollout, "--namespace", namespace, "--timeout", TIMEOUT]).await.unwrap();
}

/// Waits out an outage, and shows how the application fared.
async fn wait_out(app: &App, what: &str, before: &Value) {
    tokio::time::sleep(OUTAGE).await;
    let after = app.record().await.unwrap();
    let evaluations = after["evaluations"].as_u64().unwrap() - before["evaluations"].as_u64().unwrap();
    assert_eq!(after["failed"], before["failed"], "{what}: {after}");
    assert!(evaluations > 600, "{what}: only {evaluations} evaluations in a minute");
    println!(
        "{what} dead for {} s: {evaluations} evaluations, 0 failed, slowest {} ms",
        OUTAGE.as_secs(),
        after["slowest_ms"]
    );
}

#[tokio::test]
async fn no_evaluation_fails_while_a_part_is_dead_for_a_minute() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        object_store::give_credentials(&client, &namespace).await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, false)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let app = App::start(&client, &namespace, "steady", &namespace).await.unwrap();
        let first = app.decides(false).await.unwrap();
        let path = "jsonpath={.status.containerStatuses[*].restartCount} {.status.initContainerStatuses[*].restartCount}";
        let restarts = async || kubectl(&["get", "pod", &app.pod, "--namespace", &namespace, "--output", path]).await.unwrap();
        let mut enabled = false;
        // A change by kubectl goes through all parts: API server, operator, server, object store, sidecar.
        let mut recovers = async |what: &str| {
            enabled = !enabled;
            let began = Instant::now();
            let applied = until("kubectl apply succeeds", || async {
                kubectl_apply(&namespace, &banner(&namespace, enabled, "")).await.is_ok()
            });
            applied.await.unwrap();
            let record = app.decides(enabled).await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
            assert_eq!(record["failed"], first["failed"], "{what}: {record}");
            println!("{what} back: a change by kubectl reached the pod after {:.1} s", began.elapsed().as_secs_f64());
        };
        recovers("nothing").await;

        let before = app.record().await.unwrap();
        kill(object_store::STORE_NAMESPACE, "s3", "app=s3").await;
        wait_out(&app, "the object store", &before).await;
        revive(object_store::STORE_NAMESPACE, "s3", "1").await;
        recovers("the object store").await;

        let before = app.record().await.unwrap();
        kill(release::SYSTEM, "flipt-server", "app.kubernetes.io/component=server").await;
        wait_out(&app, "the server", &before).await;
        revive(release::SYSTEM, "flipt-server", "1").await;
        recovers("the server").await;

        let before = app.record().await.unwrap();
        kill(release::SYSTEM, "flipt-operator", "app.kubernetes.io/component=operator").await;
        wait_out(&app, "the operator", &before).await;
        revive(release::SYSTEM, "flipt-operator", "2").await;
        recovers("the operator").await;

        if cluster_is_ours() {
            let before = app.record().await.unwrap();
            let outage = Outage::of("kube-apiserver").unwrap();
            wait_out(&app, "the API server", &before).await;
            outage.end().await.unwrap();
            recovers("the API server").await;
            // What we made has recovered; what comes next needs the rest of Kubernetes, too.
            let began = Instant::now();
            kubernetes_recovers(&client, &namespace).await.unwrap();
            println!("Kubernetes recovered after {:.0} s more", began.elapsed().as_secs_f64());
        } else {
            println!("the API server was not killed: the cluster is not ours");
        }
        assert_eq!(restarts().await, "0 0");
        let editor = Editor::new(&client).await.unwrap();
        assert_eq!(editor.flag(&namespace, "banner").await.unwrap()["enabled"], enabled);
    })
    .await;
}

#[tokio::test]
async fn a_resource_that_is_deleted_while_the_server_is_dead_leaves_it_afterwards() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        kill(release::SYSTEM, "flipt-server", "app.kubernetes.io/component=server").await;
        // A pod that is deleted by force goes on until the kubelet has heard of it.
        until("the server is dead", || async { editor.send("GET", "/health", &Value::Null).await.is_err() })
            .await
            .unwrap();
        kubectl(&["delete", "fliptflag", "banner", "--namespace", &namespace, "--wait=false"]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let still = kubectl(&["get", "fliptflag", "banner", "--namespace", &namespace]).await;
        assert!(still.is_ok(), "it is gone before the server could be told");
        revive(release::SYSTEM, "flipt-server", "1").await;
        release::gone(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/flags/banner");
        assert_eq!(editor.send("GET", &path, &Value::Null).await.unwrap().status, 404);
    })
    .await;
}
