//! The last known good state survives a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flipt_snapshots::follow::{CacheDir, CacheError, CacheOutcome, LoadResult, PollOutcome, Upstream};
use flipt_snapshots::format::encode;
use flipt_snapshots::publish::PublishOptions;
use flipt_snapshots::store::{FolderStore, Source};

use crate::place::{ENVIRONMENT, Place, Reader, files, keys, options, sample, second, sorted, version};

/// A reader whose source is away for good.
fn cut_off(cache: &Path) -> Reader {
    let nowhere = Arc::new(FolderStore::new("/nonexistent/snapshots"));
    Reader::new(nowhere, |options| options.cache = Some(CacheDir::new(cache)))
}

async fn load(reader: &mut Reader) -> CacheOutcome {
    let accepted = &mut reader.accepted;
    reader
        .follower
        .load_cache(|snapshot, _| {
            accepted.push(snapshot);
            Ok(())
        })
        .await
}

fn cached_files(cache: &Path) -> Vec<PathBuf> {
    files(&cache.join(ENVIRONMENT))
}

on_both_stores! {
    async fn what_was_loaded_is_there_after_a_restart_without_the_source(place: &Place) {
        let cache = tempfile::tempdir().unwrap();
        place.publish(1).await;
        let mut reader = place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
        reader.loads().await;
        place.publish(2).await;
        let pointer = reader.loads().await;

        let mut restarted = cut_off(cache.path());
        let CacheOutcome::Loaded(cached) = load(&mut restarted).await else { panic!("not loaded") };
        assert_eq!(*cached, pointer);
        assert_eq!(restarted.accepted, [sorted(sample(2))]);
        let state = restarted.follower.status().state();
        assert_eq!((state.loaded, state.revision, state.source), (true, 2, Some(Source::Cache)));
        assert_eq!(state.verified_at, Some(pointer.verified_at));
        // The source being away is visible, and no reason to drop anything.
        assert_eq!(restarted.fails().await.upstream, Upstream::Missing);
        assert!(restarted.follower.status().state().loaded);
    }

    async fn the_cached_content_is_not_fetched_again(place: &Place) {
        let cache = tempfile::tempdir().unwrap();
        place.publish(1).await;
        let with_cache = || place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
        with_cache().loads().await;
        let mut restarted = with_cache();
        load(&mut restarted).await;
        assert_eq!(restarted.poll().await, PollOutcome::Unchanged);
        assert_eq!(restarted.accepted.len(), 1);
        assert_eq!(restarted.poll().await, PollOutcome::NotModified);
    }

    async fn a_restart_does_not_forget_which_revision_was_seen(place: &Place) {
        let cache = tempfile::tempdir().unwrap();
        let with_cache = || place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
        place.publish(1).await;
        let old = place.read(&keys().pointer()).await.unwrap();
        let mut reader = with_cache();
        reader.loads().await;
        // The same content at a later revision: only the pointer is new.
        place.try_publish(sample(1), version(2), options()).await.unwrap();
        assert_eq!(reader.poll().await, PollOutcome::Unchanged);

        place.write(&keys().pointer(), old).await;
        let mut restarted = with_cache();
        load(&mut restarted).await;
        assert_eq!(restarted.fails().await.upstream, Upstream::RevisionRegressed);
    }

    async fn an_unwritable_cache_does_not_stop_the_flags(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        // Permissions would not stop root; a file in the way stops everybody.
        let in_the_way = folder.path().join("cache");
        fs::write(&in_the_way, "").unwrap();
        let mut reader = place.reader(|options| options.cache = Some(CacheDir::new(&in_the_way)));
        for revision in 1..=2 {
            place.publish(revision).await;
            assert_eq!(reader.loads().await.revision, revision);
        }
        let status = reader.follower.status();
        assert_eq!(status.cache_write_failures(), 2);
        assert_eq!(status.state().upstream, Some(Upstream::Ok));
    }
}

async fn filled(revision: u64) -> tempfile::TempDir {
    let (place, cache) = (Place::folder(), tempfile::tempdir().unwrap());
    place.publish(revision).await;
    place.reader(|options| options.cache = Some(CacheDir::new(cache.path()))).loads().await;
    assert_eq!(cached_files(cache.path()).len(), 2);
    cache
}

#[tokio::test]
async fn an_empty_cache_loads_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let mut reader = cut_off(cache.path());
    assert!(matches!(load(&mut reader).await, CacheOutcome::Empty));
    assert!(!reader.follower.status().state().loaded);
    let mut reader = cut_off(&cache.path().join("missing"));
    assert!(matches!(load(&mut reader).await, CacheOutcome::Empty));
}

#[tokio::test]
async fn a_damaged_cache_is_deleted_and_never_an_empty_set_of_flags() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("a flipped bit", |object| {
            let mut bytes = fs::read(object).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(object, bytes).unwrap();
        }),
        ("a truncated object", |object| {
            let bytes = fs::read(object).unwrap();
            fs::write(object, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("an empty object", |object| fs::write(object, "").unwrap()),
        ("no object", |object| fs::remove_file(object).unwrap()),
        ("an empty pointer", |object| fs::write(object.with_file_name("current.json"), "").unwrap()),
        ("a pointer too long", |object| {
            fs::write(object.with_file_name("current.json"), vec![b' '; 70_000]).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let cache = filled(1).await;
        let object = cached_files(cache.path())
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "gz"))
            .unwrap();
        damage(&object);
        let mut reader = cut_off(cache.path());
        let outcome = load(&mut reader).await;
        assert!(matches!(&outcome, CacheOutcome::Failed(CacheError::Unusable { .. })), "{what}: {outcome:?}");
        assert!(reader.accepted.is_empty(), "{what}");
        let status = reader.follower.status();
        assert!(!status.state().loaded, "{what}");
        assert_eq!(status.loads(Source::Cache, LoadResult::Corrupt), 1, "{what}");
        assert_eq!(cached_files(cache.path()), Vec::<PathBuf>::new(), "{what}");
    }
}

#[tokio::test]
async fn a_crash_between_object_and_pointer_leaves_the_old_pair() {
    let (cache, newer) = (filled(1).await, filled(2).await);
    for path in cached_files(newer.path()) {
        let name = path.file_name().unwrap();
        if name != "current.json" {
            fs::copy(&path, cache.path().join(ENVIRONMENT).join(name)).unwrap();
        }
    }
    let mut reader = cut_off(cache.path());
    assert!(matches!(load(&mut reader).await, CacheOutcome::Loaded(pointer) if pointer.revision == 1));
}

#[tokio::test]
async fn a_write_that_fails_halfway_leaves_the_old_pair() {
    let next = encode(sample(2)).unwrap().digest.hex();
    // Where the temporary file of one of the two would go there is a directory.
    for obstacle in [".current.json.tmp".to_owned(), format!(".{next}.json.gz.tmp")] {
        let (place, cache) = (Place::folder(), tempfile::tempdir().unwrap());
        let mut reader = place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
        place.publish(1).await;
        reader.loads().await;
        fs::create_dir(cache.path().join(ENVIRONMENT).join(&obstacle)).unwrap();
        place.publish(2).await;
        reader.loads().await;
        assert_eq!(reader.follower.status().cache_write_failures(), 1);

        let mut restarted = cut_off(cache.path());
        let outcome = load(&mut restarted).await;
        assert!(matches!(&outcome, CacheOutcome::Loaded(pointer) if pointer.revision == 1), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_failed_write_is_made_up_for_and_costs_nothing_that_was_there() {
    let (place, cache) = (Place::folder(), tempfile::tempdir().unwrap());
    let mut reader = place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
    place.publish(1).await;
    reader.loads().await;
    let next = encode(sample(2)).unwrap().digest.hex();
    let obstacle = cache.path().join(ENVIRONMENT).join(format!(".{next}.json.gz.tmp"));
    fs::create_dir(&obstacle).unwrap();
    place.publish(2).await;
    reader.loads().await;
    // The same content under a later revision: its object is not on disk, so its pointer must not be either.
    place.try_publish(sample(2), version(3), options()).await.unwrap();
    assert_eq!(reader.poll().await, PollOutcome::Unchanged);
    let outcome = load(&mut cut_off(cache.path())).await;
    assert!(matches!(&outcome, CacheOutcome::Loaded(pointer) if pointer.revision == 1), "{outcome:?}");

    fs::remove_dir(&obstacle).unwrap();
    place.try_publish(sample(2), version(4), options()).await.unwrap();
    assert_eq!(reader.poll().await, PollOutcome::Unchanged);
    let outcome = load(&mut cut_off(cache.path())).await;
    assert!(matches!(&outcome, CacheOutcome::Loaded(pointer) if pointer.revision == 4), "{outcome:?}");
}

#[tokio::test]
async fn the_cache_remembers_when_an_unchanged_state_was_confirmed() {
    let (place, cache) = (Place::folder(), tempfile::tempdir().unwrap());
    let mut reader = place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
    let confirmed = |seconds| PublishOptions { now: Some(second(seconds)), ..options() };
    for (seconds, remembered) in [(0, 0), (30, 0), (90, 90), (100, 90), (3_600, 3_600)] {
        place.try_publish(sample(1), version(1), confirmed(seconds)).await.unwrap();
        reader.poll().await;
        let CacheOutcome::Loaded(pointer) = load(&mut cut_off(cache.path())).await else {
            panic!("not loaded")
        };
        assert_eq!(pointer.verified_at, second(remembered), "confirmed after {seconds} s");
    }
}

#[tokio::test]
async fn the_cache_keeps_one_object() {
    let (place, cache) = (Place::folder(), tempfile::tempdir().unwrap());
    let mut reader = place.reader(|options| options.cache = Some(CacheDir::new(cache.path())));
    for revision in 1..=5 {
        place.publish(revision).await;
        reader.loads().await;
        assert_eq!(cached_files(cache.path()).len(), 2);
    }
}

#[tokio::test]
async fn a_refused_cache_is_deleted() {
    let cache = filled(1).await;
    let mut reader = cut_off(cache.path());
    let outcome = reader.follower.load_cache(|_, _| Err("not with me".to_owned())).await;
    assert!(matches!(outcome, CacheOutcome::Rejected(reason) if reason == "not with me"));
    assert!(!reader.follower.status().state().loaded);
    assert_eq!(cached_files(cache.path()), Vec::<PathBuf>::new());
}
