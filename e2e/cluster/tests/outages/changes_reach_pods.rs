//! The main job: a labelled pod gets a sidecar, its application evaluates on localhost with the token of its pod, and
//! changes through the server's API and by `kubectl apply` reach it within seconds.

use std::time::{Duration, SystemTime};

use flipt_e2e_cluster::{App, Editor, in_namespace, kubectl, kubectl_apply, object_store, release};
use serde_json::{Value, json};

use crate::manifests::{banner, shop};

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// How long after `began` the application first decided this.
fn delay(record: &Value, enabled: bool, began: u64) -> u64 {
    let turns = record["turns"].as_array().unwrap();
    let turn = turns.iter().rev().find(|turn| turn["what"] == enabled).unwrap();
    turn["unix_ms"].as_u64().unwrap() - began
}

#[tokio::test]
async fn a_change_reaches_the_application_from_the_api_and_from_kubectl() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let further = "uiEditable: []";
        kubectl_apply(&namespace, &shop(&namespace, false)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        let free = format!("{namespace}-ui");
        editor.make_banner(&free, false).await.unwrap();

        let managed = App::start(&client, &namespace, "managed", &namespace).await.unwrap();
        let edited = App::start(&client, &namespace, "edited", &free).await.unwrap();
        // Pods may be there before what they ask for has been published; from the first decision on, none may fail.
        let before = managed.decides(false).await.unwrap()["failed"].clone();
        edited.decides(false).await.unwrap();
        let path = "jsonpath={.spec.initContainers[*].name}";
        let containers =
            kubectl(&["get", "pod", &managed.pod, "--namespace", &namespace, "--output", path]).await;
        assert_eq!(containers.unwrap(), "flipt-sidecar");

        let began = unix_ms();
        assert_eq!(editor.switch(&free, true).await.unwrap().status, 200);
        let record = edited.decides(true).await.unwrap();
        println!(
            "from the API's call to the pod's new decision: {} ms (sidecar polls every 5 s)",
            delay(&record, true, began)
        );
        assert!(delay(&record, true, began) < 20_000, "{record}");

        let began = unix_ms();
        kubectl_apply(&namespace, &banner(&namespace, true, further)).await.unwrap();
        let record = managed.decides(true).await.unwrap();
        println!(
            "from kubectl apply to the pod's new decision: {} ms (sidecar polls every 5 s)",
            delay(&record, true, began)
        );
        assert!(delay(&record, true, began) < 25_000, "{record}");

        // Rules are decided in the pod as well.
        kubectl_apply(&namespace, &banner(&namespace, false, further)).await.unwrap();
        managed.decides(false).await.unwrap();
        let question = json!({
            "namespaceKey": namespace, "flagKey": "banner", "entityId": "u", "context": { "country": "SE" },
        });
        let answer = managed.ask("POST", "/evaluate/v1/boolean", &question, None).await.unwrap();
        assert_eq!((&answer["status"], &answer["body"]["enabled"]), (&200.into(), &true.into()), "{answer}");
        for header in ["x-flipt-revision", "x-flipt-snapshot-age"] {
            assert!(answer["headers"][header].is_string(), "{header} is missing: {answer}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let record = managed.record().await.unwrap();
        assert_eq!(record["failed"], before, "{record}");
    })
    .await;
}
