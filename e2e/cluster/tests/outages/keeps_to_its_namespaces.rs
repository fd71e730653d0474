//! An operator that watches some namespaces looks after their objects, injects into their pods, evicts those of them that
//! were missed, and leaves all others alone.

use flipt_e2e_cluster::{in_namespace, kubectl, kubectl_apply, release, until, wait_for_account};
use serde_json::json;

use crate::{manifests::shop, missed::missed_pod, pods::create_pods};

/// Name of the pod, followed by the time of its deletion if it is about to go; nothing if it is gone.
async fn seen(namespace: &str, pod: &str) -> Option<String> {
    let path = "jsonpath={.metadata.name}{.metadata.deletionTimestamp}";
    let get = ["get", "pod", pod, "--namespace", namespace, "--ignore-not-found", "--output", path];
    kubectl(&get).await.ok()
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
        // Operators that watched all would ask for what their role lets them have no more.
        let none =
            ["scale", "deployment", "flipt-operator", "--replicas", "0", "--namespace", release::SYSTEM];
        kubectl(&none).await.unwrap();
        until("the operators are gone", || async {
            release::operators().await.is_ok_and(|pods| pods.is_empty())
        })
        .await
        .unwrap();
        release::replace(&values).await.unwrap();

        let missed = missed_pod(&client, &namespace).await;
        let left_alone = missed_pod(&client, &other).await;
        kubectl_apply(&other, &shop(&other, true)).await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        until("pods get sidecars", || async { create_pods(&namespace, 20).await == 0 }).await.unwrap();
        until("the missed pod is evicted", || async {
            seen(&namespace, &missed).await.as_deref() == Some("")
        })
        .await
        .unwrap();
        // What has been done for one would have been done for the other by now.
        assert_eq!(create_pods(&other, 20).await, 20);
        let seen = seen(&other, &left_alone).await.unwrap();
        assert_eq!(seen, left_alone, "a pod of another namespace was evicted");
        let status = ["get", "fliptflag", "banner", "--namespace", &other, "--output", "jsonpath={.status}"];
        assert_eq!(kubectl(&status).await.unwrap(), "", "an object of another namespace was looked after");

        release::replace(&release::values()).await.unwrap();
        release::ready(&other, "fliptflag/banner").await.unwrap();
        kubectl(&["delete", "namespace", &other, "--wait=false"]).await.unwrap();
    })
    .await;
}
