//! Where the bytes are: S3, a folder, a running server or a document, behind one trait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, Utc};

mod document;
mod error;
mod folder;
/// Reading and replacing of single files, which the cache needs too.
pub(crate) mod folder_files {
    pub(crate) use super::folder::{read_limited, replace};
}
mod location;
mod s3;
mod server;

pub use document::DocumentStore;
pub use error::{StoreError, StoreErrorKind};
pub use folder::FolderStore;
pub use location::{InvalidLocation, Location};
pub use s3::{Credentials, Encryption, S3Config, S3Store};
pub use server::{ServerConfig, ServerStore};

/// A future that can be sent, as trait objects return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Identifies one version of an object's content; opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Etag(pub String);

/// Answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The content is still the one with the entity tag given.
    NotModified,
    /// The content.
    Found {
        /// Whole content, no longer than the limit given.
        bytes: Vec<u8>,
        /// Its entity tag.
        etag: Etag,
    },
    /// There is no such object.
    Missing,
}

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Always.
    None,
    /// Only if there is no such object.
    IfAbsent,
    /// Only if the object still has this entity tag.
    IfMatch(Etag),
}

/// Answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Written; this is the new entity tag.
    Stored(Etag),
    /// Not written, because the precondition did not hold.
    PreconditionFailed,
}

/// How an object is to be served by whoever serves the store over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Content type.
    pub content_type: &'static str,
    /// Cache control.
    pub cache_control: &'static str,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key, below the location's prefix.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: DateTime<Utc>,
}

/// What kind of place a snapshot came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The last known good snapshot on the local disk.
    Cache,
    /// S3.
    S3,
    /// A running server.
    Server,
    /// A folder or a document.
    File,
}

impl Source {
    /// All sources.
    pub const ALL: &'static [Self] = &[Self::Cache, Self::S3, Self::Server, Self::File];

    /// The name in status documents and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::S3 => "s3",
            Self::Server => "server",
            Self::File => "file",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Objects under keys. Keys are relative to the location's prefix, segments separated by `/`.
///
/// # Guarantees
///
/// - A write is all or nothing, and visible to every read that starts after it returned.
/// - Of several writes racing under the same [`Precondition::IfMatch`] or [`Precondition::IfAbsent`], from
///   whatever process, at most one is stored.
/// - Every method returns within a bounded time.
///
/// # Errors
///
/// All methods: [`StoreError`], whose text names the object and the remedy, and never a credential.
pub trait Store: fmt::Debug + Send + Sync {
    /// Reads an object unless its content still has the entity tag given.
    ///
    /// An object longer than `limit` bytes is [`StoreErrorKind::TooLarge`]; no more than that is read.
    fn get<'a>(
        &'a self,
        key: &'a str,
        if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>>;

    /// Writes an object if the precondition holds.
    ///
    /// A store that knows no conditional writes answers [`StoreErrorKind::Unsupported`], having written
    /// nothing.
    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Vec<u8>,
        precondition: Precondition,
        headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>>;

    /// Size of an object in bytes; `None` if there is none.
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>>;

    /// Deletes an object; that there is none is no error.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All objects whose key starts with `prefix`, which ends in `/`, in key order.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>>;

    /// What kind of place this is.
    fn source(&self) -> Source;

    /// Whether an answer that nothing changed says that what was read before is the current state now. That of a
    /// bucket does not: it only says that nobody has written there.
    fn vouches(&self) -> bool {
        false
    }

    /// Whether what is there was given to the program by whoever started it, and therefore needs no signature.
    fn is_given(&self) -> bool {
        false
    }

    /// Where `key` is, for people: `s3://bucket/prefix/key`, a path or a URL.
    fn describe(&self, key: &str) -> String;
}

/// Opens a location. Nothing is contacted yet, except that credentials may be looked for.
///
/// # Errors
///
/// [`StoreErrorKind::Other`] if no region is configured and there is no endpoint either.
pub async fn open(location: &Location) -> Result<Box<dyn Store>, StoreError> {
    Ok(match location {
        Location::S3(config) => Box::new(S3Store::new(config.clone()).await?),
        Location::Folder(path) if DocumentStore::is_document(path) => {
            Box::new(DocumentStore::new(path.clone()))
        }
        Location::Folder(path) => Box::new(FolderStore::new(path.clone())),
        Location::Server(config) => Box::new(ServerStore::new(config.clone())?),
    })
}

/// Whether a key stays below the place it is meant for.
fn key_is_safe(key: &str) -> bool {
    key.len() <= 1024
        && key.split('/').all(|segment| !segment.is_empty() && !matches!(segment, "." | ".."))
        && !key.contains(['\\', '\0'])
}
