//! Operators are replaced without a pod that misses its sidecar.

use std::time::{Duration, Instant};

use flipt_e2e_cluster::{in_namespace, kubectl, release};

use crate::pods::create_pods;

#[tokio::test]
async fn no_pod_misses_its_sidecar_while_operators_are_replaced() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        let deployment = ["deployment/flipt-operator", "--namespace", release::SYSTEM];
        let mut created = 0;
        for _ in 0..2 {
            kubectl(&[&["rollout", "restart"], &deployment[..]].concat()).await.unwrap();
            let began = Instant::now();
            // New pods come one after the other, and old ones end slowly.
            while began.elapsed() < Duration::from_secs(45) {
                let without = create_pods(&namespace, 20).await;
                assert_eq!(without, 0, "{:.1} s after the restart", began.elapsed().as_secs_f64());
                created += 20;
            }
            kubectl(&[&["rollout", "status", "--timeout", "90s"], &deployment[..]].concat()).await.unwrap();
        }
        println!("{created} pods created while operators were replaced twice: 0 without a sidecar");
    })
    .await;
}
