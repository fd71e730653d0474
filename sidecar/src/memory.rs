//! How much memory the container has left.

use std::fs;

/// Bytes until the container's limit; `None` without a limit or outside of cgroup v2.
pub(crate) fn left() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    Some(limit.saturating_sub(used))
}
