//! A fresh place to publish to, in each kind of store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use flipt_model::{Flag, FlagType, Namespace, Segment, Snapshot};
use flipt_snapshots::Pointer;
use flipt_snapshots::follow::{FollowOptions, Follower, PollOutcome};
use flipt_snapshots::format::Keys;
use flipt_snapshots::publish::{PublishError, PublishOptions, Published, Version, publish};
use flipt_snapshots::store::{
    Credentials, Etag, FolderStore, Got, Headers, Precondition, Put, S3Config, S3Store, Store,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "hunter2hunter2";
pub(crate) const BUCKET: &str = "flags";
pub(crate) const ENVIRONMENT: &str = "default";
pub(crate) const HEADERS: Headers = Headers { content_type: "text/plain", cache_control: "no-cache" };

/// Defines each test once and runs it against both stores.
macro_rules! on_both_stores {
    ($( $(#[$meta:meta])* async fn $name:ident($place:ident: &Place) $body:block )*) => { $(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn promise($place: &Place) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_a_folder() {
                promise(&Place::folder()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_s3() {
                promise(&Place::s3().await).await;
            }
        }
    )* };
}

/// A bucket or folder of its own, gone when dropped.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    server: Option<(SocketAddr, oneshot::Sender<()>)>,
    pub(crate) store: Arc<dyn Store>,
}

impl Place {
    pub(crate) fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(FolderStore::new(folder.path()));
        // As a bucket, it exists before anything is written.
        Self { folder, server: None, store }
    }

    pub(crate) async fn s3() -> Self {
        let folder = tempfile::tempdir().unwrap();
        flipt_dev_s3::create_bucket(folder.path(), BUCKET).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let root = folder.path().to_owned();
        tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            flipt_dev_s3::serve(listener, &root, ACCESS_KEY, SECRET_KEY, stopped).await.unwrap();
        });
        let store = Arc::new(S3Store::new(s3_config(address)).await.unwrap());
        Self { folder, server: Some((address, stop)), store }
    }

    /// Another client of the same place, as another process would have one.
    pub(crate) async fn another(&self) -> Arc<dyn Store> {
        match &self.server {
            Some((address, _)) => Arc::new(S3Store::new(s3_config(*address)).await.unwrap()),
            None => Arc::new(FolderStore::new(self.path())),
        }
    }

    /// A client of a bucket or folder that does not exist.
    pub(crate) async fn elsewhere(&self) -> Arc<dyn Store> {
        match &self.server {
            Some((address, _)) => {
                let config = S3Config { bucket: "nothing-here".into(), ..s3_config(*address) };
                Arc::new(S3Store::new(config).await.unwrap())
            }
            None => Arc::new(FolderStore::new(self.path().join("nothing-here"))),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("an S3 place").0
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn read(&self, key: &str) -> Option<Vec<u8>> {
        match self.store.get(key, None, u64::MAX).await.unwrap() {
            Got::Found { bytes, .. } => Some(bytes),
            Got::Missing => None,
            Got::NotModified => panic!("not modified without a condition"),
        }
    }

    pub(crate) async fn etag(&self, key: &str) -> Etag {
        match self.store.get(key, None, u64::MAX).await.unwrap() {
            Got::Found { etag, .. } => etag,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn write(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let put = self.store.put(key, bytes.into(), Precondition::None, HEADERS).await.unwrap();
        assert!(matches!(put, Put::Stored(_)));
    }

    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.list(prefix).await.unwrap().into_iter().map(|listed| listed.key).collect()
    }

    pub(crate) async fn pointer(&self) -> Pointer {
        Pointer::parse(&self.read(&keys().pointer()).await.unwrap()).unwrap()
    }

    /// Changes the pointer behind the publisher's back.
    pub(crate) async fn change_pointer(&self, change: impl FnOnce(&mut Pointer)) -> Pointer {
        let mut pointer = self.pointer().await;
        change(&mut pointer);
        self.write(&keys().pointer(), pointer.to_bytes().unwrap()).await;
        pointer
    }

    /// Publishes the sample of `revision` in the epoch `db-1`.
    pub(crate) async fn publish(&self, revision: u64) -> Published {
        self.try_publish(sample(revision), version(revision), options()).await.unwrap()
    }

    pub(crate) async fn try_publish(
        &self,
        snapshot: Snapshot,
        version: Version,
        options: PublishOptions,
    ) -> Result<Published, PublishError> {
        publish(&*self.store, ENVIRONMENT, snapshot, version, options).await
    }

    pub(crate) fn reader(&self, change: impl FnOnce(&mut FollowOptions)) -> Reader {
        Reader::new(Arc::clone(&self.store), change)
    }
}

pub(crate) fn s3_config(address: SocketAddr) -> S3Config {
    S3Config {
        prefix: "some/prefix".into(),
        endpoint: Some(format!("http://{address}")),
        credentials: Credentials::Static {
            access_key_id: ACCESS_KEY.into(),
            secret_access_key: SECRET_KEY.into(),
            session_token: None,
        },
        ..S3Config::new(BUCKET)
    }
}

pub(crate) fn keys() -> Keys {
    Keys::new(ENVIRONMENT).unwrap()
}

pub(crate) fn version(revision: u64) -> Version {
    Version { epoch: "db-1".into(), revision }
}

pub(crate) fn options() -> PublishOptions {
    PublishOptions { writer: "test 1".into(), ..PublishOptions::default() }
}

/// A moment, the same in every run.
pub(crate) fn second(seconds: i64) -> DateTime<Utc> {
    DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

/// State that differs for every `revision`.
pub(crate) fn sample(revision: u64) -> Snapshot {
    let flag = |key: &str, enabled| Flag {
        key: key.into(),
        name: format!("{key} at {revision}"),
        flag_type: FlagType::Boolean,
        enabled,
        ..Flag::default()
    };
    Snapshot {
        namespaces: vec![
            Namespace {
                key: "shop".into(),
                flags: vec![flag("checkout", true), flag("banner", false)],
                segments: vec![Segment { key: "staff".into(), ..Segment::default() }],
                ..Namespace::default()
            },
            Namespace { key: "default".into(), name: "Default".into(), ..Namespace::default() },
        ],
    }
}

/// A follower that remembers what it was handed.
pub(crate) struct Reader {
    pub(crate) follower: Follower,
    pub(crate) accepted: Vec<Snapshot>,
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn Store>, change: impl FnOnce(&mut FollowOptions)) -> Self {
        let mut options = FollowOptions::new(ENVIRONMENT);
        options.poll_interval = Duration::from_millis(20);
        change(&mut options);
        Self { follower: Follower::new(store, options).unwrap(), accepted: Vec::new() }
    }

    pub(crate) async fn poll(&mut self) -> PollOutcome {
        let accepted = &mut self.accepted;
        self.follower
            .poll_once(|snapshot, _| {
                accepted.push(snapshot);
                Ok(())
            })
            .await
    }

    /// Polls, and answers class and text of the failure that must come.
    pub(crate) async fn fails(&mut self) -> flipt_snapshots::follow::FollowError {
        let before = self.accepted.len();
        let state = self.follower.status().state();
        let error = match self.poll().await {
            PollOutcome::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        // Whatever the failure, what was loaded stays as it was.
        assert_eq!(self.accepted.len(), before);
        let after = self.follower.status().state();
        assert_eq!(
            (after.loaded, after.revision, &after.epoch, after.digest, after.verified_at),
            (state.loaded, state.revision, &state.epoch, state.digest, state.verified_at)
        );
        assert_eq!(after.upstream, Some(error.upstream));
        assert_eq!(after.last_error.as_deref(), Some(error.message.as_str()));
        error
    }

    pub(crate) async fn loads(&mut self) -> Pointer {
        match self.poll().await {
            PollOutcome::Loaded(pointer) => *pointer,
            other => panic!("{other:?}"),
        }
    }
}

/// The snapshot as a reader gets it: in key order.
pub(crate) fn sorted(mut snapshot: Snapshot) -> Snapshot {
    snapshot.sort_by_key();
    snapshot
}

/// Files below a folder that are not ours to hide.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
