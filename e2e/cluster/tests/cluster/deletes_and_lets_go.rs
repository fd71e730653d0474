//! What is deleted in the cluster is deleted in the server, in any order, and nothing is ever stuck.

use flipt_e2e_cluster::{Editor, TIMEOUT, in_namespace, kubectl, kubectl_apply, release, until};
use serde_json::{Value, json};

use crate::manifests::shop;

async fn gone(editor: &Editor, path: &str) -> bool {
    editor.send("GET", path, &Value::Null).await.is_ok_and(|answer| answer.status == 404)
}

#[tokio::test]
async fn a_segment_in_use_waits_for_its_flag_and_both_leave_the_server() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        kubectl(&["delete", "fliptsegment", "nordic", "--namespace", &namespace, "--wait=false"])
            .await
            .unwrap();
        release::says(&namespace, "fliptsegment/nordic", "Ready", "InUse").await.unwrap();
        kubectl(&["delete", "fliptflag", "banner", "--namespace", &namespace, "--timeout", TIMEOUT])
            .await
            .unwrap();
        release::gone(&namespace, "fliptsegment/nordic").await.unwrap();
        for path in [
            format!("/api/v1/namespaces/{namespace}/flags/banner"),
            format!("/api/v1/namespaces/{namespace}/segments/nordic"),
        ] {
            assert!(gone(&editor, &path).await, "{path} is still there");
        }
        kubectl(&["delete", "fliptnamespace", &namespace, "--namespace", &namespace, "--timeout", TIMEOUT])
            .await
            .unwrap();
        assert!(gone(&editor, &format!("/api/v1/namespaces/{namespace}")).await);
    })
    .await;
}

#[tokio::test]
async fn what_is_orphaned_stays_and_belongs_to_nobody() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let manifests =
            shop(&namespace, true).replace("enabled: true", "enabled: true\n  deletionPolicy: Orphan");
        kubectl_apply(&namespace, &manifests).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        kubectl(&["delete", "fliptflag", "banner", "--namespace", &namespace, "--timeout", TIMEOUT])
            .await
            .unwrap();
        let editor = Editor::new(&client).await.unwrap();
        assert_eq!(editor.flag(&namespace, "banner").await.unwrap()["enabled"], true);
        assert_eq!(editor.switch(&namespace, false).await.unwrap().status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_namespace_of_the_cluster_is_gone_with_all_that_was_in_it() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let inner = format!("{namespace}-inner");
        kubectl(&["create", "namespace", &inner]).await.unwrap();
        kubectl_apply(&inner, &shop(&inner, true)).await.unwrap();
        release::ready(&inner, "fliptflag/banner").await.unwrap();
        kubectl(&["delete", "namespace", &inner, "--timeout", TIMEOUT]).await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        until("the flag has left the server", || {
            let path = format!("/api/v1/namespaces/{inner}/flags/banner");
            let editor = &editor;
            async move { gone(editor, &path).await }
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn resources_whose_server_is_deleted_or_does_not_answer_can_be_deleted() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let server = json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer", "metadata": { "name": "dead" },
            "spec": { "external": { "url": "http://127.0.0.1:9" } },
        });
        kubectl_apply(&namespace, &server.to_string()).await.unwrap();
        let flag = shop(&namespace, true).replace("name: main, namespace: flipt-system", "name: dead");
        kubectl_apply(&namespace, &flag).await.unwrap();
        release::says(&namespace, "fliptserver/dead", "Ready", "ServerUnavailable").await.unwrap();
        release::says(&namespace, "fliptflag/banner", "Ready", "ServerUnavailable").await.unwrap();
        kubectl(&["delete", "fliptserver", "dead", "--namespace", &namespace, "--timeout", TIMEOUT])
            .await
            .unwrap();
        release::says(&namespace, "fliptflag/banner", "Ready", "ServerNotFound").await.unwrap();
        kubectl(&[
            "delete",
            "fliptflag,fliptsegment,fliptnamespace",
            "--all",
            "--namespace",
            &namespace,
            "--timeout",
            TIMEOUT,
        ])
        .await
        .unwrap();
    })
    .await;
}
