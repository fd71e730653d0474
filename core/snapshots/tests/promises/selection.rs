//! Publications of a part of the namespaces.

use flipt_model::Snapshot;
use flipt_snapshots::Selection;

use crate::place::{Place, options, sample, version};

fn only(namespaces: &str, revision: u64) -> Snapshot {
    let mut snapshot = sample(revision);
    namespaces.parse::<Selection>().unwrap().apply(&mut snapshot);
    snapshot
}

on_both_stores! {
    async fn another_choice_of_namespaces_is_published_and_followed_at_the_same_revision(place: &Place) {
        place.try_publish(only("shop", 5), version(5), options()).await.unwrap();
        let mut reader = place.reader(|_| {});
        assert_eq!(reader.loads().await.counts.namespaces, 1);

        let wider = place.try_publish(only("shop,def*", 5), version(5), options()).await.unwrap();
        assert!(wider.changed && !wider.superseded);
        assert_eq!(reader.loads().await.counts.namespaces, 2);

        let narrower = place.try_publish(only("shop", 5), version(5), options()).await.unwrap();
        assert!(narrower.changed);
        assert_eq!(reader.loads().await.counts.namespaces, 1);
        // What was published at a revision is what it is rolled back to: the last.
        assert!(!place.try_publish(only("shop", 5), version(5), options()).await.unwrap().changed);
    }

    async fn a_choice_does_not_excuse_an_older_revision(place: &Place) {
        place.publish(5).await;
        let error = place.try_publish(only("shop", 4), version(4), options()).await.unwrap_err();
        assert!(error.to_string().contains("revision 5"), "{error}");
    }
}
