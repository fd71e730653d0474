//! Injection changes what it must and nothing else, beside other webhooks, and says why when it does not.

use flipt_e2e_cluster::{app, in_namespace, kubectl, object_store, release, until, wait_for_account};
use serde_json::{Value, json};

use crate::missed::missed_pod;

async fn dry_run(namespace: &str, template: &Value) -> (Value, String) {
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod" });
    pod["metadata"] = template["metadata"].clone();
    pod["metadata"]["name"] = "dry".into();
    pod["spec"] = template["spec"].clone();
    let (printed, warned) = flipt_e2e_cluster::kubectl_with(
        &["create", "--dry-run=server", "--output", "json", "--namespace", namespace, "--filename", "-"],
        &pod.to_string(),
    )
    .await
    .unwrap();
    (serde_json::from_str(&printed).unwrap(), warned)
}

#[tokio::test]
async fn an_application_keeps_all_that_it_has() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        let mut template = app::template("kept", &namespace, "serve");
        let container = &mut template["spec"]["containers"][0];
        container["env"] = json!([{ "name": "FLIPT_ENV_NAMESPACE", "value": "mine" }]);
        container["ports"] = json!([{ "containerPort": 18080 }]);
        container["resizePolicy"] = json!([{ "resourceName": "cpu", "restartPolicy": "NotRequired" }]);
        let (pod, warned) = dry_run(&namespace, &template).await;
        let injected = &pod["spec"]["containers"][0];
        assert_eq!(injected["resizePolicy"], template["spec"]["containers"][0]["resizePolicy"], "{pod}");
        let env = |name: &str| {
            let found = injected["env"].as_array().unwrap().iter().find(|env| env["name"] == name);
            found.map(|env| env["value"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
        };
        assert_eq!(env("FLIPT_ENV_NAMESPACE"), "mine");
        let url = env("FLIPT_URL");
        assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":18080"), "the port is taken: {url}");
        assert!(warned.contains("18080"), "nobody is told: {warned:?}");
        assert_eq!(pod["metadata"]["labels"]["flipt.io/injected"], "true");
        assert!(pod["spec"]["automountServiceAccountToken"] == false);
        let mounts = pod["spec"]["initContainers"][0]["volumeMounts"].to_string();
        assert!(
            !mounts.contains("kube-api-access") && !mounts.contains("flipt.io/serviceaccount"),
            "{mounts}"
        );

        // An application that has a token of the API server keeps it to itself.
        template["spec"]["automountServiceAccountToken"] = true.into();
        let (pod, _) = dry_run(&namespace, &template).await;
        let has_token =
            |list: &str| pod["spec"][list][0]["volumeMounts"].to_string().contains("kube-api-access");
        assert!(has_token("containers"), "{pod}");
        assert!(!has_token("initContainers"), "the sidecar has a token of the API server: {pod}");
    })
    .await;
}

#[tokio::test]
async fn wrong_annotations_are_warned_of_and_hosts_network_is_left_alone() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let mut template = app::template("odd", &namespace, "serve");
        template["metadata"]["annotations"] = json!({
            "flipt.io/poll-interval": "soon", "flipt.io/image": "evil:1", "flipt.io/profile": "nowhere",
        });
        let (pod, warned) = dry_run(&namespace, &template).await;
        for word in ["flipt.io/poll-interval", "flipt.io/image", "nowhere"] {
            assert!(warned.contains(word), "{word} is not warned of: {warned}");
        }
        assert!(!pod["spec"]["initContainers"][0]["image"].as_str().unwrap().contains("evil"), "{pod}");

        let privileged = format!("{namespace}-host");
        kubectl(&["create", "namespace", &privileged]).await.unwrap();
        wait_for_account(&client, &privileged).await;
        let mut template = app::template("host", &namespace, "serve");
        template["spec"]["hostNetwork"] = true.into();
        let (pod, _) = dry_run(&privileged, &template).await;
        assert!(pod["spec"]["initContainers"].is_null(), "{pod}");
        kubectl(&["delete", "namespace", &privileged, "--wait=false"]).await.unwrap();
    })
    .await;
}

/// Five profiles and a pod for each, in this order, as one file.
fn together(namespace: &str, round: usize) -> Value {
    let template = app::template("together", namespace, "serve");
    let mut items = Vec::new();
    for number in 0..5 {
        let name = format!("together-{round}-{number}");
        items.push(json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptSidecarProfile", "metadata": { "name": name },
            "spec": { "source": [{ "s3": object_store::bucket("e2e") }], "pollInterval": format!("{}s", 40 + number) },
        }));
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": template["spec"] });
        pod["metadata"] = json!({
            "name": name, "labels": template["metadata"]["labels"], "annotations": { "flipt.io/profile": name },
        });
        items.push(pod);
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

#[tokio::test]
async fn a_pod_finds_the_profile_that_came_in_the_same_file() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        // The operator waits a second for a profile, and says so when that was not enough: on a machine that stands still
        // for longer, that may happen once.
        let mut clean = None;
        let within = std::time::Duration::from_secs(1);
        for round in 0..3 {
            let apply = ["apply", "--server-side", "--namespace", &namespace, "--filename", "-"];
            let file = together(&namespace, round).to_string();
            let began = std::time::Instant::now();
            let (_, warned) = flipt_e2e_cluster::kubectl_with(&apply, &file).await.unwrap();
            if !warned.contains("no profile") {
                clean = Some(round);
                break;
            }
            assert!(began.elapsed() > within, "nobody waited: {warned}");
        }
        let round = clean.expect("a pod finds its profile");
        for number in 0..5 {
            let name = format!("together-{round}-{number}");
            let get = ["get", "pod", &name, "--namespace", &namespace, "--output", "json"];
            let pod: Value = serde_json::from_str(&kubectl(&get).await.unwrap()).unwrap();
            let arguments = pod["spec"]["initContainers"][0]["args"].to_string();
            assert!(arguments.contains(&format!("{}s", 40 + number)), "not its own profile: {arguments}");
        }
    })
    .await;
}

#[tokio::test]
async fn another_webhook_that_adds_a_container_makes_it_look_again() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        object_store::give_credentials(&client, &namespace).await.unwrap();
        // A mutating policy would do, but is not in every cluster: a sidecar is added by hand to what was injected, and
        // the pod is created once more.
        let template = app::template("twice", &namespace, "serve");
        let (once, _) = dry_run(&namespace, &template).await;
        let mut again = json!({ "metadata": { "labels": once["metadata"]["labels"], "annotations": once["metadata"]["annotations"] }, "spec": once["spec"] });
        let mut further = again["spec"]["containers"][0].clone();
        further["name"] = "further".into();
        further["env"] = json!([]);
        further["volumeMounts"] = json!([]);
        again["spec"]["containers"].as_array_mut().unwrap().push(further);
        let (twice, _) = dry_run(&namespace, &again).await;
        let names = |pod: &Value, list: &str| {
            pod["spec"][list].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&once, "initContainers"), names(&twice, "initContainers"));
        assert_eq!(names(&once, "volumes"), names(&twice, "volumes"));
        let env = twice["spec"]["containers"][1]["env"].to_string();
        assert!(env.contains("FLIPT_URL"), "the further container was told nothing: {env}");
        assert_eq!(once["spec"]["containers"][0], twice["spec"]["containers"][0]);
        drop(client);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_was_missed_is_counted_and_its_owner_is_told() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        missed_pod(&client, &namespace).await;
        until("an event tells of the missed pod", || async {
            kubectl(&["get", "events", "--namespace", &namespace])
                .await
                .is_ok_and(|events| events.contains("InjectionMissed"))
        })
        .await
        .unwrap();
    })
    .await;
}
