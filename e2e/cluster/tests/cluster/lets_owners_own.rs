//! What an object of the cluster owns, editors cannot change, but for what it leaves to them, and in an emergency.

use flipt_e2e_cluster::{Editor, TIMEOUT, in_namespace, kubectl, kubectl_apply, release, until};
use serde_json::{Value, json};

use crate::manifests::{banner, shop};

async fn enabled(editor: &Editor, namespace: &str) -> bool {
    editor.flag(namespace, "banner").await.unwrap()["enabled"] == true
}

#[tokio::test]
async fn edits_are_refused_unless_they_are_left_to_the_ui() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        kubectl_apply(&namespace, &shop(&namespace, false)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();

        let refused = editor.switch(&namespace, true).await.unwrap();
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!(refused.status, 409, "{text}");
        assert!(
            text.contains("managed by kubernetes") && text.contains(&format!("{namespace}/banner")),
            "{text}"
        );
        assert!(!enabled(&editor, &namespace).await);

        kubectl_apply(&namespace, &banner(&namespace, false, "uiEditable: [Enabled]")).await.unwrap();
        let editable = until("the switch is left to the UI", || async {
            editor.switch(&namespace, true).await.is_ok_and(|answer| answer.status == 200)
        });
        editable.await.unwrap();
        // Nobody takes it back, also not with the next change of the object.
        kubectl_apply(
            &namespace,
            &banner(&namespace, false, "uiEditable: [Enabled]\n  description: Changed"),
        )
        .await
        .unwrap();
        until("the object's change is in the server", || async {
            editor.flag(&namespace, "banner").await.is_ok_and(|flag| flag["description"] == "Changed")
        })
        .await
        .unwrap();
        assert!(enabled(&editor, &namespace).await);
        let path = format!("/api/v1/namespaces/{namespace}/flags/banner");
        let deleted = editor.send("DELETE", &path, &Value::Null).await.unwrap();
        assert_eq!(deleted.status, 409);
    })
    .await;
}

#[tokio::test]
async fn an_override_holds_until_its_end() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        let path = format!("/ownership/v1/environments/default/namespaces/{namespace}/flags/banner/override");
        let body = json!({ "enabled": false, "durationSeconds": "60", "reason": "the shop is on fire" });
        editor.done("PUT", &path, &body).await.unwrap();
        assert!(!enabled(&editor, &namespace).await);
        release::says(&namespace, "fliptflag/banner", "Overridden", "True").await.unwrap();
        // Meanwhile the object changes otherwise, and the override holds.
        kubectl_apply(&namespace, &banner(&namespace, true, "description: Changed")).await.unwrap();
        until("the object's change is in the server", || async {
            editor.flag(&namespace, "banner").await.is_ok_and(|flag| flag["description"] == "Changed")
        })
        .await
        .unwrap();
        assert!(!enabled(&editor, &namespace).await);
        until("the override has ended", || enabled(&editor, &namespace)).await.unwrap();
        until("the object says so", || async {
            let path = "jsonpath={.status.conditions[*].type}";
            let said =
                kubectl(&["get", "fliptflag/banner", "--namespace", &namespace, "--output", path]).await;
            said.is_ok_and(|said| said.contains("Ready") && !said.contains("Overridden"))
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_there_already_is_not_taken_over_unless_it_is_the_same_or_forced() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let editor = Editor::new(&client).await.unwrap();
        editor.make_banner(&namespace, true).await.unwrap();
        let flag = |further: &str| banner(&namespace, false, further).replace("rollouts:", "rollouts: [] #");
        kubectl_apply(&namespace, &flag("name: Banner")).await.unwrap();
        release::says(&namespace, "fliptflag/banner", "Ready", "NotAdopted").await.unwrap();
        assert!(enabled(&editor, &namespace).await);
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
        let message =
            kubectl(&["get", "fliptflag/banner", "--namespace", &namespace, "--output", path]).await.unwrap();
        assert!(message.contains("enabled"), "the message shows no difference: {message}");
        kubectl_apply(&namespace, &flag("adoptionPolicy: Force")).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        assert!(!enabled(&editor, &namespace).await);

        // Another object for the same key.
        let second = flag("key: banner").replace("name: banner", "name: second");
        kubectl_apply(&namespace, &second).await.unwrap();
        release::says(&namespace, "fliptflag/second", "Ready", "Conflict").await.unwrap();
        let path = "jsonpath={.status.owner}";
        let owner =
            kubectl(&["get", "fliptflag/second", "--namespace", &namespace, "--output", path]).await.unwrap();
        assert!(owner.ends_with(&format!("{namespace}/banner")), "{owner}");
    })
    .await;
}

#[tokio::test]
async fn a_server_takes_resources_of_granted_namespaces_only_and_says_what_is_missing() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let flag = banner(&namespace, true, "");
        // Neither its Flipt namespace nor its segment is there yet: they come later, in any order.
        kubectl_apply(&namespace, &flag).await.unwrap();
        release::says(&namespace, "fliptflag/banner", "Ready", "ReferenceNotFound").await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        kubectl_apply(
            &namespace,
            &flag.replace("name: banner", "name: lost").replace("name: main", "name: nowhere"),
        )
        .await
        .unwrap();
        release::says(&namespace, "fliptflag/lost", "Ready", "ServerNotFound").await.unwrap();

        let closed = json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer",
            "metadata": { "name": namespace, "namespace": release::SYSTEM },
            "spec": {
                "external": { "url": "http://flipt-server.flipt-system.svc:8080" },
                "auth": { "serviceAccountToken": {} },
            },
        });
        kubectl_apply(release::SYSTEM, &closed.to_string()).await.unwrap();
        let other =
            flag.replace("name: banner", "name: closed").replace("name: main", &format!("name: {namespace}"));
        kubectl_apply(&namespace, &other).await.unwrap();
        release::says(&namespace, "fliptflag/closed", "Ready", "NotGranted").await.unwrap();
        kubectl(&["delete", "fliptserver", &namespace, "--namespace", release::SYSTEM]).await.unwrap();
        kubectl(&["delete", "fliptflag", "closed", "lost", "--namespace", &namespace, "--timeout", TIMEOUT])
            .await
            .unwrap();
    })
    .await;
}
