//! What a publication writes, and what it refuses.

use flipt_model::Snapshot;
use flipt_snapshots::format::{MAX_RAW_BYTES, decode};
use flipt_snapshots::publish::{ConditionalWrites, Guard, PublishError, PublishOptions, Version, current};

use crate::place::{ENVIRONMENT, Place, files, keys, options, sample, second, sorted, version};

on_both_stores! {
    async fn feature_files_of_removed_namespaces_are_deleted_and_nothing_else(place: &Place) {
        let with = |namespaces: &[&str]| PublishOptions {
            features: namespaces
                .iter()
                .map(|key| (format!("features/{key}/features.yaml"), b"flags: []\n".to_vec()))
                .collect(),
            ..options()
        };
        place.write("features/notes.txt", "somebody's").await;
        place.try_publish(sample(1), version(1), with(&["a", "b"])).await.unwrap();
        place.try_publish(sample(2), version(2), with(&["b"])).await.unwrap();
        assert_eq!(place.keys("features/").await, ["features/b/features.yaml", "features/notes.txt"]);
    }

    async fn the_first_publication_writes_object_pointer_and_history(place: &Place) {
        assert!(current(&*place.store, ENVIRONMENT).await.unwrap().is_none());
        let options = PublishOptions { now: Some(second(0)), ..options() };
        let published = place.try_publish(sample(7), version(7), options).await.unwrap();
        assert!(published.changed && !published.superseded);
        assert_eq!(published.warnings, Vec::<String>::new());

        let pointer = place.pointer().await;
        assert_eq!(pointer, published.pointer);
        assert_eq!((pointer.epoch.as_str(), pointer.revision), ("db-1", 7));
        assert_eq!((pointer.created_at, pointer.verified_at), (second(0), second(0)));
        assert_eq!((pointer.counts.namespaces, pointer.counts.flags, pointer.counts.segments), (2, 2, 1));
        assert_eq!(pointer.writer, "test 1");

        let hex = pointer.digest.hex();
        assert_eq!(pointer.path, format!("objects/sha256/{}/{hex}.json.gz", &hex[..2]));
        assert_eq!(published.object_key, format!("v1/default/{}", pointer.path));
        let object = place.read(&published.object_key).await.unwrap();
        assert_eq!(object.len() as u64, pointer.size);
        assert_eq!(decode(&object, &pointer.digest, pointer.raw_size).unwrap(), sorted(sample(7)));

        let history = place.read("v1/default/history/00000000000000000007.json").await.unwrap();
        assert_eq!(history, place.read("v1/default/current.json").await.unwrap());
        assert_eq!(current(&*place.store, ENVIRONMENT).await.unwrap(), Some(pointer));
    }

    async fn an_unchanged_publication_moves_only_the_time_of_verification(place: &Place) {
        let at = |seconds, writer: &str| PublishOptions {
            now: Some(second(seconds)),
            writer: writer.to_owned(),
            ..options()
        };
        place.try_publish(sample(1), version(1), at(0, "first")).await.unwrap();
        let before = place.pointer().await;
        let objects = place.keys("v1/default/objects/").await;

        let published = place.try_publish(sample(1), version(1), at(60, "second")).await.unwrap();
        assert!(!published.changed && !published.superseded);
        let mut after = place.pointer().await;
        assert_eq!(after.verified_at, second(60));
        after.verified_at = before.verified_at;
        assert_eq!(after, before);
        assert_eq!(place.keys("v1/default/objects/").await, objects);
        assert_eq!(place.keys("v1/default/history/").await.len(), 1);
    }

    async fn a_change_moves_the_pointer_and_keeps_the_past(place: &Place) {
        place.publish(1).await;
        let first = place.pointer().await;
        assert!(place.publish(2).await.changed);
        let second = place.pointer().await;
        assert_ne!(first.digest, second.digest);
        assert_eq!(second.revision, 2);
        assert_eq!(place.keys("v1/default/objects/").await.len(), 2);
        assert_eq!(
            place.keys("v1/default/history/").await,
            ["v1/default/history/00000000000000000001.json", "v1/default/history/00000000000000000002.json"]
        );
    }

    async fn a_new_revision_with_the_old_content_needs_no_new_object(place: &Place) {
        place.publish(1).await;
        let published = place.try_publish(sample(1), version(2), options()).await.unwrap();
        assert!(published.changed);
        assert_eq!(place.pointer().await.revision, 2);
        assert_eq!(place.keys("v1/default/objects/").await.len(), 1);
        assert_eq!(place.keys("v1/default/history/").await.len(), 2);
    }

    async fn another_content_at_the_same_revision_is_published(place: &Place) {
        // As when the exported namespaces are configured differently.
        place.publish(1).await;
        let published = place.try_publish(sample(99), version(1), options()).await.unwrap();
        assert!(published.changed);
        assert_eq!(place.pointer().await.digest, published.pointer.digest);
    }

    async fn feature_files_are_written_only_when_they_differ(place: &Place) {
        let path = "features/shop/features.yaml";
        let with = |content: &str| PublishOptions {
            features: vec![(path.to_owned(), content.as_bytes().to_vec())],
            ..options()
        };
        let written = async |content, revision| {
            place.try_publish(sample(1), version(revision), with(content)).await.unwrap().features_written
        };
        assert_eq!(written("namespace: shop\n", 1).await, 1);
        assert_eq!(written("namespace: shop\n", 1).await, 0);
        assert_eq!(written("namespace: shop\n", 2).await, 0);
        assert_eq!(written("namespace: shop\nflags: []\n", 3).await, 1);
        assert_eq!(written("short", 4).await, 1);
        assert_eq!(place.read(path).await.unwrap(), b"short");
    }

    async fn a_feature_file_elsewhere_is_refused(place: &Place) {
        for path in ["v1/default/current.json", "features/../x/features.yaml", "features/a/b/features.yaml"] {
            let options = PublishOptions { features: vec![(path.to_owned(), Vec::new())], ..options() };
            let error = place.try_publish(sample(1), version(1), options).await.unwrap_err();
            assert!(matches!(error, PublishError::InvalidFeaturePath(_)), "{error}");
        }
        assert_eq!(place.read("v1/default/current.json").await, None);
    }

    async fn a_lower_revision_is_refused(place: &Place) {
        place.publish(5).await;
        let error = place.try_publish(sample(4), version(4), options()).await.unwrap_err();
        assert!(matches!(error, PublishError::RevisionRegressed { current: 5, ours: 4, .. }), "{error}");
        assert_eq!(place.pointer().await.revision, 5);
        // Nothing was uploaded for it either.
        assert_eq!(place.keys("v1/default/objects/").await.len(), 1);
    }

    async fn a_lower_revision_of_the_current_content_confirms_it(place: &Place) {
        let at = |seconds| PublishOptions { now: Some(second(seconds)), ..options() };
        place.try_publish(sample(5), version(5), at(0)).await.unwrap();
        let published = place.try_publish(sample(5), version(4), at(60)).await.unwrap();
        assert!(!published.changed);
        let pointer = place.pointer().await;
        assert_eq!((pointer.revision, pointer.verified_at), (5, second(60)));
        assert_eq!(place.keys("v1/default/history/").await.len(), 1);
    }

    async fn another_epoch_is_refused_unless_it_is_meant(place: &Place) {
        place.publish(5).await;
        let restored = Version { epoch: "db-2".into(), revision: 2 };
        let error = place.try_publish(sample(2), restored.clone(), options()).await.unwrap_err();
        assert!(matches!(error, PublishError::EpochMismatch { .. }), "{error}");
        assert_eq!(place.pointer().await.epoch, "db-1");

        let forced = PublishOptions { new_epoch: true, ..options() };
        assert!(place.try_publish(sample(2), restored.clone(), forced).await.unwrap().changed);
        assert_eq!((place.pointer().await.epoch.as_str(), place.pointer().await.revision), ("db-2", 2));
        // From then on without force, and the other database is the foreign one.
        assert!(!place.try_publish(sample(2), restored, options()).await.unwrap().changed);
        let error = place.try_publish(sample(6), version(6), options()).await.unwrap_err();
        assert!(matches!(error, PublishError::EpochMismatch { .. }), "{error}");
    }

    async fn what_is_no_pointer_of_ours_is_not_overwritten_by_accident(place: &Place) {
        for content in ["not json", "{}", r#"{"kind":"flipt-snapshot","schemaVersion":9}"#] {
            place.write(&keys().pointer(), content).await;
            let error = place.try_publish(sample(1), version(1), options()).await.unwrap_err();
            assert!(matches!(error, PublishError::PointerUnreadable { .. }), "{error}");
            assert_eq!(place.read(&keys().pointer()).await.unwrap(), content.as_bytes());
        }
        let forced = PublishOptions { new_epoch: true, ..options() };
        assert!(place.try_publish(sample(1), version(1), forced).await.unwrap().changed);
    }

    async fn the_guard_refuses_emptied_and_shrunk_state(place: &Place) {
        let guarded = || PublishOptions {
            guard: Some(Guard { allow_empty: false, max_shrink_percent: 40 }),
            ..options()
        };
        let empty = Snapshot::default();
        // The first publication has nothing to compare with.
        place.try_publish(sample(1), version(1), guarded()).await.unwrap();
        let error = place.try_publish(empty.clone(), version(2), guarded()).await.unwrap_err();
        assert!(matches!(error, PublishError::Guarded { current: 2, ours: 0, .. }), "{error}");
        let mut half = sample(2);
        half.namespaces[0].flags.pop();
        let error = place.try_publish(half, version(2), guarded()).await.unwrap_err();
        assert!(matches!(error, PublishError::Guarded { current: 2, ours: 1, .. }), "{error}");
        assert_eq!(place.pointer().await.revision, 1);
        assert!(place.try_publish(empty, version(2), options()).await.unwrap().changed);
    }

    async fn a_lost_or_damaged_object_is_written_again(place: &Place) {
        let published = place.publish(1).await;
        let intact = place.read(&published.object_key).await.unwrap();
        place.store.delete(&published.object_key).await.unwrap();
        assert!(!place.publish(1).await.changed);
        assert_eq!(place.read(&published.object_key).await.unwrap(), intact);

        place.write(&published.object_key, &intact[..10]).await;
        assert!(!place.publish(1).await.changed);
        assert_eq!(place.read(&published.object_key).await.unwrap(), intact);
    }

    async fn a_lost_history_entry_is_written_again(place: &Place) {
        place.publish(1).await;
        place.store.delete(&keys().history(1)).await.unwrap();
        place.publish(1).await;
        assert_eq!(place.keys("v1/default/history/").await.len(), 1);
    }

    async fn the_same_content_compressed_differently_is_left_alone(place: &Place) {
        let published = place.publish(1).await;
        let raw = serde_json::to_vec(&sorted(sample(1))).unwrap();
        let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut other, &raw).unwrap();
        let other = other.finish().unwrap();
        place.write(&published.object_key, other.clone()).await;
        let again = place.publish(1).await;
        assert_eq!(place.read(&published.object_key).await.unwrap(), other);
        assert_eq!(again.pointer.size, other.len() as u64);
    }

    async fn without_conditional_writes_publishing_works_too(place: &Place) {
        let off = || PublishOptions { conditional_writes: ConditionalWrites::Off, ..options() };
        for revision in 1..=2 {
            assert!(place.try_publish(sample(revision), version(revision), off()).await.unwrap().changed);
            assert!(!place.try_publish(sample(revision), version(revision), off()).await.unwrap().changed);
        }
        assert_eq!(place.pointer().await.revision, 2);
    }

    async fn what_no_reader_would_take_is_not_published(place: &Place) {
        let mut snapshot = sample(1);
        let size = usize::try_from(MAX_RAW_BYTES).unwrap();
        snapshot.namespaces[0].description = "x".repeat(size);
        let error = place.try_publish(snapshot, version(1), options()).await.unwrap_err();
        assert!(matches!(error, PublishError::Snapshot(_)), "{error}");
        assert_eq!(place.read(&keys().pointer()).await, None);
    }
}

#[tokio::test]
async fn a_folder_holds_nothing_but_what_is_documented() {
    let place = Place::folder();
    place.publish(1).await;
    let names = |path: &str| -> Vec<_> {
        files(&place.path().join(path))
            .into_iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(""), [".flipt-lock", "v1"]);
    assert_eq!(names("v1/default"), ["current.json", "history", "objects"]);
}

#[tokio::test]
async fn the_first_publication_creates_the_folder_but_never_a_bucket() {
    for (place, creates) in [(Place::folder(), true), (Place::s3().await, false)] {
        let store = place.elsewhere().await;
        let published =
            flipt_snapshots::publish(&*store, ENVIRONMENT, sample(1), version(1), options()).await;
        assert_eq!(published.is_ok_and(|published| published.changed), creates);
    }
}
