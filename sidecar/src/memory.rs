//! How much memory the container has left.

use std::{fs, path::Path};

/// Where the container finds its own control group.
const CGROUP: &str = "/sys/fs/cgroup";
/// What version 1 says without a limit is about this, in whole pages.
const UNLIMITED: u64 = i64::MAX as u64 / 2;

/// Bytes until the container's limit; `None` without a limit, or where there are no control groups.
pub(crate) fn left() -> Option<u64> {
    left_in(Path::new(CGROUP))
}

/// The same for control groups mounted here. Pages of files that nobody maps are no use of memory: the kernel gives
/// them back before anything is killed.
fn left_in(root: &Path) -> Option<u64> {
    let number =
        |name: &str| -> Option<u64> { fs::read_to_string(root.join(name)).ok()?.trim().parse().ok() };
    let (limit, used, cache) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?, stat(&root.join("memory.stat"), "inactive_file")),
        None => (
            number("memory/memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED)?,
            number("memory/memory.usage_in_bytes")?,
            stat(&root.join("memory/memory.stat"), "total_inactive_file"),
        ),
    };
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

/// One number of a list of them; 0 if it is not there.
fn stat(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_second_version_of_control_groups_is_read() {
        let files = [
            ("memory.max", "100000\n"),
            ("memory.current", "60000\n"),
            ("memory.stat", "anon 1\ninactive_file 20000\n"),
        ];
        assert_eq!(left_in(cgroup(&files).path()), Some(60_000));
        assert_eq!(left_in(cgroup(&[("memory.max", "max\n"), ("memory.current", "1")]).path()), None);
    }

    #[test]
    fn the_first_version_of_control_groups_is_read() {
        let files = |limit| {
            [
                ("memory/memory.limit_in_bytes", limit),
                ("memory/memory.usage_in_bytes", "60000\n"),
                ("memory/memory.stat", "inactive_file 5\ntotal_inactive_file 20000\n"),
            ]
        };
        assert_eq!(left_in(cgroup(&files("100000\n")).path()), Some(60_000));
        assert_eq!(left_in(cgroup(&files("9223372036854771712\n")).path()), None);
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        assert_eq!(left_in(cgroup(&[]).path()), None);
    }
}
