//! A single document as a store: flags that a person wrote, for the time when nothing better can be had.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{SubsecRound, Utc};
use flipt_model::{Snapshot, document};

use super::folder::read_limited;
use super::{
    BoxFuture, Etag, Got, Headers, Listed, Precondition, Put, Source, Store, StoreError, StoreErrorKind,
};
use crate::format::{Digest, EncodedObject, Keys, MAX_RAW_BYTES, Pointer, encode};

const WRITER: &str = concat!("flipt-snapshots ", env!("CARGO_PKG_VERSION"), " document");

/// A document with flags, as a place with one snapshot that can only be read. What it holds is a features file
/// (YAML or JSON), or the JSON of a snapshot. Every environment finds the same.
///
/// Its pointer has the epoch `""` and the revision 0: it belongs to no database, and any other state may follow.
#[derive(Debug, Clone)]
pub struct DocumentStore {
    path: PathBuf,
    /// What the document was encoded to when it was read last.
    encoded: Arc<Mutex<Option<Encoded>>>,
}

#[derive(Debug)]
struct Encoded {
    /// Digest of the document's text.
    text: Digest,
    object: EncodedObject,
}

impl DocumentStore {
    /// The document at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), encoded: Arc::default() }
    }

    /// Whether a path names a document rather than a folder.
    #[must_use]
    pub fn is_document(path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("yaml" | "yml" | "json")) && !path.is_dir()
    }

    fn error(&self, kind: StoreErrorKind, detail: impl Into<String>) -> StoreError {
        StoreError::new(kind, "read", self.path.display().to_string(), detail)
    }

    fn read(&self, key: &str, limit: u64) -> Result<Got, StoreError> {
        let text = match read_limited(&self.path, MAX_RAW_BYTES) {
            Ok(Some(text)) => text,
            Ok(None) => {
                let detail = format!("the limit is {MAX_RAW_BYTES} bytes");
                return Err(self.error(StoreErrorKind::TooLarge, detail));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Got::Missing),
            Err(error) => return Err(self.error(StoreErrorKind::Other, error.to_string())),
        };
        let digest = Digest::of(&text);
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let current = match encoded.take().filter(|encoded| encoded.text == digest) {
            Some(current) => current,
            None => {
                let snapshot =
                    self.parse(text).map_err(|detail| self.error(StoreErrorKind::Other, detail))?;
                let object =
                    encode(snapshot).map_err(|error| self.error(StoreErrorKind::Other, error.to_string()))?;
                Encoded { text: digest, object }
            }
        };
        let object = &encoded.insert(current).object;
        let bytes = if key.ends_with("/current.json") {
            pointer(object)
                .to_bytes()
                .map_err(|error| self.error(StoreErrorKind::Other, error.to_string()))?
        } else if key.ends_with(&Keys::object_path(&object.digest)) {
            object.bytes.clone()
        } else {
            return Ok(Got::Missing);
        };
        if bytes.len() as u64 > limit {
            return Err(self.error(StoreErrorKind::TooLarge, format!("the limit is {limit} bytes")));
        }
        // Without a tag: the pointer is true as of now, each time.
        Ok(Got::Found { bytes, etag: Etag(String::new()) })
    }

    fn parse(&self, text: Vec<u8>) -> Result<Snapshot, String> {
        if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&text) {
            return Ok(snapshot);
        }
        let extension = self.path.extension().and_then(|extension| extension.to_str()).unwrap_or("yaml");
        document::load_features(&[(format!("features.{extension}"), text)]).map_err(|error| error.to_string())
    }

    fn read_only(&self, operation: &'static str) -> StoreError {
        let place = self.path.display().to_string();
        StoreError::new(StoreErrorKind::Unsupported, operation, place, "a document can only be read")
    }
}

fn pointer(object: &EncodedObject) -> Pointer {
    Pointer::of(object, "", 0, Utc::now().trunc_subsecs(0), WRITER)
}

impl Store for DocumentStore {
    fn get<'a>(
        &'a self,
        key: &'a str,
        _if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>> {
        let (store, key) = (self.clone(), key.to_owned());
        Box::pin(async move {
            let reader = store.clone();
            tokio::task::spawn_blocking(move || reader.read(&key, limit))
                .await
                .unwrap_or_else(|error| Err(store.error(StoreErrorKind::Other, error.to_string())))
        })
    }

    fn put<'a>(
        &'a self,
        _key: &'a str,
        _bytes: Vec<u8>,
        _precondition: Precondition,
        _headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async { Err(self.read_only("write")) })
    }

    fn size<'a>(&'a self, _key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        Box::pin(async { Err(self.read_only("measure")) })
    }

    fn delete<'a>(&'a self, _key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(self.read_only("delete")) })
    }

    fn list<'a>(&'a self, _prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        Box::pin(async { Err(self.read_only("list")) })
    }

    fn source(&self) -> Source {
        Source::File
    }

    fn is_given(&self) -> bool {
        true
    }

    fn describe(&self, _key: &str) -> String {
        self.path.display().to_string()
    }
}
