//! A CronJob publishes, the status tells what, and everybody sees when it stops.

use std::time::Duration;

use flipt_e2e_cluster::{
    App, Editor, in_namespace, kubectl, kubectl_apply, object_store, release, until, until_some, until_within,
};
use serde_json::{Value, json};

fn export(namespace: &str, schedule: &str, suspend: bool) -> String {
    json!({
        "apiVersion": "flipt.io/v1alpha1", "kind": "FliptSnapshotExport", "metadata": { "name": "own" },
        "spec": {
            "serverRef": { "name": "main", "namespace": "flipt-system" },
            "schedule": schedule, "suspend": suspend, "onChange": { "enabled": false },
            "s3": object_store::bucket(namespace),
        },
    })
    .to_string()
}

fn profile(namespace: &str) -> String {
    json!({
        "apiVersion": "flipt.io/v1alpha1", "kind": "FliptSidecarProfile", "metadata": { "name": "own" },
        "spec": { "source": [{ "exportRef": { "name": "own", "namespace": namespace } }], "pollInterval": "5s" },
    })
    .to_string()
}

async fn status(namespace: &str) -> Option<Value> {
    let printed =
        kubectl(&["get", "fexp", "own", "--namespace", namespace, "--output", "json"]).await.ok()?;
    serde_json::from_str::<Value>(&printed).ok().map(|object| object["status"].clone())
}

fn condition(status: &Value, type_: &str) -> String {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_);
    found.and_then(|condition| condition["status"].as_str().map(str::to_owned)).unwrap_or_default()
}

async fn age(app: &App) -> f64 {
    let answer = app.ask("GET", "/status", &Value::Null, None).await.unwrap();
    answer["body"]["ageSeconds"].as_f64().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn the_status_tells_what_was_published_and_when_it_stops() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        editor.make_banner(&namespace, true).await.unwrap();
        kubectl_apply(&namespace, &export(&namespace, "* * * * *", false)).await.unwrap();
        kubectl_apply(&namespace, &profile(&namespace)).await.unwrap();

        let status_of = &namespace;
        let published = until_some("the CronJob has published", || async {
            status(status_of).await.filter(|status| {
                status["lastSuccessTime"].is_string() && status["snapshot"]["digest"].is_string()
            })
        });
        let published = published.await.unwrap_or_else(|failure| panic!("{failure}"));
        let snapshot = &published["snapshot"];
        assert!(snapshot["revision"].as_i64() > Some(0), "{published}");
        assert!(
            snapshot["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")),
            "{published}"
        );
        assert!(snapshot["size"].as_i64() > Some(0) && snapshot["flags"].as_i64() > Some(0), "{published}");
        assert_eq!(
            (condition(&published, "Ready"), condition(&published, "Fresh")),
            ("True".into(), "True".into())
        );
        let key = snapshot["objectKey"].as_str().unwrap();
        object_store::object(key).await.unwrap_or_else(|failure| panic!("{failure}: {published}"));
        let listed = kubectl(&["get", "fexp", "--namespace", &namespace]).await.unwrap();
        println!("$ kubectl get fexp\n{listed}");

        let mut template = flipt_e2e_cluster::app::template("aged", &namespace, "serve");
        template["metadata"]["annotations"] = json!({ "flipt.io/profile": "own" });
        let app = App::deploy(&client, &namespace, "aged", &template).await.unwrap();
        let decided = app.decides(true).await.unwrap();

        // Three intervals and a minute after the last success, it is not fresh any more; all polls are answered 304.
        kubectl_apply(&namespace, &export(&namespace, "* * * * *", true)).await.unwrap();
        let before = age(&app).await;
        until_within("the export is not fresh any more", Duration::from_secs(330), || async {
            status(status_of).await.is_some_and(|status| condition(&status, "Fresh") == "False")
        })
        .await
        .unwrap();
        let after = age(&app).await;
        assert!(after > before + 100.0 && after > 180.0, "the age went from {before} to {after}");
        let record = app.record().await.unwrap();
        assert_eq!((&record["failed"], &record["enabled"]), (&decided["failed"], &true.into()), "{record}");
        println!("suspended: Fresh=False, the sidecar's age went from {before:.0} s to {after:.0} s");
    })
    .await;
}

#[tokio::test]
async fn an_emptied_server_is_not_published() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        editor.make_banner(&namespace, true).await.unwrap();
        let mut export: Value = serde_json::from_str(&export(&namespace, "* * * * *", false)).unwrap();
        export["spec"]["namespaces"] = json!([namespace]);
        export["spec"]["onChange"] = json!({ "enabled": true, "debounce": "1s", "minInterval": "2s" });
        kubectl_apply(&namespace, &export.to_string()).await.unwrap();
        let status_of = &namespace;
        until("it has published", || async {
            status(status_of).await.is_some_and(|status| status["snapshot"]["flags"] == 1)
        })
        .await
        .unwrap();

        let path = format!("/api/v1/namespaces/{namespace}/flags/banner");
        editor.done("DELETE", &path, &Value::Null).await.unwrap();
        let refused = until_some("the guard refuses", || async {
            status(status_of).await.filter(|status| status["lastFailure"]["reason"] == "GuardRefused")
        });
        let refused = refused.await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(refused["snapshot"]["flags"], 1, "{refused}");
        assert_eq!(condition(&refused, "Ready"), "False", "{refused}");
    })
    .await;
}
