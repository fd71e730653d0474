//! Publishers that meet.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;

use flipt_snapshots::publish::{PublishError, publish};
use flipt_snapshots::store::{
    BoxFuture, Etag, FolderStore, Got, Headers, Listed, Precondition, Put, Source, Store, StoreError,
    StoreErrorKind,
};
use tokio::sync::Barrier;

use crate::place::{ENVIRONMENT, HEADERS, Place, keys, options, sample, version};

const ROUNDS: u64 = 100;

on_both_stores! {
    async fn of_two_publishers_exactly_one_wins_each_revision(place: &Place) {
        let publishers = [place.another().await, place.another().await];
        for revision in 1..=ROUNDS {
            let barrier = Arc::new(Barrier::new(publishers.len()));
            let tasks: Vec<_> = publishers
                .iter()
                .cloned()
                .map(|store| {
                    let barrier = Arc::clone(&barrier);
                    tokio::spawn(async move {
                        barrier.wait().await;
                        publish(&*store, ENVIRONMENT, sample(revision), version(revision), options()).await
                    })
                })
                .collect();
            let mut winners = 0;
            for task in tasks {
                winners += usize::from(task.await.unwrap().unwrap().changed);
            }
            assert_eq!(winners, 1, "revision {revision}");
            assert_eq!(place.pointer().await.revision, revision);
        }
    }

    async fn of_racing_writes_with_one_entity_tag_exactly_one_is_stored(place: &Place) {
        place.write("counter", "0").await;
        for round in 1..=ROUNDS {
            let expected = place.etag("counter").await;
            let mut tasks = Vec::new();
            for writer in 0..4 {
                let (store, expected) = (Arc::clone(&place.store), expected.clone());
                tasks.push(tokio::spawn(async move {
                    let content = format!("{round} by {writer}").into_bytes();
                    store.put("counter", content, Precondition::IfMatch(expected), HEADERS).await.unwrap()
                }));
            }
            let mut stored = 0;
            for task in tasks {
                stored += usize::from(task.await.unwrap() != Put::PreconditionFailed);
            }
            assert_eq!(stored, 1, "round {round}");
        }
    }

    async fn of_racing_first_writes_exactly_one_is_stored(place: &Place) {
        for round in 0..25 {
            let key = format!("new/{round}");
            let mut tasks = Vec::new();
            for writer in 0..4 {
                let (store, key) = (Arc::clone(&place.store), key.clone());
                tasks.push(tokio::spawn(async move {
                    let content = writer.to_string().into_bytes();
                    store.put(&key, content, Precondition::IfAbsent, HEADERS).await.unwrap()
                }));
            }
            let mut etags = HashSet::new();
            for task in tasks {
                if let Put::Stored(etag) = task.await.unwrap() {
                    etags.insert(etag);
                }
            }
            assert_eq!(etags, HashSet::from([place.etag(&key).await]));
        }
    }

    async fn a_conditional_write_needs_its_object(place: &Place) {
        place.write("a", "1").await;
        let etag = place.etag("a").await;
        place.store.delete("a").await.unwrap();
        let put = place.store.put("a", b"2".to_vec(), Precondition::IfMatch(etag), HEADERS).await.unwrap();
        assert_eq!(put, Put::PreconditionFailed);
        assert_eq!(place.read("a").await, None);
    }

    async fn the_loser_of_a_race_to_a_newer_revision_is_done(place: &Place) {
        place.publish(1).await;
        let late = Meddler::new(place, |place| Box::pin(async { drop(place.publish(3).await) }), 1);
        let published = publish(&late, ENVIRONMENT, sample(2), version(2), options()).await.unwrap();
        assert!(!published.changed && published.superseded);
        assert_eq!(published.pointer.revision, 3);
        assert_eq!(place.pointer().await.revision, 3);
    }

    async fn the_loser_of_a_race_to_an_older_revision_tries_again(place: &Place) {
        place.publish(1).await;
        let late = Meddler::new(place, |place| Box::pin(async { drop(place.publish(2).await) }), 1);
        let published = publish(&late, ENVIRONMENT, sample(3), version(3), options()).await.unwrap();
        assert!(published.changed);
        assert_eq!(place.pointer().await.revision, 3);
    }

    async fn a_write_whose_answer_was_lost_is_finished(place: &Place) {
        // The client's retry then meets what the first attempt wrote.
        place.publish(1).await;
        let write_first = |place: &Place| -> BoxFuture<'static, ()> {
            let store = Arc::clone(&place.store);
            Box::pin(async move {
                drop(publish(&*store, ENVIRONMENT, sample(2), version(2), options()).await.unwrap());
                store.delete(&keys().history(2)).await.unwrap();
            })
        };
        let late = Meddler::new(place, move |place| write_first(place), 1);
        let published = publish(&late, ENVIRONMENT, sample(2), version(2), options()).await.unwrap();
        assert!(!published.changed && published.superseded);
        assert_eq!(place.keys("v1/default/history/").await, [keys().history(1), keys().history(2)]);
    }

    async fn a_pointer_that_never_rests_is_given_up(place: &Place) {
        place.publish(1).await;
        let touch = |place: &Place| -> BoxFuture<'static, ()> {
            let store = Arc::clone(&place.store);
            Box::pin(async move {
                let Got::Found { mut bytes, .. } = store.get(&keys().pointer(), None, 9999).await.unwrap() else {
                    panic!("no pointer");
                };
                bytes.push(b' ');
                store.put(&keys().pointer(), bytes, Precondition::None, HEADERS).await.unwrap();
            })
        };
        let late = Meddler::new(place, move |place| touch(place), usize::MAX);
        let error = publish(&late, ENVIRONMENT, sample(2), version(2), options()).await.unwrap_err();
        assert!(matches!(error, PublishError::Contended { .. }), "{error}");
        assert_eq!(place.pointer().await.revision, 1);
        assert_eq!(late.swaps.load(std::sync::atomic::Ordering::SeqCst), 4);
    }

    async fn a_store_without_conditional_writes_is_published_to_all_the_same(place: &Place) {
        let plain = Unconditional(Arc::clone(&place.store));
        for revision in 1..=2 {
            let published =
                publish(&plain, ENVIRONMENT, sample(revision), version(revision), options()).await.unwrap();
            assert!(published.changed);
        }
        assert_eq!(place.pointer().await.revision, 2);
    }
}

type Meddling<'a> = Box<dyn Fn(&'a Place) -> BoxFuture<'a, ()> + Send + Sync + 'a>;

/// Does something else right before each of the first so many writes of the pointer.
struct Meddler<'a> {
    place: &'a Place,
    meddle: Meddling<'a>,
    times: usize,
    swaps: std::sync::atomic::AtomicUsize,
}

impl<'a> Meddler<'a> {
    fn new(
        place: &'a Place,
        meddle: impl Fn(&'a Place) -> BoxFuture<'a, ()> + Send + Sync + 'a,
        times: usize,
    ) -> Self {
        Self { place, meddle: Box::new(meddle), times, swaps: Default::default() }
    }
}

impl std::fmt::Debug for Meddler<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddler")
    }
}

impl Store for Meddler<'_> {
    fn get<'a>(
        &'a self,
        key: &'a str,
        if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>> {
        self.place.store.get(key, if_none_match, limit)
    }
    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Vec<u8>,
        precondition: Precondition,
        headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async move {
            if key == keys().pointer() {
                let before = self.swaps.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if before < self.times {
                    (self.meddle)(self.place).await;
                }
            }
            self.place.store.put(key, bytes, precondition, headers).await
        })
    }
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.place.store.size(key)
    }
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.place.store.delete(key)
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        self.place.store.list(prefix)
    }
    fn source(&self) -> Source {
        self.place.store.source()
    }
    fn describe(&self, key: &str) -> String {
        self.place.store.describe(key)
    }
}

/// A store that does not know conditional writes.
#[derive(Debug)]
struct Unconditional(Arc<dyn Store>);

impl Store for Unconditional {
    fn get<'a>(
        &'a self,
        key: &'a str,
        if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>> {
        self.0.get(key, if_none_match, limit)
    }
    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Vec<u8>,
        precondition: Precondition,
        headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>> {
        if precondition != Precondition::None {
            let error = StoreError {
                kind: StoreErrorKind::Unsupported,
                operation: "write",
                place: key.to_owned(),
                detail: String::new(),
                retry_after: None,
            };
            return Box::pin(async { Err(error) });
        }
        self.0.put(key, bytes, precondition, headers)
    }
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.0.size(key)
    }
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.delete(key)
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        self.0.list(prefix)
    }
    fn source(&self) -> Source {
        self.0.source()
    }
    fn describe(&self, key: &str) -> String {
        self.0.describe(key)
    }
}

const COUNTER_FOLDER: &str = "FLIPT_TEST_COUNTER_FOLDER";
const STEPS: u64 = 50;

#[test]
fn processes_sharing_a_folder_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("counter"), "0").unwrap();
    let processes: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "race::counts_in_a_process_of_its_own", "--ignored"])
                .env(COUNTER_FOLDER, folder.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("counter")).unwrap(), (4 * STEPS).to_string());
}

#[tokio::test]
#[ignore = "started by processes_sharing_a_folder_lose_no_update"]
async fn counts_in_a_process_of_its_own() {
    let store = FolderStore::new(std::env::var(COUNTER_FOLDER).expect("started by the other test"));
    let mut steps = 0;
    while steps < STEPS {
        let Got::Found { bytes, etag } = store.get("counter", None, 99).await.unwrap() else {
            panic!("no counter");
        };
        let next = String::from_utf8(bytes).unwrap().parse::<u64>().unwrap() + 1;
        let put = store.put("counter", next.to_string().into_bytes(), Precondition::IfMatch(etag), HEADERS);
        steps += u64::from(put.await.unwrap() != Put::PreconditionFailed);
    }
}
