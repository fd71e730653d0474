//! An operator that watches some namespaces looks after their objects, injects into their pods, evicts those of them that
//! were missed, and leaves all others alone.

use flipt_e2e_cluster::{
    app, apply, in_namespace, kubectl, kubectl_apply, reach::ready_pod, release, until, wait_for_account,
};
use serde_json::json;

use crate::{manifests::shop, pods::create_pods};

/// A pod that the webhook never saw: it is labelled only once it is there.
async fn miss(client: &kube::Client, namespace: &str) -> String {
    let mut template = app::template("missed", namespace, "serve");
    template["metadata"]["labels"] = json!({ "app": "missed" });
    apply(client, namespace, &app::deployment("missed", &template)).await.unwrap();
    let pod = ready_pod(client, namespace, "app=missed").await.unwrap().metadata.name.unwrap();
    kubectl(&["label", "pod", &pod, "flipt.io/inject=true", "--namespace", namespace]).await.unwrap();
    pod
}

async fn is_there(namespace: &str, pod: &str) -> bool {
    kubectl(&["get", "pod", pod, "--namespace", namespace]).await.is_ok()
}

#[tokio::test]
async fn others_are_left_alone_until_it_watches_all_again() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        let other = format!("{namespace}-other");
        kubectl(&["create", "namespace", &other]).await.unwrap();
        wait_for_account(&client, &other).await;
        let mut values = release::values();
        values["operator"] = json!({ "watchNamespaces": [namespace], "evictMissed": true });
        release::upgrade(&release::chart(), &values).await.unwrap();

        let (missed, left_alone) = (miss(&client, &namespace).await, miss(&client, &other).await);
        kubectl_apply(&other, &shop(&other, true)).await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        until("pods get sidecars", || async { create_pods(&namespace, 20).await == 0 }).await.unwrap();
        until("the missed pod is evicted", || async { !is_there(&namespace, &missed).await }).await.unwrap();
        // What has been done for one would have been done for the other by now.
        assert_eq!(create_pods(&other, 20).await, 20);
        assert!(is_there(&other, &left_alone).await, "a pod of another namespace was evicted");
        let status = ["get", "fliptflag", "banner", "--namespace", &other, "--output", "jsonpath={.status}"];
        assert_eq!(kubectl(&status).await.unwrap(), "", "an object of another namespace was looked after");

        release::upgrade(&release::chart(), &release::values()).await.unwrap();
        release::ready(&other, "fliptflag/banner").await.unwrap();
        kubectl(&["delete", "namespace", &other, "--wait=false"]).await.unwrap();
    })
    .await;
}
