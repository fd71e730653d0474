//! Folders of servers, which are removed although the process that made them was killed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;

const PREFIX: &str = "flipt-dev-databases-";

/// A new folder that every user may enter: servers run as users of their own.
pub(crate) fn create() -> TempDir {
    remove_abandoned();
    let folder = tempfile::Builder::new()
        .prefix(&format!("{}{}-", prefix(), std::process::id()))
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir();
    folder.expect("a folder for temporary files")
}

/// What the names of all folders begin with, as far as process ids mean the same: those of a cluster are others.
fn prefix() -> String {
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let number: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{PREFIX}{number}-")
}

/// Removes the folders of processes that are gone.
fn remove_abandoned() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    let prefix = prefix();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(&prefix).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Whoever comes first removes it; an error means that somebody else did.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
