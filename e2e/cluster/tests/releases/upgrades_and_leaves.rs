//! `helm upgrade` from the chart of the commit before, and `helm uninstall` in both modes: nothing is stuck or left.

use flipt_e2e_cluster::{
    App, Editor, TIMEOUT, helm, in_namespace, kubectl, kubectl_apply, object_store, release, until,
};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::{
    asks_for_what_it_may::nothing_was_forbidden,
    manifests::{banner, shop},
};

/// Names of all webhook configurations of ours.
async fn webhooks() -> String {
    let arguments = ["get", "mutatingwebhookconfigurations", "--output", "name"];
    let all = kubectl(&arguments).await.unwrap();
    all.lines().filter(|name| name.contains("flipt")).collect()
}

/// Removes the release, and says from when to when.
async fn uninstall() -> (Timestamp, Timestamp) {
    let began = Timestamp::now();
    helm(&["uninstall", release::RELEASE, "--namespace", release::SYSTEM, "--wait", "--timeout", TIMEOUT])
        .await
        .unwrap();
    // Helm waits for the Deployments only; their pods end a moment later.
    until("the operators are gone", || async {
        release::operators().await.is_ok_and(|pods| pods.is_empty())
    })
    .await
    .unwrap();
    until("the Lease is gone with the operators", || async {
        let lease = ["get", "leases", "--namespace", release::SYSTEM, "--output", "name"];
        kubectl(&lease).await.is_ok_and(|listed| listed.is_empty())
    })
    .await
    .unwrap();
    (began, Timestamp::now())
}

#[tokio::test]
async fn a_release_is_upgraded_kept_and_purged() {
    in_namespace(|client, namespace| async move {
        // What the tests before asked for, before it is gone.
        release::install(&client).await;
        release::make_whole().await.unwrap();
        nothing_was_forbidden(&[]).await;

        // Removed, and everything kept.
        object_store::give_credentials(&client, &namespace).await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let app = App::start(&client, &namespace, "kept", &namespace).await.unwrap();
        let decided = app.decides(true).await.unwrap();
        let removed = uninstall().await;
        assert_eq!(webhooks().await, "", "a webhook is left");
        let path = "jsonpath={.metadata.finalizers}";
        let finalizers =
            kubectl(&["get", "fliptflag", "banner", "--namespace", &namespace, "--output", path])
                .await
                .unwrap();
        assert_eq!(finalizers, "", "it could not be deleted without an operator");
        let record = app.record().await.unwrap();
        assert_eq!((&record["failed"], &record["enabled"]), (&decided["failed"], &true.into()), "{record}");

        // The chart of the commit before comes, with all there was, and is upgraded under evaluation.
        let previous = std::env::var("PREVIOUS_CHART").unwrap_or_default();
        assert!(
            !previous.is_empty(),
            "PREVIOUS_CHART names no folder: `make e2e` unpacks the chart of the commit before"
        );
        release::prepare(&client).await.unwrap();
        release::upgrade(&previous, &release::values()).await.unwrap();
        // What the removal held has gone with the operators that were to write no more.
        until("an operator leads", || async {
            let path = "jsonpath={.spec.holderIdentity}";
            let lease = ["get", "lease", "flipt-operator", "--namespace", release::SYSTEM, "--output", path];
            let holder = kubectl(&lease).await.unwrap_or_default();
            !holder.is_empty() && holder != "flipt-operator-uninstall"
        })
        .await
        .unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        release::upgrade(&release::chart(), &release::values()).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        kubectl_apply(&namespace, &banner(&namespace, false, "")).await.unwrap();
        let record = app.decides(false).await.unwrap();
        assert_eq!(record["failed"], decided["failed"], "{record}");
        let upgraded = record;
        let editor = Editor::new(&client).await.unwrap();
        assert_eq!(editor.flag(&namespace, "banner").await.unwrap()["enabled"], false);
        nothing_was_forbidden(&[removed]).await;

        // Removed, and everything with it.
        let mut values = release::values();
        values["uninstall"] = json!({ "mode": "purge" });
        release::upgrade(&release::chart(), &values).await.unwrap();
        uninstall().await;
        assert_eq!(webhooks().await, "", "a webhook is left");
        until("no kind of ours is left", || async {
            kubectl(&["get", "customresourcedefinitions", "--output", "name"])
                .await
                .is_ok_and(|definitions| !definitions.contains("flipt.io"))
        })
        .await
        .unwrap();
        // What is purged is gone for applications too: they are told so, and nothing else.
        let record = app.record().await.unwrap();
        let failures = record["failures"].as_array().into_iter().flatten();
        for failure in failures.skip(upgraded["failures"].as_array().map_or(0, Vec::len)) {
            assert_eq!(failure["what"]["status"], 404, "{record}");
        }
        for stays in ["clusterroles", "clusterrolebindings"] {
            let listed = kubectl(&["get", stays, "--output", "name"]).await.unwrap();
            assert!(!listed.contains("flipt"), "{listed}");
        }
        kubectl(&["delete", "namespace", release::SYSTEM, "--timeout", TIMEOUT]).await.unwrap();
        until("no ConfigMap of ours is left", || async {
            kubectl(&["get", "configmaps", "--all-namespaces", "--output", "name"])
                .await
                .is_ok_and(|listed| !listed.contains("flipt-trust"))
        })
        .await
        .unwrap();
    })
    .await;
}
