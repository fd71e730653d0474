//! What CronJobs and Jobs of exports look like.

use super::*;

fn export(spec: &str) -> FliptSnapshotExport {
    let head = "apiVersion: flipt.io/v1alpha1\nkind: FliptSnapshotExport\n\
                metadata: {name: prod, namespace: flipt-system, uid: 0a1b}\nspec:\n";
    yaml_serde::from_str(&format!("{head}{spec}")).unwrap()
}

fn least() -> FliptSnapshotExport {
    export("  serverRef: {name: main}\n  schedule: '*/1 * * * *'\n  s3: {bucket: flags, prefix: prod}\n")
}

fn target() -> Target {
    Target {
        url: "http://main.flipt-system.svc:8080".to_owned(),
        credentials: Credentials::ServiceAccount { audience: "flipt-server".to_owned() },
        ca: None,
    }
}

fn as_yaml(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn the_cron_job_of_an_export() {
    let expected: serde_json::Value = yaml_serde::from_str(
        r#"
apiVersion: batch/v1
kind: CronJob
metadata:
  name: prod-export
  namespace: flipt-system
  labels: &labels
    app.kubernetes.io/name: flipt
    app.kubernetes.io/component: export
    app.kubernetes.io/managed-by: flipt-operator
    flipt.io/export: prod
  ownerReferences:
  - {apiVersion: flipt.io/v1alpha1, kind: FliptSnapshotExport, name: prod, uid: 0a1b, controller: true}
spec:
  schedule: "*/1 * * * *"
  timeZone: Etc/UTC
  suspend: false
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 100
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    metadata: {labels: *labels}
    spec:
      activeDeadlineSeconds: 120
      backoffLimit: 2
      podReplacementPolicy: Failed
      podFailurePolicy:
        rules:
        - {action: FailJob, onExitCodes: {containerName: export, operator: In, values: [3, 4]}}
      template:
        metadata:
          labels:
            app.kubernetes.io/name: flipt
            app.kubernetes.io/component: export
            app.kubernetes.io/managed-by: flipt-operator
            flipt.io/export: prod
            flipt.io/inject: "false"
        spec:
          restartPolicy: Never
          serviceAccountName: prod-export
          automountServiceAccountToken: false
          enableServiceLinks: false
          securityContext:
            runAsNonRoot: true
            runAsUser: 65532
            runAsGroup: 65532
            fsGroup: 65532
            seccompProfile: {type: RuntimeDefault}
          containers:
          - name: export
            image: localhost/flipt:test
            imagePullPolicy: IfNotPresent
            args:
            - export
            - --server
            - http://main.flipt-system.svc:8080
            - --server-token-file
            - /var/run/secrets/flipt.io/server/token
            - --environment
            - default
            - --output
            - s3://flags/prod
            - --guard-max-shrink
            - "50"
            - --keep-revisions
            - "50"
            - --keep-age
            - 168h
            - --formats
            - native,features
            - --conditional-writes
            - auto
            - --timeout
            - 100s
            - --receipt-file
            - /dev/termination-log
            - --all-namespaces
            resources:
              requests: {cpu: 20m, memory: 64Mi}
              limits: {memory: 256Mi}
            terminationMessagePath: /dev/termination-log
            terminationMessagePolicy: File
            securityContext:
              allowPrivilegeEscalation: false
              readOnlyRootFilesystem: true
              runAsNonRoot: true
              capabilities: {drop: [ALL]}
            volumeMounts:
            - {name: server-token, mountPath: /var/run/secrets/flipt.io/server, readOnly: true}
          volumes:
          - name: server-token
            projected:
              defaultMode: 288
              sources:
              - serviceAccountToken: {audience: flipt-server, expirationSeconds: 3600, path: token}
"#,
    )
    .unwrap();
    let rendered = as_yaml(&cron_job(&least(), &target(), "localhost/flipt:test".to_owned(), false));
    assert_eq!(rendered, expected);
}

#[test]
fn everything_that_an_export_can_say_reaches_its_pods() {
    let export = export(
        r#"
  serverRef: {name: main}
  environment: staging
  namespaces: [shop, pay]
  schedule: "@hourly"
  timeZone: Europe/Stockholm
  suspend: true
  s3:
    bucket: flags
    region: eu-west-1
    endpoint: http://minio.s3:9000
    forcePathStyle: true
    conditionalWrites: "Off"
    sse: {mode: KMS, kmsKeyId: "alias/flags&more"}
    credentialsSecretRef: {name: s3}
  serviceAccount: {name: publisher, annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/x"}}
  formats: [Native]
  signing: {secretRef: {name: signing, key: ed25519}}
  guard: {allowEmpty: true, maxShrinkPercent: 5}
  retention: {keepRevisions: 7, minAge: 24h}
  job:
    resources: {requests: {cpu: 1}}
    ttlSecondsAfterFinished: 60
    backoffLimit: 0
    podLabels: {team: shop, flipt.io/inject: "true"}
    podAnnotations: {a: b}
    nodeSelector: {disk: ssd}
    tolerations: [{operator: Exists}]
    env: [{name: HTTPS_PROXY, value: "http://proxy"}]
    history: {successful: 2, failed: 0}
"#,
    );
    let target = Target {
        credentials: Credentials::Secret(SecretKeyRef { name: "tokens".to_owned(), key: "ro".to_owned() }),
        ca: Some(SecretKeyRef { name: "ca".to_owned(), key: "root.pem".to_owned() }),
        ..target()
    };
    let rendered = as_yaml(&cron_job(&export, &target, "flipt:1".to_owned(), false));
    let spec = &rendered["spec"];
    assert_eq!(spec["suspend"], true);
    assert_eq!(spec["timeZone"], "Europe/Stockholm");
    assert_eq!(
        (&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]),
        (&2.into(), &0.into())
    );
    let job = &spec["jobTemplate"]["spec"];
    assert_eq!((&job["ttlSecondsAfterFinished"], &job["backoffLimit"]), (&60.into(), &0.into()));
    let template = &job["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "shop");
    assert_eq!(template["metadata"]["labels"]["flipt.io/inject"], "false", "ours decides");
    assert_eq!(template["metadata"]["annotations"]["a"], "b");
    let pod = &template["spec"];
    assert_eq!(pod["serviceAccountName"], "publisher");
    assert_eq!(pod["nodeSelector"]["disk"], "ssd");
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    let container = &pod["containers"][0];
    assert_eq!(container["env"][0]["name"], "HTTPS_PROXY");
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "s3");
    assert_eq!(container["resources"], serde_json::json!({"requests": {"cpu": "1"}}));
    let arguments: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(
        arguments.join(" "),
        "export --server http://main.flipt-system.svc:8080 \
         --server-token-file /var/run/secrets/flipt.io/server/token \
         --server-ca-file /var/run/secrets/flipt.io/server-ca/ca.crt --environment staging \
         --output s3://flags?region=eu-west-1&endpoint=http://minio.s3:9000&pathStyle=true\
         &sse=aws:kms&kmsKeyId=alias/flags%26more --namespaces shop,pay --guard-max-shrink 5 --keep-revisions 7 --keep-age 24h --formats native \
         --conditional-writes off --timeout 100s --signing-key-file /var/run/secrets/flipt.io/signing/key \
         --receipt-file /dev/termination-log --guard-allow-empty"
    );
    let volumes = pod["volumes"].as_array().unwrap();
    for (volume, (name, secret, key, path)) in volumes.iter().zip([
        ("server-token", "tokens", "ro", "token"),
        ("server-ca", "ca", "root.pem", "ca.crt"),
        ("signing-key", "signing", "ed25519", "key"),
    ]) {
        assert_eq!(volume["name"], name);
        assert_eq!(volume["secret"]["secretName"], secret);
        assert_eq!(volume["secret"]["items"], serde_json::json!([{"key": key, "path": path}]));
    }
    assert_eq!(volumes.len(), 3);
    let account = as_yaml(&service_account(&export).unwrap());
    assert_eq!(account["metadata"]["name"], "publisher");
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], "arn:aws:iam::1:role/x");
}

#[test]
fn what_a_server_does_not_ask_for_is_not_mounted() {
    let target = Target { credentials: Credentials::None, ..target() };
    let rendered = as_yaml(&cron_job(&least(), &target, "flipt:1".to_owned(), true));
    assert_eq!(rendered["spec"]["suspend"], true, "paused");
    let pod = &rendered["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"], serde_json::Value::Null);
    assert!(!pod.to_string().contains("token-file"));
}

#[test]
fn a_service_account_that_exists_is_left_alone() {
    let export = export(
        "  serverRef: {name: main}\n  schedule: '@daily'\n  s3: {bucket: flags}\n  \
         serviceAccount: {name: mine, create: false}\n",
    );
    assert!(service_account(&export).is_none());
    assert_eq!(service_account_name(&export), "mine");
}

#[test]
fn no_part_of_a_command_line_is_taken_for_a_variable() {
    let target = Target { url: "http://evil/$(AWS_SECRET_ACCESS_KEY)".to_owned(), ..target() };
    let rendered = as_yaml(&cron_job(&least(), &target, "flipt:1".to_owned(), false));
    let arguments =
        rendered["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    assert_eq!(arguments[2], "http://evil/$$(AWS_SECRET_ACCESS_KEY)");
}

#[test]
fn a_change_starts_a_job_of_the_same_template() {
    let export = least();
    let cron_job = cron_job(&export, &target(), "flipt:1".to_owned(), false);
    let job = job_of_change(&export, &cron_job, "18231").unwrap();
    assert_eq!(job.spec, cron_job.spec.clone().unwrap().job_template.spec);
    assert_eq!(job.name_any(), "prod-change-18231");
    assert_eq!(job.labels()[EXPORT_LABEL], "prod");
    assert_eq!(job.annotations()[TRIGGER_ANNOTATION], "change");
    assert_eq!(job.owner_references()[0].name, "prod");
    assert_eq!(job_of_change(&export, &cron_job, "18231").unwrap().name_any(), job.name_any());
}

#[test]
fn names_are_short_enough_for_what_is_made_of_them() {
    let longest = "a".repeat(45);
    assert_eq!(name_of_change(&longest, "9223372036854775807").len(), MAX_JOB_NAME);
    assert_ne!(
        name_of_change(&longest, "9223372036854775807"),
        name_of_change(&longest, "9223372036854775806")
    );
    assert!(format!("{longest}-export").len() <= 52, "the limit of CronJobs");
    assert_eq!(name_of_change("a", "6F1c:7/x"), "a-change-6f1c7x");
}
