//! Which files of a folder are documents, and what the file system says about them.

use std::{
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use flipt_model::document::{INDEX_FILE, Index};

use crate::SourceError;

/// Most bytes of one file; a file of flags is far smaller.
const MOST_FILE_BYTES: u64 = 32 << 20;
/// Most bytes of all files together.
const MOST_BYTES: u64 = 128 << 20;
/// Most folders below each other.
const MOST_DEPTH: usize = 64;
/// What file systems keep at their top for themselves, unreadable for others.
const RESERVED: &str = "lost+found";

const READABLE: &str = "make it readable for the server, or point storage.local.path elsewhere";

/// A file as the file system describes it. Equal stamps mean equal content, as long as nobody wrote within the
/// resolution of its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_at: i64,
    changed_at: i64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let micros =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_at: micros(metadata.mtime(), metadata.mtime_nsec()),
            changed_at: micros(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn newest(&self) -> i64 {
        self.modified_at.max(self.changed_at)
    }
}

/// The selected files of a folder at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    root: PathBuf,
    index: Option<Stamp>,
    files: Vec<(String, PathBuf, Stamp)>,
    /// Last change of any folder: the only trace that a deletion leaves.
    folders_changed_at: i64,
}

impl Listing {
    /// Lists the files that the index, or the default, selects, in lexical order.
    ///
    /// Links to files are followed, links to folders are not: a mounted ConfigMap would show every file twice.
    /// For the same reason folders whose name starts with `..` are left out.
    pub(crate) fn read(root: &Path) -> Result<Self, SourceError> {
        let metadata = fs::metadata(root).map_err(|error| SourceError {
            message: stat_text(root, &error),
            remedy: "create or mount the folder, or correct storage.local.path",
        })?;
        if !metadata.is_dir() {
            return Err(SourceError {
                message: format!("{} is not a folder", root.display()),
                remedy: "name the folder that holds the files",
            });
        }
        let (index, stamp) = read_index(root)?;
        let mut listing =
            Self { root: root.to_owned(), index: stamp, files: Vec::new(), folders_changed_at: 0 };
        listing.walk(&PathBuf::new(), &index, 0)?;
        let bytes = listing.files.iter().fold(0_u64, |sum, (_, _, stamp)| sum.saturating_add(stamp.size));
        if bytes > MOST_BYTES {
            return Err(SourceError {
                message: format!(
                    "{}: {bytes} bytes in feature files, at most {MOST_BYTES} are read",
                    root.display()
                ),
                remedy: "let the index file select fewer files",
            });
        }
        Ok(listing)
    }

    fn walk(&mut self, below: &Path, index: &Index, depth: usize) -> Result<(), SourceError> {
        let folder = self.root.join(below);
        let failed = |error: io::Error| unreadable(&folder, &error);
        if depth > MOST_DEPTH {
            return Err(SourceError {
                message: format!("{}: more than {MOST_DEPTH} folders deep", folder.display()),
                remedy: "point storage.local.path to the folder that holds the files",
            });
        }
        self.folders_changed_at =
            self.folders_changed_at.max(Stamp::of(&fs::metadata(&folder).map_err(failed)?).newest());
        let mut entries =
            fs::read_dir(&folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let path = below.join(&name);
            if entry.file_type().map_err(failed)?.is_dir() {
                if !name.to_string_lossy().starts_with("..") && name != RESERVED {
                    self.walk(&path, index, depth + 1)?;
                }
                continue;
            }
            let text = path.to_string_lossy().into_owned();
            if !index.selects(&text) {
                continue;
            }
            let full = self.root.join(&path);
            let metadata = fs::metadata(&full).map_err(|error| unreadable(&full, &error))?;
            if metadata.is_dir() {
                continue;
            }
            check(&full, &metadata)?;
            self.files.push((text, full, Stamp::of(&metadata)));
        }
        Ok(())
    }

    /// Whether the same files have the same stamps.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.root == other.root && self.index == other.index && self.files == other.files
    }

    /// The newest time of any file, in microseconds since the Unix epoch.
    pub(crate) fn newest(&self) -> i64 {
        let files = self.files.iter().map(|(_, _, stamp)| stamp.newest());
        files.chain(self.index.as_ref().map(Stamp::newest)).max().unwrap_or_default()
    }

    /// When anything was changed last, also by a deletion. The time at which the file system took note of it
    /// counts, not the one a file was given: a restored old file is a change of today.
    pub(crate) fn changed_at(&self) -> i64 {
        let files = self.files.iter().map(|(_, _, stamp)| stamp.changed_at);
        files.chain(self.index.as_ref().map(|stamp| stamp.changed_at)).fold(self.folders_changed_at, i64::max)
    }

    /// The content of every file.
    pub(crate) fn load(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        self.files
            .iter()
            .map(|(name, path, _)| {
                let text = read_file(path).map_err(|error| unreadable(path, &error))?;
                Ok((name.clone(), text))
            })
            .collect()
    }
}

/// The files below a folder that its index, or the default, selects, in the order in which they are loaded.
///
/// # Errors
/// [`SourceError`] if something cannot be read, or the index is malformed.
pub fn selected_files(root: &Path) -> Result<Vec<String>, SourceError> {
    Ok(Listing::read(root)?.files.into_iter().map(|(name, _, _)| name).collect())
}

fn read_index(root: &Path) -> Result<(Index, Option<Stamp>), SourceError> {
    let path = root.join(INDEX_FILE);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Index::default(), None)),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    check(&path, &metadata)?;
    let text = read_file(&path).map_err(|error| unreadable(&path, &error))?;
    let index = Index::read(&text).map_err(|error| SourceError {
        message: format!("{}: {error}", path.display()),
        remedy: "correct the index file, or remove it to select every features.yml",
    })?;
    Ok((index, Some(Stamp::of(&metadata))))
}

/// Refuses what must not be read: a pipe would block for ever.
fn check(path: &Path, metadata: &Metadata) -> Result<(), SourceError> {
    if !metadata.is_file() {
        return Err(SourceError {
            message: format!("{} is not a regular file", path.display()),
            remedy: "remove it, or exclude it in the index file",
        });
    }
    if metadata.len() > MOST_FILE_BYTES {
        return Err(SourceError {
            message: format!(
                "{}: {} bytes, at most {MOST_FILE_BYTES} are read",
                path.display(),
                metadata.len()
            ),
            remedy: "split it into several files",
        });
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MOST_FILE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    SourceError { message: stat_text(path, error), remedy: READABLE }
}

/// As Flipt tells it, with the path.
fn stat_text(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("stat {}: no such file or directory", path.display()),
        io::ErrorKind::PermissionDenied => format!("open {}: permission denied", path.display()),
        _ => format!("open {}: {error}", path.display()),
    }
}
