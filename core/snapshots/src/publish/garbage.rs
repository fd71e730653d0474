//! Removal of what no reader can need any more.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{PublishError, read_pointer};
use crate::format::Keys;
use crate::store::{Listed, Store, StoreErrorKind};

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Number of objects.
    pub objects: usize,
    /// Number of history entries.
    pub history: usize,
}

/// Removes old history entries and the objects that nothing refers to.
///
/// # Guarantees
///
/// Kept are the current object; the newest `keep_revisions` history entries; every history entry and object
/// younger than `min_age` by the store's clock; and all objects that a kept entry names. If any kept entry
/// cannot be read, or there is no pointer, nothing is removed.
///
/// # Assumptions
///
/// `min_age` is longer than a publication takes. A publisher that finds its object in place just before it is
/// removed here writes it again at its next publication.
///
/// # Errors
///
/// [`PublishError::Store`]; [`PublishError::PointerUnreadable`] for a kept entry that is no pointer.
pub async fn collect_garbage(
    store: &dyn Store,
    keys: &Keys,
    keep_revisions: usize,
    min_age: Duration,
    now: DateTime<Utc>,
) -> Result<Collected, PublishError> {
    let cutoff = TimeDelta::from_std(min_age).ok().and_then(|age| now.checked_sub_signed(age));
    let Some(cutoff) = cutoff else { return Ok(Collected::default()) };
    // Listed before the roots are read, so that what is published meanwhile is not in the list.
    let objects = store.list(&keys.objects_prefix()).await?;
    let mut history = store.list(&keys.history_prefix()).await?;
    // By time, because a new epoch may count from lower revisions than the old one; by key within a second.
    history.sort_by(|a, b| (b.modified, &b.key).cmp(&(a.modified, &a.key)));

    // Usually nothing is old enough, and then the entries need not be read.
    let is_old = |listed: &Listed| listed.modified <= cutoff;
    if !objects.iter().any(is_old) && !history.iter().skip(keep_revisions).any(is_old) {
        return Ok(Collected::default());
    }

    let mut roots = HashSet::new();
    let mut old_entries = Vec::new();
    for (position, entry) in history.iter().enumerate() {
        if position < keep_revisions || !is_old(entry) {
            roots.extend(referenced(store, keys, &entry.key).await?);
        } else {
            old_entries.push(&entry.key);
        }
    }
    let current = referenced(store, keys, &keys.pointer()).await?;
    if current.is_empty() {
        return Ok(Collected::default());
    }
    roots.extend(current);

    let mut collected = Collected::default();
    // Entries first: an interrupted run leaves objects without an entry, which the next one finds.
    for key in old_entries {
        store.delete(key).await?;
        collected.history += 1;
    }
    for object in objects {
        if !is_old(&object) || roots.contains(&object.key) {
            continue;
        }
        // Somebody may just have gone back to this very content.
        if referenced(store, keys, &keys.pointer()).await?.contains(&object.key) {
            continue;
        }
        store.delete(&object.key).await?;
        collected.objects += 1;
    }
    Ok(collected)
}

/// Keys of the objects that the pointer at `key` names; none if it has gone.
async fn referenced(store: &dyn Store, keys: &Keys, key: &str) -> Result<Vec<String>, PublishError> {
    match read_pointer(store, key).await {
        Ok(Some((Ok(pointer), _))) => Ok(pointer.paths().map(|path| keys.absolute(path)).collect()),
        Ok(Some((Err(reason), _))) => {
            Err(PublishError::PointerUnreadable { place: store.describe(key), reason })
        }
        Ok(None) => Ok(Vec::new()),
        Err(error) if error.kind == StoreErrorKind::TooLarge => {
            let reason = crate::format::FormatError::Corrupt("longer than any pointer".to_owned());
            Err(PublishError::PointerUnreadable { place: store.describe(key), reason })
        }
        Err(error) => Err(error.into()),
    }
}
