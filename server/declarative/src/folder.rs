//! Documents in a folder (storage spec, section 9.2).

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{Fetched, Source, SourceError, Tree, listing::Listing};

/// How long files must have been left alone before they are read: who writes a file in pieces is given the
/// time to finish.
const QUIET: Duration = Duration::from_secs(1);
/// How often a folder that keeps changing is looked at in one fetch.
const LOOKS: usize = 10;
/// How long a file system may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A folder of feature files.
pub struct Folder {
    path: PathBuf,
    /// The thread that touches the file system, and what it answers; both are gone if it hangs.
    reading: Option<oneshot::Receiver<Result<Fetched, SourceError>>>,
    requests: Option<SyncSender<oneshot::Sender<Result<Fetched, SourceError>>>>,
}

impl Folder {
    /// The folder at this path; relative paths are relative to the working directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reading: None, requests: None }
    }

    /// Asks the thread, which is started if there is none. A thread of its own, because a file system that
    /// hangs would keep a pool's thread, and with it the process, from ending.
    fn request(&mut self) -> Result<oneshot::Receiver<Result<Fetched, SourceError>>, SourceError> {
        let (answer, reading) = oneshot::channel();
        let requests = match self.requests.take() {
            Some(requests) => requests,
            None => start(&self.path)?,
        };
        requests.send(answer).map_err(|_| broken())?;
        self.requests = Some(requests);
        Ok(reading)
    }
}

fn broken() -> SourceError {
    SourceError {
        message: "the thread that reads the folder ended".to_owned(),
        remedy: "report this as a defect",
    }
}

fn start(path: &Path) -> Result<SyncSender<oneshot::Sender<Result<Fetched, SourceError>>>, SourceError> {
    let (requests, received) = sync_channel::<oneshot::Sender<_>>(1);
    let path = path.to_owned();
    let run = move || {
        let mut reader = Reader { path, last: None };
        for answer in received {
            // Whoever asked may have given up waiting.
            let _ = answer.send(reader.fetch());
        }
    };
    std::thread::Builder::new().name("folder".to_owned()).spawn(run).map_err(|error| SourceError {
        message: format!("starting the thread that reads the folder: {error}"),
        remedy: "raise the limit of threads",
    })?;
    Ok(requests)
}

#[async_trait]
impl Source for Folder {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn identity(&self) -> String {
        // Not with links resolved: what mounts put behind them changes with every update.
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("folder:{}", path.display())
    }

    async fn fetch(&mut self) -> Result<Fetched, SourceError> {
        let mut reading = match self.reading.take() {
            // Still the answer to the last question; there is no use in asking twice.
            Some(reading) => reading,
            None => self.request()?,
        };
        match tokio::time::timeout(ANSWER, &mut reading).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(_)) => {
                self.requests = None;
                Err(broken())
            }
            Err(_) => {
                self.reading = Some(reading);
                Err(SourceError {
                    message: format!(
                        "{}: the file system has not answered for {} s",
                        self.path.display(),
                        ANSWER.as_secs()
                    ),
                    remedy: "check the volume that holds the folder",
                })
            }
        }
    }
}

/// Reads the folder, on its thread.
struct Reader {
    path: PathBuf,
    /// What was read last.
    last: Option<Listing>,
}

impl Reader {
    fn fetch(&mut self) -> Result<Fetched, SourceError> {
        for _ in 0..LOOKS {
            let before = Listing::read(&self.path)?;
            if self.last.as_ref().is_some_and(|last| last.agrees_with(&before)) {
                return Ok(Fetched::Unchanged);
            }
            if let Some(rest) = QUIET.checked_sub(age(before.newest())) {
                std::thread::sleep(rest);
                continue;
            }
            let files = match before.load() {
                Ok(files) => files,
                // A file that was replaced while we looked; the next look decides.
                Err(_) if !self.is_still(&before) => continue,
                Err(error) => return Err(error),
            };
            if self.is_still(&before) {
                let changed_at = before.changed_at();
                self.last = Some(before);
                return Ok(Fetched::Tree(Tree { files, changed_at }));
            }
        }
        Err(SourceError {
            message: format!("{}: the files keep changing while they are read", self.path.display()),
            remedy: "write files beside their place and rename them",
        })
    }

    fn is_still(&self, before: &Listing) -> bool {
        Listing::read(&self.path).is_ok_and(|after| after.agrees_with(before))
    }
}

/// How long ago an instant was. One in the future says nothing, for the file system has a clock of its own, and
/// counts as long ago.
fn age(micros: i64) -> Duration {
    let then = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.checked_sub(then).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn tree(folder: &mut Folder) -> Tree {
        match folder.fetch().await.unwrap() {
            Fetched::Tree(tree) => tree,
            Fetched::Unchanged => panic!("unchanged"),
        }
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[tokio::test]
    async fn files_are_read_once_in_lexical_order_and_again_when_they_change() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b")).unwrap();
        for name in ["b/features.yml", "c.features.yaml", "a.features.yml", "features.json"] {
            fs::write(root.path().join(name), "{}").unwrap();
        }
        let mut folder = Folder::new(root.path());
        let first = tree(&mut folder).await;
        assert_eq!(names(&first), ["a.features.yml", "b/features.yml", "c.features.yaml"]);
        assert_eq!(folder.fetch().await.unwrap(), Fetched::Unchanged);
        fs::remove_file(root.path().join("a.features.yml")).unwrap();
        let second = tree(&mut folder).await;
        assert_eq!(names(&second), ["b/features.yml", "c.features.yaml"]);
        assert!(second.changed_at > first.changed_at);
    }

    #[tokio::test]
    async fn a_mounted_config_map_shows_every_file_once() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let write = |version: &str, text: &str| {
            let data = root.path().join(version);
            fs::create_dir(&data).unwrap();
            fs::write(data.join("features.yml"), text).unwrap();
        };
        write("..1", "old");
        symlink("..1", root.path().join("..data")).unwrap();
        symlink("..data/features.yml", root.path().join("features.yml")).unwrap();
        let mut folder = Folder::new(root.path());
        let first = tree(&mut folder).await;
        assert_eq!(first.files, [("features.yml".to_owned(), b"old".to_vec())]);
        write("..2", "new");
        symlink("..2", root.path().join("..new")).unwrap();
        fs::rename(root.path().join("..new"), root.path().join("..data")).unwrap();
        fs::remove_dir_all(root.path().join("..1")).unwrap();
        assert_eq!(tree(&mut folder).await.files, [("features.yml".to_owned(), b"new".to_vec())]);
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_not_read() {
        use std::{io::Write as _, time::Instant};
        for _ in 0..3 {
            let root = tempfile::tempdir().unwrap();
            let created = Instant::now();
            let mut file = fs::File::create(root.path().join("features.yml")).unwrap();
            let writing = std::thread::spawn(move || {
                let (mut longest, mut before) = (Duration::ZERO, created);
                for _ in 0..6 {
                    let now = Instant::now();
                    file.write_all(b"piece\n").unwrap();
                    longest = longest.max(before.elapsed());
                    before = now;
                    std::thread::sleep(QUIET / 4);
                }
                longest
            });
            let read = tree(&mut Folder::new(root.path())).await;
            // A machine may be so busy that the writer leaves the file alone for long.
            if writing.join().unwrap() < QUIET * 9 / 10 {
                assert_eq!(read.files[0].1, b"piece\n".repeat(6));
                return;
            }
        }
        panic!("no file was written without a long pause");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        let refused = async |path: &Path| Folder::new(path).fetch().await.unwrap_err().message;
        let missing = root.path().join("missing");
        assert_eq!(refused(&missing).await, format!("stat {}: no such file or directory", missing.display()));
        fs::write(root.path().join("file"), "").unwrap();
        assert!(refused(&root.path().join("file")).await.contains("is not a folder"));
        fs::write(root.path().join(".flipt.yml"), "include: ['[a']\n").unwrap();
        assert!(refused(root.path()).await.contains("compiling include glob"));
        fs::remove_file(root.path().join(".flipt.yml")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("features.yml")).unwrap();
        assert!(refused(root.path()).await.contains("features.yml: no such file"));
    }
}
