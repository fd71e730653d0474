//! Operators are replaced without a pod that misses its sidecar.

use std::time::{Duration, Instant};

use flipt_e2e_cluster::{PATIENCE, in_namespace, kubectl, release};

use crate::pods::create_pods;

/// The last operator of those before ends so long after the new ones are ready.
const ENDING: Duration = Duration::from_secs(20);

#[tokio::test]
async fn no_pod_misses_its_sidecar_while_operators_are_replaced() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        let deployment = ["deployment/flipt-operator", "--namespace", release::SYSTEM];
        kubectl(&[&["rollout", "restart"], &deployment[..]].concat()).await.unwrap();
        let status = [&["rollout", "status", "--watch=false"], &deployment[..]].concat();
        let (began, mut created, mut replaced) = (Instant::now(), 0, None::<Instant>);
        while replaced.is_none_or(|since| since.elapsed() < ENDING) {
            let without = create_pods(&namespace, 20).await;
            assert_eq!(without, 0, "{:.1} s after the restart", began.elapsed().as_secs_f64());
            created += 20;
            if replaced.is_none() && kubectl(&status).await.unwrap().contains("successfully rolled out") {
                replaced = Some(Instant::now());
            }
            assert!(began.elapsed() < PATIENCE, "the operators are not replaced");
        }
        println!(
            "{created} pods created in {:.0} s while operators were replaced: 0 without a sidecar",
            began.elapsed().as_secs_f64()
        );
    })
    .await;
}
