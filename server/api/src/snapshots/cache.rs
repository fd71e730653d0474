//! The last snapshot of each namespace, with its encoded forms.
//!
//! What is kept is bounded by what exists: a namespace that was never written has no version and is read
//! anew each time.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use flipt_model::namespace_or_default;
use flipt_proto::{client, evaluation::EvaluationNamespaceSnapshot};
use flipt_serving::{Code, Error};
use flipt_store::{Environment, Version};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::{AcceptedVersion, etag, shape};
use crate::{Fails as _, transcode};

/// One encoded form, compressed when somebody first wants it so.
#[derive(Default)]
pub(crate) struct Body {
    plain: OnceCell<Bytes>,
    gzip: OnceCell<Bytes>,
}

impl Body {
    /// The form itself, made by `encode` if nobody asked before.
    pub(crate) async fn plain(
        &self,
        encode: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Bytes, Error> {
        self.plain.get_or_try_init(|| async { encode().map(Bytes::from) }).await.cloned()
    }

    /// The form compressed.
    pub(crate) async fn gzip(&self, encode: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Bytes, Error> {
        let plain = self.plain(encode).await?;
        let compress = || async move {
            // Some milliseconds for a large namespace: not on a thread that answers requests.
            let compressing = tokio::task::spawn_blocking(move || {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&plain).and_then(|()| encoder.finish())
            });
            match compressing.await {
                Ok(Ok(compressed)) => Ok(Bytes::from(compressed)),
                Ok(Err(error)) => Err(internal(&error)),
                Err(error) => Err(internal(&error)),
            }
        };
        self.gzip.get_or_try_init(compress).await.cloned()
    }
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("compressing snapshot: {error}"))
}

/// A namespace's snapshot at one version, in every form that clients want.
pub(crate) struct Versioned {
    version: String,
    /// Tag of the version; `None` if the namespace was never written.
    pub(crate) etag: Option<String>,
    snapshot: EvaluationNamespaceSnapshot,
    forms: [Body; AcceptedVersion::CLASSES],
    streamed: OnceCell<Arc<client::EvaluationNamespaceSnapshot>>,
    client: Body,
    line: Body,
}

impl Versioned {
    fn new(snapshot: EvaluationNamespaceSnapshot, version: String) -> Self {
        Self {
            etag: etag(&version),
            version,
            snapshot,
            forms: std::array::from_fn(|_| Body::default()),
            streamed: OnceCell::new(),
            client: Body::default(),
            line: Body::default(),
        }
    }

    /// The snapshot for a client of this version.
    pub(crate) fn message(&self, accepted: AcceptedVersion) -> EvaluationNamespaceSnapshot {
        let mut snapshot = self.snapshot.clone();
        accepted.restrict(&mut snapshot);
        snapshot
    }

    /// The JSON of [`Versioned::message`].
    pub(crate) async fn json(&self, accepted: AcceptedVersion, gzip: bool) -> Result<Bytes, Error> {
        let Some(form) = self.forms.get(accepted.class()) else {
            return transcode::to_json(&self.message(accepted)).map(Bytes::from);
        };
        let encode = || transcode::to_json(&self.message(accepted));
        if gzip { form.gzip(encode).await } else { form.plain(encode).await }
    }

    /// What tells this state of the namespace from every other: 40 hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        self.etag.clone().unwrap_or_else(|| "0".repeat(40))
    }

    /// The snapshot as Flipt v2 sends it.
    pub(crate) async fn client_message(&self) -> Arc<client::EvaluationNamespaceSnapshot> {
        let make = || async { Arc::new(shape::client_snapshot(&self.snapshot, self.digest())) };
        Arc::clone(self.streamed.get_or_init(make).await)
    }

    /// The JSON of [`Versioned::client_message`].
    pub(crate) async fn client_json(&self, gzip: bool) -> Result<Bytes, Error> {
        let message = self.client_message().await;
        let encode = || transcode::to_json(&*message);
        if gzip { self.client.gzip(encode).await } else { self.client.plain(encode).await }
    }

    /// One line of a stream of JSON documents.
    pub(crate) async fn line(&self) -> Result<Bytes, Error> {
        let json = self.client_json(false).await?;
        self.line
            .plain(|| {
                let mut line = Vec::with_capacity(json.len() + 16);
                line.extend_from_slice(br#"{"result":"#);
                line.extend_from_slice(&json);
                line.extend_from_slice(b"}\n");
                Ok(line)
            })
            .await
    }
}

/// What is known of one namespace, and up to which version of its environment.
#[derive(Default)]
struct Known {
    seen: Option<Version>,
    content: Option<Arc<Versioned>>,
}

type Slot = Arc<AsyncMutex<Known>>;

/// The snapshots of one environment.
#[derive(Clone, Default)]
pub(crate) struct Snapshots(Arc<Mutex<HashMap<String, Slot>>>);

impl Snapshots {
    /// The snapshot of a namespace as of now.
    ///
    /// # Guarantees
    /// It holds every write that was acknowledged before the call. However many callers wait, the namespace
    /// is read once.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn get(
        &self,
        environment: &dyn Environment,
        requested: &str,
    ) -> Result<Arc<Versioned>, Error> {
        let key = namespace_or_default(requested);
        // Read before the database is: what is read then is at least as new.
        let version = environment.live().version.clone();
        if key != requested || environment.live().snapshot.namespace(key).is_none() {
            return read(environment, requested).await;
        }
        let slot = self.slot(key);
        let mut known = slot.lock().await;
        if let (Some(seen), Some(content)) = (&known.seen, &known.content) {
            let is_current = *seen == version
                || (!content.version.is_empty()
                    && environment.namespace_version(key).await.or_refuse()? == content.version);
            if is_current {
                let content = Arc::clone(content);
                known.seen = Some(version);
                return Ok(content);
            }
        }
        let content = read(environment, requested).await?;
        *known = Known { seen: Some(version), content: Some(Arc::clone(&content)) };
        Ok(content)
    }

    fn slot(&self, key: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.to_owned()).or_default())
    }
}

async fn read(environment: &dyn Environment, requested: &str) -> Result<Arc<Versioned>, Error> {
    let (snapshot, version) = environment.namespace_snapshot(requested).await.or_refuse()?;
    Ok(Arc::new(Versioned::new(snapshot, version)))
}
