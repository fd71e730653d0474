//! What a pod has afterwards.

use flipt_injector::{SourceLocation, inject};
use serde_json::json;

use crate::pods::{
    annotate, arguments, bucket, injected, named, names, patched, plain, profile, settings, sidecar,
};

#[test]
fn the_sidecar_is_a_native_one_and_first() {
    let mut pod = plain();
    pod["spec"]["initContainers"] = json!([{"name": "migrate"}]);
    let pod = injected(&pod, &profile(json!({})));
    assert_eq!(names(&pod["spec"]["initContainers"]), ["flipt-sidecar", "migrate"]);
    let sidecar = sidecar(&pod);
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["image"], "registry.test/flipt-sidecar:0.1.0");
    assert_eq!(sidecar["startupProbe"]["httpGet"], json!({"path": "/startupz", "port": 18081}));
    assert_eq!(sidecar["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(sidecar["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(sidecar["securityContext"]["runAsNonRoot"], true);
    assert_eq!(sidecar["resources"]["requests"], json!({"cpu": "10m", "memory": "32Mi"}));
    assert_eq!(pod["metadata"]["labels"]["flipt.io/injected"], "true");
    assert_eq!(pod["metadata"]["labels"]["app"], "shop");
}

#[test]
fn the_sidecar_is_told_what_its_profile_says() {
    let mut profile = profile(json!({
        "namespaces": ["shop", "common"],
        "pollInterval": "30s",
        "staleAfter": "2m",
        "maxStale": "1h",
        "startPolicy": "block",
        "trust": {"verifyKeys": ["k".repeat(44)]},
        "auth": {
            "mode": "allowlist", "audiences": ["a", "b"], "issuer": "https://issuer", "acceptApiAudience": true,
            "allow": [{"namespace": "shop", "serviceAccount": "web-*", "fliptNamespaces": ["shop", "x"]}, {"namespace": "*", "serviceAccount": "*"}],
        },
    }));
    profile.sources = vec![
        bucket(
            json!({"bucket": "flags", "prefix": "prod", "region": "eu-west-1", "endpoint": "http://s3:9000", "forcePathStyle": true}),
        ),
        SourceLocation::Server("http://flipt.flipt-system:8080".into()),
        SourceLocation::ConfigMap("seed".into()),
    ];
    let pod = injected(&plain(), &profile);
    let sidecar = sidecar(&pod);
    assert_eq!(
        arguments(sidecar),
        [
            "--source=s3://flags/prod?region=eu-west-1&endpoint=http://s3:9000&pathStyle=true",
            "--source=http://flipt.flipt-system:8080",
            "--source=file:///etc/flipt/seed/2/features.yaml",
            "--source-token-file=/var/run/secrets/flipt.io/server/token",
            "--environment=default",
            "--namespaces=shop,common",
            "--verify-keys=/etc/flipt/verify/keys.pem",
            "--poll-interval=30s",
            "--max-stale=1h",
            "--start-policy=block",
            "--cache-dir=/var/cache/flipt",
            "--listen=127.0.0.1:18080,[::1]:18080",
            "--grpc-listen=127.0.0.1:19000,[::1]:19000",
            "--health-listen=0.0.0.0:18081",
            "--auth-mode=allowlist",
            "--auth-jwks-file=/etc/flipt/trust/jwks.json",
            "--auth-audience=a,b",
            "--auth-issuer=https://issuer",
            "--auth-accept-api-audience=true",
            "--auth-allow=shop/web-*=shop|x",
            "--auth-allow=*/*",
        ]
    );
    assert_eq!(named(&sidecar["env"], "FLIPT_SIDECAR_STALE_AFTER")["value"], "2m");
    let folders: Vec<_> =
        sidecar["volumeMounts"].as_array().unwrap().iter().map(|mount| &mount["mountPath"]).collect();
    assert_eq!(
        folders,
        [
            "/etc/flipt/trust",
            "/var/cache/flipt",
            // Empty, so that no token of the API server comes there.
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "/var/run/secrets/flipt.io/server",
            "/etc/flipt/verify",
            "/etc/flipt/seed/2"
        ]
    );
    assert_eq!(
        pod["metadata"]["annotations"]["flipt.io/verify-keys"],
        format!("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{}\n-----END PUBLIC KEY-----\n", "k".repeat(44))
    );
    let server_token = &named(&pod["spec"]["volumes"], "flipt-server-token")["projected"]["sources"][0];
    assert_eq!(server_token["serviceAccountToken"]["audience"], "flipt-server");
}

#[test]
fn the_application_gets_a_token_of_its_own_audience_and_the_address() {
    let pod = injected(&plain(), &profile(json!({"auth": {"audiences": ["mine"]}})));
    let app = &pod["spec"]["containers"][0];
    let mount = named(&app["volumeMounts"], "flipt-token");
    assert_eq!(mount["mountPath"], "/var/run/secrets/flipt.io/serviceaccount");
    let token =
        &named(&pod["spec"]["volumes"], "flipt-token")["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token, &json!({"audience": "mine", "expirationSeconds": 3600, "path": "token"}));
    for (name, value) in [
        ("FLIPT_URL", "http://127.0.0.1:18080"),
        ("FLIPT_GRPC_URL", "http://127.0.0.1:19000"),
        ("OFREP_ENDPOINT", "http://127.0.0.1:18080"),
        ("FLIPT_ENV_NAMESPACE", "default"),
        ("FLIPT_TOKEN_FILE", "/var/run/secrets/flipt.io/serviceaccount/token"),
    ] {
        assert_eq!(named(&app["env"], name)["value"], value);
    }
    // The application's token is none of the sidecar's business.
    assert!(!names(&sidecar(&pod)["volumeMounts"]).contains(&"flipt-token"));
}

#[test]
fn what_a_container_sets_itself_stays() {
    let mut pod = plain();
    pod["spec"]["containers"][0]["env"] = json!([{"name": "FLIPT_URL", "value": "http://elsewhere"}, {"name": "FLIPT_TOKEN_FILE", "valueFrom": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "own", "mountPath": "/var/run/secrets/flipt.io/serviceaccount/"}]);
    let injection = inject(&pod, &profile(json!({})), &settings());
    assert!(injection.warnings.iter().any(|warning| warning.contains("app") && warning.contains("no token")));
    let injected = patched(&pod, &injection);
    let app = &injected["spec"]["containers"][0];
    assert_eq!(app["env"][0], pod["spec"]["containers"][0]["env"][0]);
    assert_eq!(
        names(&app["env"]),
        ["FLIPT_URL", "FLIPT_TOKEN_FILE", "FLIPT_GRPC_URL", "OFREP_ENDPOINT", "FLIPT_ENV_NAMESPACE"]
    );
    assert_eq!(app["volumeMounts"], pod["spec"]["containers"][0]["volumeMounts"]);
}

#[test]
fn only_the_containers_that_a_pod_names_are_connected() {
    let mut pod = plain();
    pod["spec"]["containers"] = json!([{"name": "app"}, {"name": "log"}]);
    pod["spec"]["initContainers"] = json!([{"name": "setup"}, {"name": "other"}]);
    annotate(&mut pod, json!({"flipt.io/containers": "app, setup", "flipt.io/namespaces": "shop"}));
    let pod = injected(&pod, &profile(json!({})));
    for (container, connected) in [
        (named(&pod["spec"]["containers"], "app"), true),
        (named(&pod["spec"]["containers"], "log"), false),
        (named(&pod["spec"]["initContainers"], "setup"), true),
        (named(&pod["spec"]["initContainers"], "other"), false),
    ] {
        assert_eq!(
            container["env"].is_array() && container["volumeMounts"].is_array(),
            connected,
            "{container}"
        );
    }
    assert_eq!(named(&pod["spec"]["containers"][0]["env"], "FLIPT_ENV_NAMESPACE")["value"], "shop");
    assert!(arguments(sidecar(&pod)).contains(&"--namespaces=shop"));
}

#[test]
fn a_sidecar_that_asks_nobody_needs_no_token() {
    let pod = injected(&plain(), &profile(json!({"auth": {"mode": "none"}, "clientEnv": false})));
    assert_eq!(names(&pod["spec"]["volumes"]), ["kube-api-access-x", "flipt-cache"]);
    assert_eq!(pod["spec"]["containers"], plain()["spec"]["containers"]);
}

#[test]
fn the_sidecar_leaves_the_pods_ports_alone_and_the_application_hears_of_it() {
    let mut pod = plain();
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 18080}]);
    let injection = inject(&pod, &profile(json!({})), &settings());
    assert!(injection.warnings[0].contains("18080"), "{:?}", injection.warnings);
    let pod = patched(&pod, &injection);
    assert!(arguments(sidecar(&pod)).contains(&"--listen=127.0.0.1:18081,[::1]:18081"));
    assert_eq!(sidecar(&pod)["startupProbe"]["httpGet"]["port"], 18082);
    assert_eq!(named(&pod["spec"]["containers"][0]["env"], "FLIPT_URL")["value"], "http://127.0.0.1:18081");
}

#[test]
fn credentials_are_the_sidecars_only_and_none_of_them_stops_a_start() {
    let mut profile = profile(json!({
        "aws": {"roleArn": "arn:aws:iam::123456789012:role/flags"},
        "env": [{"name": "AWS_REGION", "value": "mine"}, {"name": "X", "value": "$(AWS_REGION)"}],
        "envFrom": [{"configMapRef": {"name": "proxy"}}],
        "imagePullSecrets": [{"name": "pull"}],
    }));
    profile.sources = vec![bucket(
        json!({"bucket": "flags", "region": "eu-west-1", "credentialsSecretRef": {"name": "s3"}}),
    )];
    let pod = injected(&plain(), &profile);
    let sidecar = sidecar(&pod);
    assert_eq!(
        sidecar["envFrom"],
        json!([{"secretRef": {"name": "s3", "optional": true}}, {"configMapRef": {"name": "proxy"}}])
    );
    assert_eq!(named(&sidecar["env"], "AWS_ROLE_ARN")["value"], "arn:aws:iam::123456789012:role/flags");
    assert_eq!(named(&sidecar["env"], "AWS_REGION")["value"], "mine");
    let token =
        &named(&pod["spec"]["volumes"], "flipt-aws-token")["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "sts.amazonaws.com");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let app = &pod["spec"]["containers"][0];
    assert!(app["envFrom"].is_null() && names(&app["env"]).iter().all(|name| !name.starts_with("AWS")));
}

#[test]
fn a_cache_on_disk_does_not_keep_a_node_alive() {
    let mut pod = plain();
    let key = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    annotate(&mut pod, json!({ key: "scratch" }));
    let pod = injected(&pod, &profile(json!({"cache": {"medium": "Disk", "sizeLimit": "1Gi"}})));
    assert_eq!(pod["metadata"]["annotations"][key], "scratch,flipt-cache");
    assert_eq!(named(&pod["spec"]["volumes"], "flipt-cache")["emptyDir"], json!({"sizeLimit": "1Gi"}));
}

#[test]
fn a_pods_volume_of_the_same_name_stays_its_own() {
    let mut pod = plain();
    pod["spec"]["volumes"] = json!([{"name": "flipt-cache", "hostPath": {"path": "/tmp"}}]);
    let pod = injected(&pod, &profile(json!({})));
    assert_eq!(pod["spec"]["volumes"][0], json!({"name": "flipt-cache", "hostPath": {"path": "/tmp"}}));
    let mounts = &sidecar(&pod)["volumeMounts"];
    assert_eq!(named(mounts, "flipt-cache-2")["mountPath"], "/var/cache/flipt");
}

#[test]
fn a_long_wait_for_a_snapshot_is_no_reason_to_start_anew() {
    let pod = injected(&plain(), &profile(json!({"startPolicy": "open-after=1h"})));
    assert_eq!(sidecar(&pod)["startupProbe"]["failureThreshold"], 3660);
}

#[test]
fn a_guaranteed_pod_stays_guaranteed_and_a_job_ends() {
    let mut pod = plain();
    let resources =
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    pod["spec"]["containers"][0]["resources"] = resources;
    pod["spec"]["restartPolicy"] = json!("Never");
    let pod = injected(&pod, &profile(json!({})));
    let resources = &sidecar(&pod)["resources"];
    assert_eq!(resources["requests"], resources["limits"]);
    // A container that restarts beside the others would keep a Job from ending; an init container does not.
    assert_eq!(names(&pod["spec"]["containers"]), ["app"]);
}
