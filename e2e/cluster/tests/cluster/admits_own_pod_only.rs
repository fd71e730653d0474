//! A sidecar lets in who shows the token of its own pod, and nobody else. The tokens are those of a real API server.

use flipt_e2e_cluster::{App, Editor, in_namespace, kubectl, object_store, release};
use serde_json::{Value, json};

/// A token of a pod for an audience, as the API server gives it.
async fn token(namespace: &str, pod: &str, audience: &str) -> String {
    let uid =
        kubectl(&["get", "pod", pod, "--namespace", namespace, "--output", "jsonpath={.metadata.uid}"]).await;
    let bound = format!("--bound-object-uid={}", uid.unwrap());
    let arguments = [
        "create",
        "token",
        "default",
        "--namespace",
        namespace,
        "--audience",
        audience,
        "--bound-object-kind",
        "Pod",
        "--bound-object-name",
        pod,
        &bound,
    ];
    kubectl(&arguments).await.unwrap().trim().to_owned()
}

#[tokio::test]
async fn tokens_of_others_are_refused_with_the_reason() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        editor.make_banner(&namespace, true).await.unwrap();
        let one = App::start(&client, &namespace, "one", &namespace).await.unwrap();
        let other = App::start(&client, &namespace, "other", &namespace).await.unwrap();
        one.decides(true).await.unwrap();
        let question = json!({ "namespaceKey": namespace, "flagKey": "banner", "entityId": "u" });
        let ask = async |token: &str| {
            one.ask("POST", "/evaluate/v1/boolean", &question, Some(token)).await.unwrap()
        };

        let own = token(&namespace, &one.pod, "flipt").await;
        assert_eq!(ask(&own).await["status"], 200);
        let broken = format!("{}x", &own[..own.len() - 1]);
        let unsigned = {
            let body = own.split('.').nth(1).unwrap();
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.")
        };
        for (what, token, expected) in [
            ("no token", String::new(), 401),
            ("for another audience", token(&namespace, &one.pod, "somebody").await, 401),
            ("of another signature", broken, 401),
            ("without a signature", unsigned, 401),
            ("not a token", "opaque".to_owned(), 401),
            // It says truly who calls; but not everybody may.
            ("of another pod", token(&namespace, &other.pod, "flipt").await, 403),
        ] {
            let answer: Value = ask(&token).await;
            assert_eq!(answer["status"], expected, "{what}: {answer}");
            if expected == 401 {
                assert!(answer["headers"]["www-authenticate"].is_string(), "{what}: {answer}");
            }
            assert!(
                token.is_empty() || !answer.to_string().contains(&token),
                "{what}: the answer repeats the token"
            );
        }
        let without =
            kubectl(&["create", "token", "default", "--namespace", &namespace, "--audience", "flipt"]).await;
        let answer = ask(without.unwrap().trim()).await;
        assert_eq!(answer["status"], 403, "a token that is bound to no pod: {answer}");
    })
    .await;
}

#[tokio::test]
async fn the_server_lets_in_listed_service_accounts_only() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let editor = Editor::new(&client).await.unwrap();
        let ask = async |token: &str| {
            let path = format!("{}/api/v1/namespaces", editor.url());
            flipt_e2e::http::request("GET", path).bearer(Some(token)).send().await.unwrap().status
        };
        let admin =
            ["create", "token", "flipt-admin", "--namespace", release::SYSTEM, "--audience", "flipt-server"];
        assert_eq!(ask(kubectl(&admin).await.unwrap().trim()).await, 200);
        let stranger =
            ["create", "token", "default", "--namespace", &namespace, "--audience", "flipt-server"];
        let refused = ask(kubectl(&stranger).await.unwrap().trim()).await;
        assert!(matches!(refused, 401 | 403), "{refused}");
        let elsewhere =
            ["create", "token", "flipt-admin", "--namespace", release::SYSTEM, "--audience", "flipt"];
        assert_eq!(ask(kubectl(&elsewhere).await.unwrap().trim()).await, 401);
    })
    .await;
}
