//! Two exporters on one place of a real object store: one wins each round, and nothing goes back.

use flipt_e2e_cluster::{in_namespace, object_store};
use flipt_model::{Flag, FlagType, Namespace, Snapshot};
use flipt_snapshots::publish::{PublishError, PublishOptions, Version};

fn state(revision: u64) -> Snapshot {
    let flag = Flag {
        key: "banner".into(),
        name: format!("Banner {revision}"),
        flag_type: FlagType::Boolean,
        ..Flag::default()
    };
    let namespace = Namespace {
        key: "default".into(),
        name: "Default".into(),
        flags: vec![flag],
        ..Namespace::default()
    };
    Snapshot { namespaces: vec![namespace] }
}

#[tokio::test]
async fn a_hundred_races_never_take_the_pointer_back() {
    in_namespace(|client, namespace| async move {
        object_store::start_object_store(&client).await;
        let location = object_store::location(&namespace);
        let stores = [
            flipt_snapshots::open(&location).await.unwrap(),
            flipt_snapshots::open(&location).await.unwrap(),
        ];
        let mut superseded = 0;
        for round in 0..100_u64 {
            let publish = |store: usize, revision: u64| {
                let version = Version { epoch: "race".into(), revision };
                flipt_snapshots::publish(
                    &*stores[store],
                    "default",
                    state(revision),
                    version,
                    PublishOptions::default(),
                )
            };
            let (older, newer) = (2 * round + 1, 2 * round + 2);
            let (first, second) = tokio::join!(publish(0, older), publish(1, newer));
            second.unwrap_or_else(|error| panic!("round {round}: {error}"));
            match first {
                Ok(published) => superseded += u32::from(published.superseded),
                Err(PublishError::RevisionRegressed { .. }) => superseded += 1,
                Err(error) => panic!("round {round}: {error}"),
            }
            let pointer =
                object_store::object(&format!("{namespace}/v1/default/current.json")).await.unwrap();
            let pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
            assert_eq!(pointer["revision"], newer, "round {round}");
        }
        println!("100 races: the older exporter was overtaken {superseded} times");
    })
    .await;
}
