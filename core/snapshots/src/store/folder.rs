//! A folder as a store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{
    BoxFuture, Etag, Got, Headers, Listed, Precondition, Put, Source, Store, StoreError, StoreErrorKind,
    key_is_safe,
};
use crate::format::Digest;

/// Name of the file whose lock writers hold.
const LOCK: &str = ".flipt-lock";

/// A folder with the semantics of a bucket.
///
/// Writers of all processes on one machine exclude each other by an advisory lock on one file, which the
/// system releases when a process dies. On a network file system that holds as far as its locks do. Names that
/// start with a dot are ours or the file system's and never listed.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    /// The folder `root`; the first write creates it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, operation: &'static str, key: &str) -> Result<PathBuf, StoreError> {
        if key_is_safe(key) && !key.split('/').any(|segment| segment.starts_with('.')) {
            Ok(self.root.join(key))
        } else {
            let place = self.root.display().to_string();
            Err(StoreError::new(StoreErrorKind::InvalidKey, operation, place, ""))
        }
    }

    fn error(operation: &'static str, path: &Path, error: &io::Error) -> StoreError {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Forbidden,
            _ => StoreErrorKind::Other,
        };
        StoreError::new(kind, operation, path.display().to_string(), error.to_string())
    }

    /// Runs blocking file operations off the runtime's own threads.
    fn blocking<'a, T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let place = store.root.display().to_string();
            tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or_else(|error| {
                Err(StoreError::new(StoreErrorKind::Other, operation, place, error.to_string()))
            })
        })
    }

    /// Holds the writers' lock as long as the answer lives.
    fn lock(&self, operation: &'static str) -> Result<File, StoreError> {
        let path = self.root.join(LOCK);
        let locked = || -> io::Result<File> {
            fs::create_dir_all(&self.root)?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        locked().map_err(|error| Self::error(operation, &path, &error))
    }

    fn read(&self, key: &str, if_none_match: Option<&Etag>, limit: u64) -> Result<Got, StoreError> {
        let path = self.path("read", key)?;
        let bytes = match read_limited(&path, limit) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let detail = format!("the limit is {limit} bytes");
                let place = path.display().to_string();
                return Err(StoreError::new(StoreErrorKind::TooLarge, "read", place, detail));
            }
            Err(error) if is_missing(&error) => {
                if self.root.is_dir() {
                    return Ok(Got::Missing);
                }
                let place = self.root.display().to_string();
                return Err(StoreError::new(StoreErrorKind::BucketMissing, "read", place, ""));
            }
            Err(error) => return Err(Self::error("read", &path, &error)),
        };
        let etag = etag_of(&bytes);
        Ok(if if_none_match == Some(&etag) { Got::NotModified } else { Got::Found { bytes, etag } })
    }

    fn write(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<Put, StoreError> {
        let path = self.path("write", key)?;
        let _lock = self.lock("write")?;
        let holds = || -> io::Result<bool> {
            Ok(match precondition {
                Precondition::None => true,
                Precondition::IfAbsent => !path.try_exists()?,
                Precondition::IfMatch(expected) => match fs::read(&path) {
                    Ok(current) => etag_of(&current) == *expected,
                    Err(error) if is_missing(&error) => false,
                    Err(error) => return Err(error),
                },
            })
        };
        match holds().and_then(|holds| if holds { replace(&path, bytes).map(|()| true) } else { Ok(false) }) {
            Ok(true) => Ok(Put::Stored(etag_of(bytes))),
            Ok(false) => Ok(Put::PreconditionFailed),
            Err(error) => Err(Self::error("write", &path, &error)),
        }
    }

    fn walk(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let folder = self.path("list", prefix.trim_end_matches('/'))?;
        let mut listed = Vec::new();
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            self.list_folder(&folder, &mut folders, &mut listed)
                .map_err(|error| Self::error("list", &folder, &error))?;
        }
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    fn list_folder(
        &self,
        folder: &Path,
        folders: &mut Vec<PathBuf>,
        listed: &mut Vec<Listed>,
    ) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // Follows links, as mounted ConfigMaps consist of them.
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                // Deleted since.
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                folders.push(path);
            } else if let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) {
                let modified = DateTime::<Utc>::from(metadata.modified()?);
                listed.push(Listed { key: key.to_owned(), size: metadata.len(), modified });
            }
        }
        Ok(())
    }
}

impl Store for FolderStore {
    fn get<'a>(
        &'a self,
        key: &'a str,
        if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>> {
        let (key, if_none_match) = (key.to_owned(), if_none_match.cloned());
        self.blocking("read", move |store| store.read(&key, if_none_match.as_ref(), limit))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Vec<u8>,
        precondition: Precondition,
        _headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>> {
        let key = key.to_owned();
        self.blocking("write", move |store| store.write(&key, &bytes, &precondition))
    }

    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        let key = key.to_owned();
        self.blocking("read", move |store| {
            let path = store.path("read", &key)?;
            match fs::metadata(&path) {
                Ok(metadata) => Ok(Some(metadata.len())),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(Self::error("read", &path, &error)),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let key = key.to_owned();
        self.blocking("delete", move |store| {
            let path = store.path("delete", &key)?;
            let _lock = store.lock("delete")?;
            match fs::remove_file(&path) {
                Err(error) if !is_missing(&error) => Err(Self::error("delete", &path, &error)),
                _ => Ok(()),
            }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        let prefix = prefix.to_owned();
        self.blocking("list", move |store| store.walk(&prefix))
    }

    fn source(&self) -> Source {
        Source::File
    }

    fn describe(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

fn etag_of(bytes: &[u8]) -> Etag {
    Etag(Digest::of(bytes).hex())
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The file's content, or `None` if it is longer than `limit`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // The file may have grown since, and some files have no length.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Puts `bytes` in the place of `path`, all or nothing, also across a power failure.
///
/// The caller makes sure that nobody else writes the same path.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file name"));
    };
    fs::create_dir_all(folder)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    let temporary = folder.join(temporary);
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // A half-written file would take the space that is probably what was lacking.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    // The rename itself survives a power failure only once the directory is on disk.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_folder() {
        let store = FolderStore::new("/nonexistent");
        for key in
            ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\b", ".flipt-lock", "a/.b.tmp"]
        {
            assert_eq!(store.path("read", key).unwrap_err().kind, StoreErrorKind::InvalidKey, "{key}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"old").unwrap();
        // Where the temporary file would go there is a directory.
        fs::create_dir(folder.path().join(".a.tmp")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
