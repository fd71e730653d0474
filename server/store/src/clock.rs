//! The clock of writes.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Strictly increasing wall clock in microseconds: creation order is list order, also within one import.
#[derive(Default)]
pub(crate) struct Clock(AtomicI64);

impl Clock {
    /// Makes every further instant later than this one.
    pub(crate) fn observe(&self, instant: i64) {
        self.0.fetch_max(instant, Ordering::Relaxed);
    }

    /// An instant later than every one given before, in microseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(wall.max(last + 1)))
            .unwrap_or(wall);
        wall.max(before + 1)
    }
}
