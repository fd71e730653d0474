//! A thousand flags at once: all are ready, a restart writes nothing, drift is undone, deletion leaves nothing behind.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use flipt_e2e_cluster::{
    Editor, TIMEOUT, in_namespace, kubectl, kubectl_apply, kubectl_with, release, until, until_within,
};
use serde_json::Value;

/// How many: a thousand, or `FLAGS=10000`.
fn how_many() -> usize {
    std::env::var("FLAGS").map_or(1_000, |number| number.parse().expect("FLAGS is a number"))
}

/// So many are applied by one call of `kubectl`, which has its own patience.
const STEP: usize = 500;

/// How long so many may take, if a thousand may take so many seconds.
fn patience(flags: usize, seconds: u64) -> Duration {
    Duration::from_secs(seconds * flags.div_ceil(1_000) as u64)
}

/// Manifests of these flags, and of the namespace that they are in.
fn flags(namespace: &str, numbers: std::ops::Range<usize>) -> String {
    let mut text = format!(
        "apiVersion: flipt.io/v1alpha1\nkind: FliptNamespace\nmetadata: {{ name: {namespace} }}\n\
         spec: {{ serverRef: {{ name: main, namespace: flipt-system }} }}\n"
    );
    for number in numbers {
        write!(
            text,
            "---\napiVersion: flipt.io/v1alpha1\nkind: FliptFlag\nmetadata: {{ name: flag-{number} }}\nspec: {{ serverRef: \
             {{ name: main, namespace: flipt-system }}, fliptNamespace: {namespace}, type: BOOLEAN, enabled: true }}\n"
        )
        .unwrap();
    }
    text
}

/// Resource versions of all flags, and how many are ready.
async fn listed(namespace: &str) -> (BTreeMap<String, String>, usize) {
    let printed =
        kubectl(&["get", "fliptflags", "--namespace", namespace, "--output", "json"]).await.unwrap();
    let list: Value = serde_json::from_str(&printed).unwrap();
    let items = list["items"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = items
        .iter()
        .map(|item| (text(&item["metadata"]["name"]), text(&item["metadata"]["resourceVersion"])))
        .collect();
    let ready = items.iter().filter(|item| {
        let conditions = item["status"]["conditions"].as_array().into_iter().flatten();
        conditions.clone().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
    (versions, ready.count())
}

/// Revision of the server's state: every write moves it.
async fn revision(editor: &Editor) -> String {
    let listed = editor.done("GET", "/api/v2/environments/default/namespaces", &Value::Null).await.unwrap();
    listed["revision"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_thousand_flags_are_kept_without_a_needless_write() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        let count = how_many();
        let began = Instant::now();
        for first in (0..count).step_by(STEP) {
            kubectl_apply(&namespace, &flags(&namespace, first..(first + STEP).min(count))).await.unwrap();
        }
        println!("kubectl apply of {count} flags took {:.1} s", began.elapsed().as_secs_f64());
        until_within("all flags are ready", patience(count, 180), || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            listed(&namespace).await.1 == count
        })
        .await
        .unwrap();
        println!("{count} flags are Ready {:.1} s after kubectl apply began", began.elapsed().as_secs_f64());

        let (before, _) = listed(&namespace).await;
        let revision_before = revision(&editor).await;
        let operator = ["rollout", "restart", "deployment/flipt-operator", "--namespace", release::SYSTEM];
        kubectl(&operator).await.unwrap();
        let operator = [
            "rollout",
            "status",
            "deployment/flipt-operator",
            "--namespace",
            release::SYSTEM,
            "--timeout",
            TIMEOUT,
        ];
        kubectl(&operator).await.unwrap();
        // The new leader has compared everything long before.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (after, ready) = listed(&namespace).await;
        let touched = before.iter().filter(|(name, version)| after.get(*name) != Some(version)).count();
        assert_eq!((touched, ready), (0, count), "objects were written by a restart");
        assert_eq!(revision(&editor).await, revision_before, "the server was written to by a restart");
        println!("operator restart: 0 writes to {count} objects, 0 to the server");

        // Somebody changes a flag behind everybody's back, in the server's pod: all is exported, changed, and imported.
        let program = |arguments: &[&'static str]| {
            let pod = [
                "exec",
                "--stdin",
                "deployment/flipt-server",
                "--namespace",
                release::SYSTEM,
                "--",
                "/flipt",
            ];
            [&pod, arguments, &["--config", "/etc/flipt/config/default.yml"]].concat()
        };
        let (document, _) = kubectl_with(&program(&["export", "--all-namespaces"]), "").await.unwrap();
        let flag = document.find("key: flag-7\n").expect("the flag is exported");
        let (before, after) = document.split_at(flag);
        let changed = format!("{before}{}", after.replacen("enabled: true", "enabled: false", 1));
        kubectl_with(&program(&["import", "--drop", "--yes", "--stdin"]), &changed).await.unwrap();
        until_within("the drift is undone", patience(count, 60), || async {
            let flag = editor.flag(&namespace, "flag-7").await.unwrap();
            flag["enabled"] == true
        })
        .await
        .unwrap();
        until("an event tells of it", || async {
            kubectl(&["get", "events", "--namespace", &namespace])
                .await
                .is_ok_and(|events| events.contains("DriftCorrected"))
        })
        .await
        .unwrap();

        let began = Instant::now();
        let all = format!("/apis/flipt.io/v1alpha1/namespaces/{namespace}/fliptflags");
        until_within("all flags are gone", patience(count, 240), || async {
            // The API server gives up a call after a minute, with what is not deleted yet.
            let _ = kubectl(&["delete", "--raw", &all]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            listed(&namespace).await.0.is_empty()
        })
        .await
        .unwrap();
        println!("deleting {count} flags took {:.1} s", began.elapsed().as_secs_f64());
        let path = format!("/api/v1/namespaces/{namespace}/flags");
        let left = editor.done("GET", &path, &Value::Null).await.unwrap();
        assert_eq!(left["totalCount"], 0, "{left}");
        let path = format!("/ownership/v1/environments/default/managed?namespaceKey={namespace}");
        let claims = editor.done("GET", &path, &Value::Null).await.unwrap();
        let flags = claims["managed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|managed| managed["kind"] == "FLAG")
            .count();
        assert_eq!(flags, 0, "{claims}");
    })
    .await;
}
