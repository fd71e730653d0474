//! Fallbacks: where a reader turns while it has nothing and its source does not answer.

use std::sync::Arc;
use std::time::Duration;

use flipt_snapshots::Follower;
use flipt_snapshots::follow::{CacheDir, Status, Upstream};
use flipt_snapshots::store::{DocumentStore, FolderStore, Source, Store};
use tokio::sync::oneshot;

use crate::place::{Place, Reader, files};
use crate::server::{Told, answer};

const SEED: &str = "namespace: shop\nflags: [{key: checkout, name: Checkout}]\n";

/// A follower that runs until it is dropped.
struct Running {
    status: Arc<Status>,
    _stop: oneshot::Sender<()>,
}

impl Running {
    fn new(mut follower: Follower) -> Self {
        let status = follower.status();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move { follower.run(|_, _| Ok(()), async { drop(stopped.await) }).await });
        Self { status, _stop: stop }
    }

    async fn until(&self, what: &str, holds: impl Fn(&flipt_snapshots::follow::State) -> bool) {
        let waiting = async {
            while !holds(&self.status.state()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, waiting)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.status.state()));
    }
}

fn from(source: Source) -> impl Fn(&flipt_snapshots::follow::State) -> bool {
    move |state| state.source == Some(source)
}

/// A place that is not there yet, and the same place filled.
fn absent(place: &Place) -> Arc<dyn Store> {
    Arc::new(FolderStore::new(place.path().join("later")))
}

#[tokio::test]
async fn a_reader_with_nothing_turns_to_the_server_and_back_when_its_source_answers() {
    let place = Place::folder();
    place.publish(3).await;
    let told = Told::offering(&place).await;
    let reader = Reader::new(absent(&place), |options| options.fallbacks = vec![told.store()]);
    let running = Running::new(reader.follower);
    running.until("loaded from the server", from(Source::Server)).await;
    // The status is about the source, which still has nothing.
    let state = running.status.state();
    assert_eq!((state.upstream, state.revision), (Some(Upstream::Missing), 3));
    assert!(state.last_error.as_ref().unwrap().contains("later"), "{state:?}");
    let asked = told.asked();

    let there = FolderStore::new(place.path().join("later"));
    let publish = |revision| {
        let snapshot = crate::place::sample(revision);
        flipt_snapshots::publish(
            &there,
            "default",
            snapshot,
            crate::place::version(revision),
            crate::place::options(),
        )
    };
    // An older revision there changes nothing.
    publish(2).await.unwrap();
    running.until("regression is refused", |state| state.upstream == Some(Upstream::RevisionRegressed)).await;
    assert_eq!(running.status.state().revision, 3);
    publish(4).await.unwrap();
    running
        .until("the source has taken over", |state| state.revision == 4 && from(Source::File)(state))
        .await;
    assert_eq!(running.status.state().upstream, Some(Upstream::Ok));
    assert_eq!(told.asked(), asked, "a fallback is asked no more once something is loaded");
}

#[tokio::test]
async fn the_same_state_from_the_source_counts_as_from_the_source() {
    let place = Place::folder();
    place.publish(3).await;
    let told = Told::offering(&place).await;
    let reader = Reader::new(absent(&place), |options| options.fallbacks = vec![told.store()]);
    let running = Running::new(reader.follower);
    running.until("loaded from the server", from(Source::Server)).await;
    let there = FolderStore::new(place.path().join("later"));
    flipt_snapshots::publish(
        &there,
        "default",
        crate::place::sample(3),
        crate::place::version(3),
        crate::place::options(),
    )
    .await
    .unwrap();
    running.until("the source has taken over", from(Source::File)).await;
}

#[tokio::test]
async fn a_cached_snapshot_keeps_readers_away_from_fallbacks() {
    let place = Place::folder();
    place.publish(1).await;
    let cache = || Some(CacheDir::new(place.path().join("cache")));
    place.reader(|options| options.cache = cache()).loads().await;
    let told = Told::offering(&place).await;
    let reader = Reader::new(absent(&place), |options| {
        options.cache = cache();
        options.fallbacks = vec![told.store()];
    });
    let mut follower = reader.follower;
    follower.load_cache(|_, _| Ok(())).await;
    let running = Running::new(follower);
    running.until("the source was asked some times", |state| state.consecutive_failures >= 2).await;
    assert_eq!(told.asked(), 0);
    assert_eq!(running.status.state().source, Some(Source::Cache));
}

#[tokio::test]
async fn a_document_is_the_last_resort_and_every_better_source_replaces_it() {
    let place = Place::folder();
    place.publish(3).await;
    let seed = place.path().join("seed.yaml");
    std::fs::write(&seed, SEED).unwrap();
    let working = Told::offering(&place).await;
    let told = Told::new(|_| answer("503 Service Unavailable", "", b"")).await;
    let cache = place.path().join("cache");
    let reader = Reader::new(absent(&place), |options| {
        options.cache = Some(CacheDir::new(&cache));
        options.fallbacks = vec![told.store(), Arc::new(DocumentStore::new(&seed))];
    });
    let running = Running::new(reader.follower);
    running.until("loaded from the document", from(Source::File)).await;
    assert_eq!(running.status.state().counts.flags, 1);
    // It is not kept: the next start shall look for something better first.
    assert!(!cache.exists() || files(&cache).is_empty());

    // The server answers at last: what it has is better.
    let base = working.url.clone();
    let content: Vec<_> = {
        let mut content = Vec::new();
        for key in place.keys("v1/").await {
            content.push((format!("GET /snapshots/{key} "), place.read(&key).await.unwrap()));
        }
        content
    };
    drop(base);
    told.tell(move |head| match content.iter().find(|(start, _)| head.starts_with(start)) {
        Some((_, bytes)) => answer("200 OK", "", bytes),
        None => answer("404 Not Found", "", b""),
    });
    running.until("loaded from the server", from(Source::Server)).await;
    assert_eq!(running.status.state().revision, 3);
}

#[tokio::test]
async fn a_document_is_followed_like_any_source() {
    let place = Place::folder();
    let seed = place.path().join("features.json");
    std::fs::write(&seed, r#"{"namespaces":[{"key":"shop","flags":[]}]}"#).unwrap();
    let store: Arc<dyn Store> = Arc::new(DocumentStore::new(&seed));
    let mut reader = Reader::new(store, |_| {});
    reader.loads().await;
    assert_eq!(reader.accepted[0].namespaces[0].key, "shop");
    assert_eq!(reader.poll().await, flipt_snapshots::follow::PollOutcome::Unchanged);
    std::fs::write(&seed, r#"{"namespaces":[{"key":"team","flags":[]}]}"#).unwrap();
    reader.loads().await;
    assert_eq!(reader.accepted[1].namespaces[0].key, "team");
    std::fs::write(&seed, "flags: {").unwrap();
    let error = reader.fails().await;
    assert!(error.message.contains("features.json"), "{error}");
    std::fs::remove_file(&seed).unwrap();
    assert_eq!(reader.fails().await.upstream, Upstream::Missing);
}

#[tokio::test]
async fn readers_do_not_come_to_a_fallback_all_at_once() {
    let place = Place::folder();
    place.publish(1).await;
    let told = Told::offering(&place).await;
    let arrivals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&arrivals);
    told.tell(move |head| {
        if head.contains("current.json") {
            seen.lock().unwrap().push(std::time::Instant::now());
        }
        answer("404 Not Found", "", b"")
    });
    let running: Vec<_> = (0..40)
        .map(|seed| {
            let reader = Reader::new(absent(&place), |options| {
                options.jitter_seed = seed;
                options.fallbacks = vec![told.store()];
            });
            Running::new(reader.follower)
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    drop(running);
    let mut first: Vec<_> = arrivals.lock().unwrap().clone();
    first.sort();
    first.truncate(40);
    assert!(first.len() >= 20, "{first:?}");
    // Of the three seconds each second gets its share. They begin with the first, as it takes time to make readers.
    let early = first.iter().filter(|at| **at < first[0] + Duration::from_secs(1)).count();
    assert!((3..30).contains(&early), "{early} of {} within the first second", first.len());
}
