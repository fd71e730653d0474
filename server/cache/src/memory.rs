//! The cache in the process.

use std::time::Duration;

use bytes::Bytes;
use flipt_config::Ttl;
use moka::sync::Cache;

/// How much is kept at most, keys included, in bytes: some thousands of flags. What is asked for rarely goes
/// first.
const BOUND: u64 = 128 * 1024 * 1024;
/// What an entry costs beside its key and value, about.
const OVERHEAD: usize = 128;
/// The library refuses times beyond a thousand years.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Entries in memory. A clone shares them.
///
/// Moka and not a map of our own: the bound on bytes needs an order in which entries go, and reads must not wait
/// for each other.
#[derive(Clone)]
pub(crate) struct Memory(Cache<String, Bytes>);

impl Memory {
    /// An empty cache. An entry lives for `ttl` from its write, for ever if that is zero or less; one that has
    /// ended is never found again (storage spec, section 8.4).
    pub(crate) fn new(ttl: Ttl) -> Self {
        let size = |key: &String, value: &Bytes| {
            u32::try_from(key.len() + value.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let builder = Cache::builder().max_capacity(BOUND).weigher(size);
        Self(
            match ttl {
                Ttl::Limited(ttl) => builder.time_to_live(ttl.min(LONGEST_TTL)),
                Ttl::Zero | Ttl::Negative => builder,
            }
            .build(),
        )
    }

    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.0.get(key)
    }

    pub(crate) fn set(&self, key: String, value: Bytes) {
        self.0.insert(key, value);
    }

    /// Gives the memory of entries that have ended back.
    pub(crate) fn sweep(&self) {
        self.0.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(ttl: Ttl) -> Memory {
        let memory = Memory::new(ttl);
        memory.set("k".to_owned(), Bytes::from_static(b"v"));
        memory
    }

    #[test]
    fn an_entry_is_found_until_it_has_ended_and_never_after() {
        let memory = memory(Ttl::Limited(Duration::from_secs(2)));
        assert_eq!(memory.get("k").as_deref(), Some(&b"v"[..]));
        std::thread::sleep(Duration::from_millis(2_200));
        assert_eq!(memory.get("k"), None);
    }

    #[test]
    fn reading_does_not_prolong_a_life() {
        let memory = memory(Ttl::Limited(Duration::from_millis(300)));
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(100));
            let _ = memory.get("k");
        }
        assert_eq!(memory.get("k"), None);
    }

    #[test]
    fn a_sweep_takes_what_has_ended_out_of_memory() {
        let memory = memory(Ttl::Limited(Duration::from_secs(2)));
        memory.sweep();
        assert_eq!(memory.0.entry_count(), 1);
        std::thread::sleep(Duration::from_millis(2_200));
        memory.sweep();
        assert_eq!((memory.0.entry_count(), memory.0.weighted_size()), (0, 0));
    }

    #[test]
    fn without_a_ttl_entries_stay() {
        for ttl in [Ttl::Zero, Ttl::Negative, Ttl::Limited(Duration::MAX)] {
            let memory = memory(ttl);
            memory.sweep();
            assert!(memory.get("k").is_some(), "{ttl:?}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let memory = Memory::new(Ttl::Zero);
        let megabyte = Bytes::from(vec![0; 1024 * 1024]);
        for number in 0..200 {
            memory.set(number.to_string(), megabyte.clone());
        }
        memory.sweep();
        assert!(memory.0.weighted_size() <= BOUND, "{}", memory.0.weighted_size());
    }
}
