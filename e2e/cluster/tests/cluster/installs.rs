//! `helm install` and `kubectl apply` are all it takes: everything is ready, visible in the server, and readable.

use flipt_e2e_cluster::{Editor, in_namespace, kubectl, kubectl_apply, release};

use crate::manifests::shop;

#[tokio::test]
async fn what_kubectl_applies_is_ready_and_in_the_server() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let began = std::time::Instant::now();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        for resource in
            [format!("fliptnamespace/{namespace}"), "fliptsegment/nordic".into(), "fliptflag/banner".into()]
        {
            release::ready(&namespace, &resource).await.unwrap();
        }
        println!(
            "from kubectl apply of a namespace, a segment and a flag to Ready=True: {} ms",
            began.elapsed().as_millis()
        );

        let editor = Editor::new(&client).await.unwrap();
        let flag = editor.flag(&namespace, "banner").await.unwrap();
        assert_eq!((&flag["enabled"], &flag["type"]), (&true.into(), &"BOOLEAN_FLAG_TYPE".into()), "{flag}");
        let segment = editor
            .done("GET", &format!("/api/v1/namespaces/{namespace}/segments/nordic"), &serde_json::Value::Null)
            .await
            .unwrap();
        assert_eq!(segment["constraints"][0]["operator"], "isoneof", "{segment}");

        release::ready(release::SYSTEM, "fliptserver/main").await.unwrap();
        let listed = kubectl(&["get", "flipt", "--all-namespaces"]).await.unwrap();
        println!("$ kubectl get flipt -A\n{listed}");
        for column in ["KEY", "READY", "REASON", "SCHEDULE", "LAST-SUCCESS", "URL", "VERSION"] {
            assert!(listed.contains(column), "{column} is missing:\n{listed}");
        }
        let line = listed
            .lines()
            .find(|line| line.contains("fliptflag.flipt.io/banner") && line.starts_with(&namespace));
        let line = line.unwrap_or_else(|| panic!("the flag is not listed:\n{listed}"));
        for word in ["banner", "BOOLEAN", "true", "True", "Synced"] {
            assert!(line.split_whitespace().any(|found| found == word), "{word} is missing: {line}");
        }
        assert!(listed.lines().all(|line| line.len() <= 240), "a line is longer than any screen:\n{listed}");
    })
    .await;
}
