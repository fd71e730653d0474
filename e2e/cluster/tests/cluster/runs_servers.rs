//! The operator runs a server: on a database of its own, which it migrates first, and replaces its pods while it serves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use flipt_e2e::http;
use flipt_e2e_cluster::{
    Database, TIMEOUT, cluster_is_ours, in_namespace, kubectl, kubectl_apply, release, until,
};
use serde_json::json;

use crate::manifests::shop;

fn server(replicas: u8, log_level: &str) -> String {
    json!({
        "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer", "metadata": { "name": "own" },
        "spec": {
            "managed": {
                "replicas": replicas,
                "database": { "urlSecretRef": { "name": "flipt-db", "key": "url" } },
                "config": { "log": { "level": log_level } },
                "resources": {
                    "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" },
                },
            },
            "auth": { "serviceAccountToken": {} },
        },
    })
    .to_string()
}

async fn printed(namespace: &str, arguments: &[&str]) -> String {
    let arguments = [arguments, &["--namespace", namespace]].concat();
    kubectl(&arguments).await.unwrap_or_else(|failure| failure.to_string())
}

/// Asks all the time until it is told to stop, and counts; on a new connection each time, as many callers would.
async fn ask(url: String, token: String, stop: Arc<AtomicBool>, failed: Arc<AtomicU32>) -> u32 {
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = http::request("GET", &url).bearer(Some(&token)).send().await;
        asked += 1;
        if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            eprintln!("not answered: {:?}", answer.map(|answer| (answer.status, answer.text())));
            failed.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    asked
}

#[tokio::test]
async fn it_is_migrated_serves_flags_and_is_changed_without_a_failed_request() {
    if !cluster_is_ours() {
        println!("not tried: pods of this cluster do not reach a database on this machine");
        return;
    }
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let database = Database::start().await.unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "flipt-db" },
            "stringData": { "url": database.url },
        });
        // Everything at once: the flag waits for its server, and the server for its database.
        let server_ref = "name: main, namespace: flipt-system";
        kubectl_apply(&namespace, &shop("shop", true).replace(server_ref, "name: own")).await.unwrap();
        kubectl_apply(&namespace, &server(2, "info")).await.unwrap();
        release::says(&namespace, "fliptserver/own", "Ready", "False").await.unwrap();
        kubectl_apply(&namespace, &secret.to_string()).await.unwrap();
        release::ready(&namespace, "fliptserver/own").await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let listed = printed(&namespace, &["get", "fsrv,deployments,jobs,services,pdb"]).await;
        println!("$ kubectl get fsrv,deployments,jobs,services,pdb\n{listed}");
        for part in ["deployment.apps/flipt-own", "job.batch/flipt-own-migrate-", "service/flipt-own"] {
            assert!(listed.contains(part), "{part} is missing:\n{listed}");
        }
        assert!(listed.contains("poddisruptionbudget.policy/flipt-own"), "{listed}");

        // Service accounts of its namespace may read, by tokens for it, and nobody may write but the operator.
        // By its address: how fast names are found is not what is tried.
        let address =
            printed(&namespace, &["get", "service", "flipt-own", "--output", "jsonpath={.spec.clusterIP}"])
                .await;
        let url = format!("http://{address}:8080/api/v1/namespaces/shop/flags/banner");
        let token = printed(&namespace, &["create", "token", "default", "--audience", "flipt-server"]).await;
        let token = token.trim().to_owned();
        let flag = http::request("GET", &url).bearer(Some(&token)).send().await.unwrap();
        assert_eq!((flag.status, &flag.json()["enabled"]), (200, &json!(true)));
        assert_eq!(http::get(&url).await.unwrap().status, 401);
        let deleted = http::request("DELETE", &url).bearer(Some(&token)).send().await.unwrap();
        assert_eq!(deleted.status, 403, "{}", deleted.text());

        let pods = async || {
            let labels = "app.kubernetes.io/component=server";
            let path = "jsonpath={.items[*].metadata.name}";
            let names = printed(&namespace, &["get", "pods", "--selector", labels, "--output", path]).await;
            let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
            names.sort();
            names
        };
        let before = pods().await;
        let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let asking = tokio::spawn(ask(url.clone(), token.clone(), Arc::clone(&stop), Arc::clone(&failed)));
        kubectl_apply(&namespace, &server(2, "debug")).await.unwrap();
        until("other pods have taken over", || async {
            let now = pods().await;
            now.len() == 2 && now.iter().all(|pod| !before.contains(pod))
        })
        .await
        .unwrap();
        stop.store(true, Ordering::Relaxed);
        let asked = asking.await.unwrap();
        println!("replaced by other pods: {asked} requests, {} failed", failed.load(Ordering::Relaxed));
        assert!(asked > 20, "{asked}");
        assert_eq!(failed.load(Ordering::Relaxed), 0);
        let jobs = printed(&namespace, &["get", "jobs", "--output", "name"]).await;
        assert_eq!(jobs.lines().count(), 1, "the same image is migrated once: {jobs}");

        // One pod has no budget, which would keep its node from being drained.
        kubectl_apply(&namespace, &server(1, "debug")).await.unwrap();
        until("the budget is gone", || async {
            printed(&namespace, &["get", "pdb", "--output", "name"]).await.trim().is_empty()
        })
        .await
        .unwrap();

        kubectl(&["delete", "fliptserver", "own", "--namespace", &namespace, "--timeout", TIMEOUT])
            .await
            .unwrap();
        until("what it was made of is gone", || async {
            let left = ["get", "deployments,services,jobs,pods", "--output", "name"];
            let left = printed(&namespace, &left).await;
            left.trim().is_empty()
        })
        .await
        .unwrap();
        let gone = ["delete", "fliptflag,fliptsegment,fliptnamespace", "--all", "--timeout", TIMEOUT];
        let said = printed(&namespace, &gone).await;
        assert!(said.contains("deleted"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn it_takes_over_nothing_of_others_and_shows_its_token_to_nobody_else() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        let foreign = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "flipt-own" },
            "spec": { "selector": { "app": "somebody" }, "ports": [{ "port": 80 }] },
        });
        kubectl_apply(&namespace, &foreign.to_string()).await.unwrap();
        kubectl_apply(&namespace, &server(1, "info")).await.unwrap();
        release::says(&namespace, "fliptserver/own", "Ready", "Conflict").await.unwrap();
        let selector = ["get", "service", "flipt-own", "--output", "jsonpath={.spec.selector}"];
        assert_eq!(printed(&namespace, &selector).await, r#"{"app":"somebody"}"#);
        let made = printed(&namespace, &["get", "deployments,jobs,configmaps", "--output", "name"]).await;
        assert!(!made.contains("flipt-own"), "{made}");

        // A tenant would receive a token that the server of the release accepts.
        let external = |name: &str, token: serde_json::Value| {
            let server = json!({
                "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer", "metadata": { "name": name },
                "spec": {
                    "external": { "url": "http://catcher.example" }, "auth": { "serviceAccountToken": token },
                },
            });
            server.to_string()
        };
        kubectl_apply(&namespace, &external("thief", json!({}))).await.unwrap();
        release::says(&namespace, "fliptserver/thief", "Ready", "Unauthorized").await.unwrap();
        let own = json!({ "audience": format!("flipt-server.{namespace}.honest") });
        kubectl_apply(&namespace, &external("honest", own)).await.unwrap();
        release::says(&namespace, "fliptserver/honest", "Ready", "ServerUnavailable").await.unwrap();
    })
    .await;
}
