//! What a reader gets, in good times.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flipt_snapshots::follow::{LoadResult, PollOutcome, PollResult, Upstream};
use flipt_snapshots::publish::{PublishOptions, Version};

use crate::place::{Place, keys, options, sample, second, sorted, version};

on_both_stores! {
    async fn the_first_poll_loads_and_the_next_finds_nothing_new(place: &Place) {
        place.publish(1).await;
        let mut reader = place.reader(|_| {});
        let status = reader.follower.status();
        assert!(!status.state().loaded && status.state().upstream.is_none());

        let pointer = reader.loads().await;
        assert_eq!(reader.accepted, [sorted(sample(1))]);
        let state = status.state();
        assert!(state.loaded);
        assert_eq!((state.revision, state.epoch.as_str()), (1, "db-1"));
        assert_eq!(state.digest, Some(pointer.digest));
        assert_eq!(state.source, Some(place.store.source()));
        assert_eq!(state.upstream, Some(Upstream::Ok));
        assert_eq!(state.counts, pointer.counts);
        assert_eq!(state.raw_size, pointer.raw_size);

        for _ in 0..3 {
            assert_eq!(reader.poll().await, PollOutcome::NotModified);
        }
        assert_eq!(reader.accepted.len(), 1);
        assert_eq!(status.polls(PollResult::Loaded), 1);
        assert_eq!(status.polls(PollResult::NotModified), 3);
        assert_eq!(status.loads(place.store.source(), LoadResult::Ok), 1);
    }

    async fn a_change_is_loaded(place: &Place) {
        let mut reader = place.reader(|_| {});
        for revision in 1..=3 {
            place.publish(revision).await;
            assert_eq!(reader.loads().await.revision, revision);
        }
        assert_eq!(reader.accepted, [sorted(sample(1)), sorted(sample(2)), sorted(sample(3))]);
    }

    async fn the_time_of_verification_moves_without_loading(place: &Place) {
        let at = |seconds| PublishOptions { now: Some(second(seconds)), ..options() };
        place.try_publish(sample(1), version(1), at(0)).await.unwrap();
        let mut reader = place.reader(|_| {});
        reader.loads().await;
        let status = reader.follower.status();
        assert_eq!(status.age(second(90)), Some(Duration::from_secs(90)));
        // A dead publisher shows, although the store answers.
        assert_eq!(reader.poll().await, PollOutcome::NotModified);
        assert_eq!(status.age(second(600)), Some(Duration::from_secs(600)));

        place.try_publish(sample(1), version(1), at(60)).await.unwrap();
        assert_eq!(reader.poll().await, PollOutcome::Unchanged);
        assert_eq!(status.state().verified_at, Some(second(60)));
        assert_eq!(status.age(second(90)), Some(Duration::from_secs(30)));
        assert_eq!(reader.accepted.len(), 1);
        assert_eq!(reader.poll().await, PollOutcome::NotModified);
    }

    async fn a_new_revision_with_the_old_content_is_not_loaded_again(place: &Place) {
        place.publish(1).await;
        let mut reader = place.reader(|_| {});
        reader.loads().await;
        place.try_publish(sample(1), version(2), options()).await.unwrap();
        assert_eq!(reader.poll().await, PollOutcome::Unchanged);
        assert_eq!(reader.follower.status().state().revision, 2);
        assert_eq!(reader.accepted.len(), 1);
    }

    async fn an_older_revision_is_refused(place: &Place) {
        place.publish(1).await;
        let old = place.read(&keys().pointer()).await.unwrap();
        place.publish(2).await;
        let mut reader = place.reader(|_| {});
        reader.loads().await;
        place.write(&keys().pointer(), old).await;
        for _ in 0..2 {
            let error = reader.fails().await;
            assert_eq!(error.upstream, Upstream::RevisionRegressed);
            assert!(error.message.contains("revision 1") && error.message.contains("new epoch"), "{error}");
        }
        place.publish(3).await;
        reader.loads().await;
    }

    async fn a_new_epoch_is_refused_unless_trusted(place: &Place) {
        place.publish(5).await;
        let mut wary = place.reader(|_| {});
        let mut trusting = place.reader(|options| options.trust_epoch_change = true);
        wary.loads().await;
        trusting.loads().await;

        let restored = Version { epoch: "db-2".into(), revision: 2 };
        let forced = PublishOptions { new_epoch: true, ..options() };
        place.try_publish(sample(2), restored, forced).await.unwrap();
        let error = wary.fails().await;
        assert_eq!(error.upstream, Upstream::EpochChanged);
        assert!(error.message.contains("db-2") && error.message.contains("trust"), "{error}");
        assert_eq!(trusting.loads().await.revision, 2);
        // A reader without a past has nothing to compare with.
        assert_eq!(place.reader(|_| {}).loads().await.revision, 2);
    }

    async fn a_refused_snapshot_is_offered_again(place: &Place) {
        place.publish(1).await;
        let mut reader = place.reader(|_| {});
        let status = reader.follower.status();
        let outcome = reader.follower.poll_once(|_, _| Err("no evaluator for it".to_owned())).await;
        let PollOutcome::Failed(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.upstream, Upstream::Corrupt);
        assert!(error.message.contains("no evaluator for it"), "{error}");
        assert!(!status.state().loaded);
        assert_eq!(status.loads(place.store.source(), LoadResult::Rejected), 1);
        // The pointer has not changed, and yet.
        reader.loads().await;
    }

    async fn environments_do_not_mix(place: &Place) {
        place.publish(1).await;
        let mut reader = place.reader(|options| options.environment = "staging".into());
        assert_eq!(reader.fails().await.upstream, Upstream::Missing);
    }

    async fn the_loop_follows_until_it_is_told_to_stop(place: &Place) {
        let reader = place.reader(|_| {});
        let status = reader.follower.status();
        let mut follower = reader.follower;
        let revisions = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let seen = Arc::clone(&revisions);
        let task = tokio::spawn(async move {
            let accept = |_, pointer: &flipt_snapshots::Pointer| {
                seen.lock().unwrap().push(pointer.revision);
                Ok(())
            };
            follower.run(accept, async { drop(stopped.await) }).await;
        });
        // It starts before anything is there.
        for revision in 1..=3 {
            place.publish(revision).await;
            let arrived = async {
                while status.state().revision != revision {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), arrived).await.unwrap();
        }
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        assert_eq!(*revisions.lock().unwrap(), [1, 2, 3]);
    }
}
