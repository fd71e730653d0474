//! The last known good snapshot on the local disk, for a restart while the source is away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flipt_model::Snapshot;

use crate::format::{Digest, FormatError, Keys, MAX_POINTER_BYTES, ObjectRef, Pointer, decode};
use crate::signature::VerifyKeys;
use crate::store::folder_files::{read_limited, replace};

const POINTER: &str = "current.json";

/// A folder for the last known good snapshot of each environment.
///
/// The object stands under its digest and the pointer is replaced after it, so a crash at any moment leaves
/// the old pair or the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDir {
    path: PathBuf,
}

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system failed.
    #[error(
        "the snapshot cache {place} cannot be used: {cause}; check that the volume is mounted and has space"
    )]
    Io {
        /// The folder.
        place: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// What is there is damaged.
    #[error("the snapshot cache {place} is unusable: {reason}")]
    Unusable {
        /// The folder.
        place: String,
        /// What is wrong.
        reason: FormatError,
    },
}

impl CacheDir {
    /// The folder `path`; the first write creates it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn folder(&self, keys: &Keys) -> PathBuf {
        self.path.join(keys.environment())
    }

    fn object(folder: &Path, digest: &Digest) -> PathBuf {
        folder.join(format!("{}.json.gz", digest.hex()))
    }

    /// Writes pointer and object, then removes the objects before.
    pub(super) fn write(
        &self,
        keys: &Keys,
        pointer: &[u8],
        digest: &Digest,
        object: &[u8],
    ) -> io::Result<()> {
        let folder = self.folder(keys);
        let path = Self::object(&folder, digest);
        replace(&path, object)?;
        replace(&folder.join(POINTER), pointer)?;
        remove_files(&folder, |other| *other != path && other.file_name().is_some_and(|name| name != POINTER))
    }

    /// Writes a newer pointer to the same object.
    pub(super) fn write_pointer(&self, keys: &Keys, pointer: &[u8]) -> io::Result<()> {
        replace(&self.folder(keys).join(POINTER), pointer)
    }

    /// What was written last; `None` if nothing was.
    pub(super) fn read(
        &self,
        keys: &Keys,
        max_object: u64,
        max_raw: u64,
        verify: Option<&VerifyKeys>,
    ) -> Result<Option<(Pointer, ObjectRef, Snapshot)>, CacheError> {
        let folder = self.folder(keys);
        let place = || folder.display().to_string();
        let unusable = |reason| CacheError::Unusable { place: place(), reason };
        let read = |path: &Path, what, limit| match read_limited(path, limit) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(unusable(FormatError::TooLarge { what, limit })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(CacheError::Io { place: place(), cause }),
        };
        let Some(pointer) = read(&folder.join(POINTER), "the pointer", MAX_POINTER_BYTES)? else {
            return Ok(None);
        };
        if let Some(verify) = verify {
            verify.verify(keys.environment(), &pointer).map_err(|error| unusable(error.into()))?;
        }
        let pointer = Pointer::parse(&pointer).map_err(unusable)?;
        let object = pointer.readable().map_err(unusable)?;
        let Some(bytes) = read(&Self::object(&folder, &object.digest), "the object", max_object)? else {
            return Err(unusable(FormatError::Corrupt("the object is missing".to_owned())));
        };
        let snapshot = decode(&bytes, &object.digest, max_raw).map_err(unusable)?;
        Ok(Some((pointer, object, snapshot)))
    }

    /// Removes everything of this environment.
    pub(super) fn delete(&self, keys: &Keys) -> io::Result<()> {
        match remove_files(&self.folder(keys), |_| true) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Removes the files that match; the first failure is answered after all were tried.
fn remove_files(folder: &Path, matches: impl Fn(&PathBuf) -> bool) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && matches(&path) {
            result = result.and(fs::remove_file(path));
        }
    }
    result
}
