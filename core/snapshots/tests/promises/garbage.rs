//! What is removed, and what never is.

use std::time::Duration;

use chrono::Utc;
use flipt_snapshots::follow::PollOutcome;
use flipt_snapshots::publish::{Collected, PublishOptions, Version, collect_garbage};

use crate::place::{Place, keys, options, sample, version};

/// Keeps three history entries, of any age.
fn keep_three() -> PublishOptions {
    PublishOptions { keep_revisions: 3, min_age: Duration::ZERO, ..options() }
}

/// Later than every write so far by the store's clock, which may count in whole seconds.
fn later() -> PublishOptions {
    PublishOptions { now: Some(Utc::now() + Duration::from_secs(5)), ..keep_three() }
}

on_both_stores! {
    async fn old_revisions_go_and_recent_ones_stay(place: &Place) {
        for revision in 1..=5 {
            place.publish(revision).await;
        }
        let published = place.try_publish(sample(6), version(6), later()).await.unwrap();
        assert_eq!(published.collected, Some(Collected { objects: 3, history: 3 }), "{published:?}");
        assert_eq!(place.keys("v1/default/history/").await, [keys().history(4), keys().history(5), keys().history(6)]);
        assert_eq!(place.keys("v1/default/objects/").await.len(), 3);
        assert!(matches!(place.reader(|_| {}).poll().await, PollOutcome::Loaded(_)));
    }

    async fn nothing_younger_than_the_minimum_age_goes(place: &Place) {
        for revision in 1..=5 {
            let options = PublishOptions { min_age: Duration::from_secs(3600), ..keep_three() };
            place.try_publish(sample(revision), version(revision), options).await.unwrap();
        }
        assert_eq!(place.keys("v1/default/history/").await.len(), 5);
        assert_eq!(place.keys("v1/default/objects/").await.len(), 5);
    }

    async fn the_current_object_stays_however_old_it_is(place: &Place) {
        // No history entry names it any more, and flags have not changed for long.
        place.publish(1).await;
        for key in place.keys("v1/default/history/").await {
            place.store.delete(&key).await.unwrap();
        }
        let now = Utc::now() + Duration::from_secs(365 * 24 * 3600);
        let collected = collect_garbage(&*place.store, &keys(), 0, Duration::ZERO, now).await.unwrap();
        assert_eq!(collected, Collected::default());
        assert_eq!(place.keys("v1/default/objects/").await.len(), 1);
    }

    async fn an_object_that_is_used_again_stays(place: &Place) {
        place.publish(1).await;
        place.publish(2).await;
        // Back to the content of revision 1.
        let options = PublishOptions { keep_revisions: 1, ..later() };
        let published = place.try_publish(sample(1), version(3), options).await.unwrap();
        assert_eq!(published.collected, Some(Collected { objects: 1, history: 2 }));
        assert_eq!(place.keys("v1/default/objects/").await, [published.object_key]);
    }

    async fn nothing_goes_when_a_kept_entry_cannot_be_read(place: &Place) {
        for revision in 1..=5 {
            place.publish(revision).await;
        }
        place.write(&keys().history(4), "damaged").await;
        let published = place.try_publish(sample(6), version(6), later()).await.unwrap();
        assert!(published.changed);
        assert_eq!(published.collected, None);
        assert_eq!(published.warnings.len(), 1, "{:?}", published.warnings);
        assert_eq!(place.keys("v1/default/objects/").await.len(), 6);
    }

    async fn nothing_goes_without_a_pointer(place: &Place) {
        place.publish(1).await;
        place.store.delete(&keys().pointer()).await.unwrap();
        let now = Utc::now() + Duration::from_secs(60);
        let collected = collect_garbage(&*place.store, &keys(), 0, Duration::ZERO, now).await.unwrap();
        assert_eq!(collected, Collected::default());
        assert_eq!(place.keys("v1/default/objects/").await.len(), 1);
    }

    async fn an_unchanged_publication_collects_nothing(place: &Place) {
        place.publish(1).await;
        let published = place.try_publish(sample(1), version(1), later()).await.unwrap();
        assert_eq!(published.collected, None);
    }

    async fn other_environments_are_left_alone(place: &Place) {
        let store = &*place.store;
        flipt_snapshots::publish(store, "staging", sample(1), version(1), options()).await.unwrap();
        for revision in 1..=4 {
            place.publish(revision).await;
        }
        let options = PublishOptions { keep_revisions: 0, ..later() };
        place.try_publish(sample(5), version(5), options).await.unwrap();
        assert_eq!(place.keys("v1/staging/objects/").await.len(), 1);
        assert_eq!(place.keys("v1/default/objects/").await.len(), 1);
    }

    async fn a_new_epoch_with_lower_revisions_keeps_its_own_history(place: &Place) {
        for revision in 101..=103 {
            place.publish(revision).await;
        }
        // Stores count in whole seconds; the new epoch is later than the old one by more than that.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let epoch = |revision| Version { epoch: "db-2".into(), revision };
        let forced = PublishOptions { new_epoch: true, ..options() };
        place.try_publish(sample(1), epoch(1), forced).await.unwrap();
        let options = PublishOptions { keep_revisions: 2, ..later() };
        place.try_publish(sample(2), epoch(2), options).await.unwrap();
        assert_eq!(place.keys("v1/default/history/").await, [keys().history(1), keys().history(2)]);
    }
}
