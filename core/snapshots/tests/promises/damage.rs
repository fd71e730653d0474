//! Damaged, forged and foreign content: refused, what is loaded stays, and repair is noticed.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use flipt_snapshots::Digest;
use flipt_snapshots::follow::{LoadResult, PollOutcome, Upstream};
use flipt_snapshots::format::{
    Alternate, Encoding, Keys, MAX_OBJECT_BYTES, MAX_RAW_BYTES, SCHEMA_VERSION, encode,
};

use crate::place::{Place, Reader, keys, sample, sorted};

fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// A reader that has revision 1, and the key and bytes of the object of revision 2, which is published.
async fn with_next(place: &Place) -> (Reader, String, Vec<u8>) {
    place.publish(1).await;
    let mut reader = place.reader(|_| {});
    reader.loads().await;
    let key = place.publish(2).await.object_key;
    let object = place.read(&key).await.unwrap();
    (reader, key, object)
}

/// The object is `content` now; the reader refuses it as corrupt, and takes the right one afterwards.
async fn refused_then_repaired(place: &Place, content: Vec<u8>, reason: &str) {
    let (mut reader, key, object) = with_next(place).await;
    place.write(&key, content).await;
    for _ in 0..2 {
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::Corrupt, "{error}");
        assert!(error.message.contains(reason) && error.message.contains(&key), "{error}");
    }
    assert_eq!(reader.follower.status().loads(place.store.source(), LoadResult::Corrupt), 2);
    place.write(&key, object).await;
    assert_eq!(reader.loads().await.revision, 2);
    assert_eq!(reader.accepted, [sorted(sample(1)), sorted(sample(2))]);
}

on_both_stores! {
    async fn a_flipped_bit_is_corrupt(place: &Place) {
        let mut object = encode(sample(2)).unwrap().bytes;
        let middle = object.len() / 2;
        object[middle] ^= 0x10;
        refused_then_repaired(place, object, "corrupt").await;
    }

    async fn a_truncated_object_is_corrupt(place: &Place) {
        let mut object = encode(sample(2)).unwrap().bytes;
        object.truncate(object.len() - 9);
        refused_then_repaired(place, object, "truncated").await;
    }

    async fn an_empty_object_is_corrupt(place: &Place) {
        refused_then_repaired(place, Vec::new(), "corrupt").await;
    }

    async fn uncompressed_content_is_corrupt(place: &Place) {
        let raw = serde_json::to_vec(&sorted(sample(2))).unwrap();
        refused_then_repaired(place, raw, "corrupt").await;
    }

    async fn other_valid_content_has_the_wrong_digest(place: &Place) {
        refused_then_repaired(place, encode(sample(3)).unwrap().bytes, "digest").await;
    }

    async fn content_longer_than_announced_is_not_unpacked(place: &Place) {
        let mut raw = serde_json::to_vec(&sorted(sample(2))).unwrap();
        raw.extend(vec![b' '; 1024 * 1024]);
        refused_then_repaired(place, gzip(&raw), "unpacks to more").await;
    }

    async fn a_bomb_is_refused_without_being_unpacked(place: &Place) {
        let (mut reader, _, _) = with_next(place).await;
        let raw = vec![b' '; usize::try_from(2 * MAX_RAW_BYTES).unwrap()];
        let (digest, bomb) = (Digest::of(&raw), gzip(&raw));
        drop(raw);
        let path = Keys::object_path(&digest);
        place.write(&keys().absolute(&path), bomb).await;
        // Announced honestly: nothing is even fetched.
        place.change_pointer(|pointer| {
            pointer.digest = digest;
            pointer.path = path.clone();
            pointer.raw_size = 2 * MAX_RAW_BYTES;
        })
        .await;
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::TooLarge, "{error}");
        // Announced as small.
        place.change_pointer(|pointer| pointer.raw_size = 1000).await;
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::Corrupt, "{error}");
        assert!(error.message.contains("more than the 1000 bytes"), "{error}");
        // Announced as just allowed.
        place.change_pointer(|pointer| pointer.raw_size = MAX_RAW_BYTES).await;
        assert_eq!(reader.fails().await.upstream, Upstream::Corrupt);
    }

    async fn an_object_beyond_the_limit_is_not_read(place: &Place) {
        let (mut reader, key, _) = with_next(place).await;
        // The pointer says little, the store has much.
        place.write(&key, vec![0; usize::try_from(MAX_OBJECT_BYTES).unwrap() + 1]).await;
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::TooLarge, "{error}");
        place.change_pointer(|pointer| pointer.size = MAX_OBJECT_BYTES + 1).await;
        assert_eq!(reader.fails().await.upstream, Upstream::TooLarge);
        assert_eq!(reader.follower.status().loads(place.store.source(), LoadResult::TooLarge), 2);
    }

    async fn a_snapshot_larger_than_memory_is_not_loaded(place: &Place) {
        place.publish(1).await;
        let raw_size = place.pointer().await.raw_size;
        let mut reader = place.reader(|options| {
            options.limits.memory_left = Some(Arc::new(move || raw_size * 4 - 1));
        });
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::TooLarge);
        assert!(error.message.contains("memory limit"), "{error}");
        let mut reader =
            place.reader(|options| options.limits.memory_left = Some(Arc::new(move || raw_size * 4)));
        reader.loads().await;
    }

    async fn a_newer_schema_without_alternate_is_too_new(place: &Place) {
        let (mut reader, _, _) = with_next(place).await;
        let readable = place.pointer().await;
        place.change_pointer(|pointer| pointer.schema_version = SCHEMA_VERSION + 1).await;
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::SchemaTooNew);
        assert!(error.message.contains("update"), "{error}");
        // Also when it has none of the fields known here.
        place.write(&keys().pointer(), r#"{"kind":"flipt-snapshot","schemaVersion":9,"x":1}"#).await;
        assert_eq!(reader.fails().await.upstream, Upstream::SchemaTooNew);
        place.write(&keys().pointer(), readable.to_bytes().unwrap()).await;
        reader.loads().await;
    }

    async fn a_newer_schema_with_an_alternate_is_read(place: &Place) {
        place.publish(1).await;
        let old = place.pointer().await;
        let alternate = |schema_version, digest, path: &str| Alternate {
            schema_version,
            digest,
            path: path.to_owned(),
            encoding: Encoding::Gzip,
            size: old.size,
            raw_size: old.raw_size,
        };
        place.change_pointer(|pointer| {
            pointer.schema_version = SCHEMA_VERSION + 2;
            pointer.min_reader = SCHEMA_VERSION + 2;
            pointer.digest = Digest::of(b"newer");
            pointer.path = "objects/newer.json.gz".into();
            pointer.alternates = vec![
                alternate(SCHEMA_VERSION - 1, Digest::of(b"older"), "objects/older.json.gz"),
                alternate(SCHEMA_VERSION, old.digest, &old.path),
                alternate(SCHEMA_VERSION + 1, Digest::of(b"new"), "objects/new.json.gz"),
            ];
        })
        .await;
        let mut reader = place.reader(|_| {});
        reader.loads().await;
        assert_eq!(reader.accepted, [sorted(sample(1))]);
        assert_eq!(reader.follower.status().state().digest, Some(old.digest));
        assert_eq!(reader.poll().await, PollOutcome::NotModified);
    }

    async fn what_is_no_pointer_is_corrupt(place: &Place) {
        let (mut reader, _, _) = with_next(place).await;
        let good = place.read(&keys().pointer()).await.unwrap();
        let truncated = good[..good.len() / 2].to_vec();
        let foreign = String::from_utf8(good.clone()).unwrap().replace("flipt-snapshot", "something").into_bytes();
        let outside = String::from_utf8(good.clone()).unwrap().replace("objects/", "objects/../../").into_bytes();
        for content in
            [Vec::new(), b"null".to_vec(), b"{}".to_vec(), b"\xff\xfe\0".to_vec(), truncated, foreign, outside]
        {
            place.write(&keys().pointer(), content).await;
            let error = reader.fails().await;
            assert_eq!(error.upstream, Upstream::Corrupt, "{error}");
        }
        place.write(&keys().pointer(), vec![b' '; 64 * 1024 + 1]).await;
        assert_eq!(reader.fails().await.upstream, Upstream::TooLarge);
        place.write(&keys().pointer(), good).await;
        reader.loads().await;
    }

    async fn a_pointer_without_its_object_changes_nothing(place: &Place) {
        let (mut reader, key, object) = with_next(place).await;
        place.store.delete(&key).await.unwrap();
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::Missing);
        assert!(error.message.contains(&key), "{error}");
        place.write(&key, object).await;
        reader.loads().await;
    }

    async fn a_deleted_pointer_changes_nothing(place: &Place) {
        let (mut reader, _, _) = with_next(place).await;
        reader.loads().await;
        place.store.delete(&keys().pointer()).await.unwrap();
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::Missing);
        assert!(error.message.contains("publisher"), "{error}");
        // The next publication puts it back.
        place.publish(2).await;
        assert_eq!(reader.poll().await, PollOutcome::Unchanged);
        assert_eq!(reader.follower.status().state().upstream, Some(Upstream::Ok));
        assert_eq!(reader.follower.status().state().last_error, None);
    }
}
