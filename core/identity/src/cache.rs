//! Tokens that were verified a moment ago.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::caller::Caller;

/// A token's name in the cache. The token itself is not kept, and nobody can make another one with this name.
pub(crate) type Fingerprint = [u8; 32];

pub(crate) fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token.as_bytes()).into()
}

/// A bounded number of callers, each for a limited time. Times are since 1970.
pub(crate) struct Cache {
    entries: Mutex<Entries>,
    capacity: usize,
}

#[derive(Default)]
struct Entries {
    callers: HashMap<Fingerprint, Entry>,
    /// In the order of arrival, which is nearly that of leaving: all entries live for about the same time.
    arrivals: VecDeque<(Fingerprint, Duration)>,
}

struct Entry {
    caller: Arc<Caller>,
    from: Duration,
    until: Duration,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }

    pub(crate) fn get(&self, token: &Fingerprint, now: Duration) -> Option<Arc<Caller>> {
        let entries = self.lock();
        let entry = entries.callers.get(token)?;
        // A clock that was set back must not lengthen an entry's life.
        (entry.from <= now && now < entry.until).then(|| Arc::clone(&entry.caller))
    }

    pub(crate) fn insert(&self, token: Fingerprint, caller: Arc<Caller>, now: Duration, until: Duration) {
        if self.capacity == 0 || until <= now {
            return;
        }
        let mut entries = self.lock();
        entries.make_room(self.capacity, now);
        entries.callers.insert(token, Entry { caller, from: now, until });
        entries.arrivals.push_back((token, now));
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing in here can be left half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Lets the oldest go until one more fits, and all at the front whose time is over.
    fn make_room(&mut self, capacity: usize, now: Duration) {
        while let Some((token, arrived)) = self.arrivals.front() {
            // An entry that was renewed has arrived again since.
            let current = self.callers.get(token).filter(|entry| entry.from == *arrived);
            if self.arrivals.len() < capacity && current.is_some_and(|entry| now < entry.until) {
                break;
            }
            if current.is_some() {
                self.callers.remove(&token.clone());
            }
            self.arrivals.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn caller() -> Arc<Caller> {
        Arc::new(Caller {
            namespace: "shop".into(),
            service_account: "checkout".into(),
            service_account_uid: String::new(),
            pod: None,
            issued_at: SystemTime::UNIX_EPOCH,
            expires_at: SystemTime::UNIX_EPOCH,
            grants: vec![],
        })
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_entry_ends_at_its_time() {
        let cache = Cache::new(2);
        cache.insert(fingerprint("a"), caller(), at(100), at(160));
        assert!(cache.get(&fingerprint("a"), at(100)).is_some());
        assert!(cache.get(&fingerprint("a"), at(159)).is_some());
        assert!(cache.get(&fingerprint("a"), at(160)).is_none());
        assert!(cache.get(&fingerprint("b"), at(100)).is_none());
    }

    #[test]
    fn a_clock_set_back_ends_an_entry() {
        let cache = Cache::new(2);
        cache.insert(fingerprint("a"), caller(), at(100), at(160));
        assert!(cache.get(&fingerprint("a"), at(99)).is_none());
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let cache = Cache::new(2);
        for (second, token) in (100..).zip(["a", "b", "c"]) {
            cache.insert(fingerprint(token), caller(), at(second), at(200));
        }
        let kept: Vec<bool> =
            ["a", "b", "c"].map(|token| cache.get(&fingerprint(token), at(103)).is_some()).into();
        assert_eq!(kept, [false, true, true]);
    }

    #[test]
    fn never_holds_more_than_its_capacity() {
        let cache = Cache::new(16);
        for second in 0..1000 {
            cache.insert(
                fingerprint(&(second % 37).to_string()),
                caller(),
                at(second),
                at(second + 1 + second % 60),
            );
            let entries = cache.lock();
            assert!(entries.callers.len() <= 16 && entries.arrivals.len() <= 16);
            assert!(entries.callers.len() <= entries.arrivals.len());
        }
    }

    #[test]
    fn a_renewed_entry_does_not_go_with_its_first_arrival() {
        let cache = Cache::new(3);
        cache.insert(fingerprint("first"), caller(), at(100), at(200));
        cache.insert(fingerprint("a"), caller(), at(101), at(110));
        cache.insert(fingerprint("a"), caller(), at(120), at(200));
        cache.insert(fingerprint("b"), caller(), at(121), at(200));
        cache.insert(fingerprint("c"), caller(), at(122), at(200));
        assert!(["a", "b", "c"].iter().all(|token| cache.get(&fingerprint(token), at(123)).is_some()));
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let cache = Cache::new(0);
        cache.insert(fingerprint("a"), caller(), at(100), at(160));
        assert!(cache.get(&fingerprint("a"), at(100)).is_none());
    }
}
