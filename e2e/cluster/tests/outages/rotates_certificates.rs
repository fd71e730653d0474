//! Certificates of the webhook are renewed without a pod that misses its sidecar, also when the leader dies midway.

use std::time::{Duration, Instant};

use flipt_e2e_cluster::{PATIENCE, TIMEOUT, in_namespace, kubectl, release, until_some};
use serde_json::{Value, json};

use crate::pods::create_pods;

const PODS: usize = 1_000;

/// A replica that is killed is called all the same until the cluster's proxy has heard of it.
const PROXY_LAG: Duration = Duration::from_secs(10);

/// How long a replica may go on while it ends, and its successor is not called yet.
const ENDING: Duration = Duration::from_secs(25);

async fn secret() -> Option<Value> {
    let arguments =
        ["get", "secret", "flipt-webhook-tls", "--namespace", release::SYSTEM, "--output", "json"];
    serde_json::from_str(&kubectl(&arguments).await.ok()?).ok()
}

/// Which certificate is served now and which comes next.
async fn phase() -> Option<(String, bool)> {
    let secret = secret().await?;
    let data = secret["data"].as_object()?;
    let served = data.get("tls.crt")?.as_str()?.to_owned();
    Some((served, data.keys().any(|key| key.starts_with("next"))))
}

/// Ends the pod that leads: at once, as a node that dies does, or in good order.
async fn end_leader(at_once: bool) {
    let path = "jsonpath={.spec.holderIdentity}";
    let holder =
        kubectl(&["get", "lease", "flipt-operator", "--namespace", release::SYSTEM, "--output", path])
            .await
            .unwrap();
    let pod = holder.split('_').next().unwrap_or_default().to_owned();
    let mut kill = vec!["delete", "pod", &pod, "--namespace", release::SYSTEM];
    kill.extend(if at_once { ["--grace-period=0", "--force"].as_slice() } else { &["--wait=false"] });
    kubectl(&kill).await.unwrap_or_else(|failure| panic!("holder {holder:?}: {failure}"));
}

fn short_lived() -> Value {
    let mut values = release::values();
    values["operator"] = json!({ "extraArgs": ["--certificate-lifetime=100s", "--certificate-overlap=8s"] });
    values
}

/// Begins with a certificate that does not live long.
async fn begin() -> String {
    // Those before may still lead while they end, and would make one for long.
    release::replace(&short_lived()).await.unwrap();
    // The one that was made for long is replaced only when it is due; one that is gone, at once.
    kubectl(&["delete", "secret", "flipt-webhook-tls", "--namespace", release::SYSTEM]).await.unwrap();
    until_some("there is a certificate", phase).await.unwrap().0
}

/// Ends with a certificate that lives long.
async fn end() {
    release::replace(&release::values()).await.unwrap();
    kubectl(&["delete", "secret", "flipt-webhook-tls", "--namespace", release::SYSTEM]).await.unwrap();
    until_some("there is a certificate for long", phase).await.unwrap();
}

#[tokio::test]
async fn no_pod_of_a_thousand_misses_its_sidecar_while_certificates_are_renewed() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        let first = begin().await;
        tokio::time::sleep(Duration::from_secs(5)).await;

        let began = Instant::now();
        let mut created = 0;
        let mut served = vec![first];
        while created < PODS || served.len() < 2 {
            assert_eq!(
                create_pods(&namespace, 100).await,
                0,
                "after {created} pods and {} certificates",
                served.len()
            );
            created += 100;
            let now = phase().await.unwrap().0;
            if served.last() != Some(&now) {
                served.push(now);
            }
            assert!(began.elapsed() < 2 * PATIENCE, "only {} certificates in time", served.len());
        }
        println!(
            "{created} pods created in {:.0} s while {} certificates were served: 0 without a sidecar",
            began.elapsed().as_secs_f64(),
            served.len()
        );
        end().await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_dies_in_any_phase_leaves_a_certificate_that_is_trusted() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        begin().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let rollout = [
            "rollout",
            "status",
            "deployment/flipt-operator",
            "--namespace",
            release::SYSTEM,
            "--timeout",
            TIMEOUT,
        ];
        for (phase_name, wants_next) in
            [("before a rotation", false), ("with the next one announced", true), ("after the swap", false)]
        {
            if wants_next {
                until_some(phase_name, || async {
                    phase().await.filter(|(_, next)| *next)
                })
                .await
                .unwrap();
            }
            end_leader(true).await;
            let began = Instant::now();
            let before = phase().await.unwrap().0;
            let (mut created, mut missed) = (0, 0);
            // Whoever leads now goes on until another certificate is served.
            while began.elapsed() < ENDING
                || (phase().await.unwrap().0 == before && began.elapsed() < PATIENCE)
            {
                let at_the_kill = began.elapsed() < PROXY_LAG;
                let without = create_pods(&namespace, 20).await;
                if at_the_kill {
                    (created, missed) = (created + 20, missed + without);
                } else {
                    assert_eq!(without, 0, "killed {phase_name}");
                }
            }
            assert!(missed * 2 <= created, "killed {phase_name}: {missed} of {created} pods without a sidecar");
            assert_ne!(phase().await.unwrap().0, before, "killed {phase_name}: nobody renews any more");
            kubectl(&rollout).await.unwrap();
            println!(
                "leader killed {phase_name}: renewed after {:.0} s; without a sidecar: {missed} of {created} pods at the kill, \
                 0 later",
                began.elapsed().as_secs_f64()
            );
        }
        // A leader that ends in good order loses no pod, not even in that moment.
        end_leader(false).await;
        let ended = Instant::now();
        while ended.elapsed() < ENDING {
            assert_eq!(create_pods(&namespace, 20).await, 0, "ended in good order");
        }
        kubectl(&rollout).await.unwrap();
        end().await;
    })
    .await;
}
