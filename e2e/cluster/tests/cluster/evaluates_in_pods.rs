//! The image of the server runs as a pod that may do nothing, and decides for other pods.

use flipt_e2e::http;
use flipt_e2e_cluster::{
    apply, cluster_is_ours, in_namespace, pod_spec, run_to_end, until, wait_until_available,
};
use serde_json::{Value, json};

const IMAGE: &str = "localhost/flipt:test";

const FLAGS: &str = r#"
namespace: shop
flags:
- key: new_checkout
  name: New checkout
  type: VARIANT_FLAG_TYPE
  enabled: true
  variants: [{key: blue}, {key: green}]
  rules:
  - segment: nordic
    distributions: [{variant: blue, rollout: 100}]
segments:
- key: nordic
  name: Nordic countries
  match_type: ALL_MATCH_TYPE
  constraints: [{type: STRING_COMPARISON_TYPE, property: country, operator: isoneof, value: '["SE","NO"]'}]
"#;

fn labels() -> Value {
    json!({ "app": "flipt" })
}

#[tokio::test]
async fn a_pod_evaluates_through_the_service_of_a_server_that_serves_a_config_map() {
    in_namespace(|client, namespace| async move {
        let mut server = pod_spec(json!({
            "name": "flipt",
            "image": IMAGE,
            "env": [
                { "name": "FLIPT_STORAGE_TYPE", "value": "local" },
                { "name": "FLIPT_STORAGE_LOCAL_PATH", "value": "/flags" },
            ],
            "ports": [{ "name": "http", "containerPort": 8080 }],
            "readinessProbe": { "httpGet": { "path": "/health", "port": "http" }, "periodSeconds": 1 },
            "resources": {
                "requests": { "cpu": "10m", "memory": "32Mi" },
                "limits": { "cpu": "1", "memory": "64Mi" },
            },
            "volumeMounts": [{ "name": "flags", "mountPath": "/flags" }],
        }));
        server["volumes"] = json!([{ "name": "flags", "configMap": { "name": "flags" } }]);
        for object in [
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "flags" },
                "data": { "features.yaml": FLAGS },
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": "flipt" },
                "spec": { "selector": labels(), "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "flipt" },
                "spec": {
                    "replicas": 2,
                    "selector": { "matchLabels": labels() },
                    "template": { "metadata": { "labels": labels() }, "spec": server },
                },
            }),
        ] {
            apply(&client, &namespace, &object).await.unwrap();
        }
        wait_until_available(&client, &namespace, "flipt").await.unwrap();
        // Its pods are ready before all of the cluster knows the way to them.
        let health = format!("http://flipt.{namespace}.svc:80/health");
        if cluster_is_ours() {
            until("the Service answers", || async { http::get(&health).await.is_ok() }).await.unwrap();
        }

        for (name, country, expected) in [("in-sweden", "SE", "blue"), ("in-spain", "ES", "")] {
            let caller = pod_spec(json!({
                "name": "caller",
                "image": IMAGE,
                "args": [
                    "evaluate", "new_checkout", "--address", "http://flipt", "--namespace", "shop",
                    "--entity-id", "u1", "--context", format!("country={country}"),
                ],
            }));
            let printed = run_to_end(&client, &namespace, name, &caller).await.unwrap();
            let decision: Value = serde_json::from_str(printed.trim()).unwrap_or_else(|_| panic!("{printed}"));
            assert_eq!(decision["variant_key"].as_str().unwrap_or_default(), expected, "{printed}");
            assert_eq!(decision["match"].as_bool().unwrap_or_default(), !expected.is_empty(), "{printed}");
        }
    })
    .await;
}
