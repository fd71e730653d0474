//! A sidecar keeps what it has when what is published is damaged, and heals by itself.

use std::time::Duration;

use flipt_e2e_cluster::{App, Editor, app, in_namespace, kubectl_apply, object_store, release, until};
use serde_json::{Value, json};

async fn upstream(app: &App) -> String {
    let answer = app.ask("GET", "/status", &Value::Null, None).await.unwrap();
    answer["body"]["upstream"].as_str().unwrap_or_default().to_owned()
}

async fn put(key: &str, content: Vec<u8>) {
    let put =
        object_store::store().await.put_object().bucket(object_store::BUCKET).key(key).body(content.into());
    put.send().await.unwrap();
}

#[tokio::test]
async fn damage_of_every_kind_leaves_the_last_good_state_in_force() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        editor.make_banner(&namespace, true).await.unwrap();
        // A place of its own: a copy of what the server publishes.
        let (from, to) = ("e2e/v1/default", format!("{namespace}/v1/default"));
        let flag = format!("\"{namespace}\"");
        let mut pointer = Value::Null;
        let mut content = Vec::new();
        for _ in 0..100 {
            pointer =
                serde_json::from_slice(&object_store::object(&format!("{from}/current.json")).await.unwrap())
                    .unwrap();
            content =
                object_store::object(&format!("{from}/{}", pointer["path"].as_str().unwrap())).await.unwrap();
            let mut text = String::new();
            let mut decoder = flate2::read::GzDecoder::new(content.as_slice());
            std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
            if text.contains(&flag) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let object = format!("{to}/{}", pointer["path"].as_str().unwrap());
        let current = format!("{to}/current.json");
        put(&object, content.clone()).await;
        put(&current, pointer.to_string().into_bytes()).await;

        let profile = json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptSidecarProfile", "metadata": { "name": "copy" },
            "spec": { "source": [{ "s3": object_store::bucket(&namespace) }], "pollInterval": "5s" },
        });
        kubectl_apply(&namespace, &profile.to_string()).await.unwrap();
        release::ready(&namespace, "fliptsidecarprofile/copy").await.unwrap();
        let mut template = app::template("kept", &namespace, "serve");
        template["metadata"]["annotations"] = json!({ "flipt.io/profile": "copy" });
        let started = App::deploy(&client, &namespace, "kept", &template).await.unwrap();
        let decided = started.decides(true).await.unwrap();

        let with = |change: Value| {
            let mut changed = pointer.clone();
            changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            changed.to_string().into_bytes()
        };
        let revision = pointer["revision"].as_u64().unwrap();
        let digest = pointer["digest"].as_str().unwrap();
        let wrong = format!("sha256:{}", "0".repeat(64));
        let elsewhere = format!("objects/sha256/00/{}.json.gz", "0".repeat(64));
        let mut flipped = content.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let wrong_object = format!("{to}/{elsewhere}");
        let next = json!({ "revision": revision + 1, "digest": wrong, "path": elsewhere });
        for (what, told, bytes, changed) in [
            ("a flipped bit", "corrupt", flipped, with(next.clone())),
            ("a truncated object", "corrupt", content[..content.len() / 3].to_vec(), with(next.clone())),
            ("a wrong digest", "corrupt", content.clone(), with(next.clone())),
            ("no JSON", "corrupt", content.clone(), b"{".to_vec()),
            (
                "an older revision",
                "revision_regressed",
                content.clone(),
                with(json!({ "revision": revision - 1 })),
            ),
            (
                "another epoch",
                "epoch_changed",
                content.clone(),
                with(json!({ "epoch": "another", "revision": revision + 9 })),
            ),
            (
                "a newer schema",
                "schema_too_new",
                content.clone(),
                with(json!({ "schemaVersion": 99, "minReader": 99, "revision": revision + 2 })),
            ),
        ] {
            assert_ne!(digest, wrong);
            put(&wrong_object, bytes).await;
            put(&current, changed).await;
            until(&format!("{what} is told as {told}"), || async { upstream(&started).await == told })
                .await
                .unwrap();
            println!("{what}: upstream is {told}");
            put(&current, pointer.to_string().into_bytes()).await;
            until(&format!("{what} has healed"), || async { upstream(&started).await == "ok" })
                .await
                .unwrap();
        }
        let record = started.record().await.unwrap();
        assert_eq!((&record["failed"], &record["enabled"]), (&decided["failed"], &true.into()), "{record}");
        assert_eq!(
            record["turns"].as_array().unwrap().len(),
            1,
            "the decision was another one meanwhile: {record}"
        );
    })
    .await;
}
