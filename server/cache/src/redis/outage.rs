//! Whether Redis is left alone, and when it is tried again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// First and longest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An outage that begins sooner than this after the end of the last one continues with its pauses: a server that
/// fails every other time costs one request, and one record in the log, per pause.
const STABLE: Duration = Duration::from_secs(30);

/// The state of a connection: in use, or left alone.
pub(super) struct Outage {
    state: watch::Sender<bool>,
    pauses: Mutex<Pauses>,
}

#[derive(Debug, Clone, Copy)]
struct Pauses {
    next: Duration,
    /// When the last outage ended.
    ended: Option<Instant>,
}

impl Default for Outage {
    fn default() -> Self {
        let pauses = Pauses { next: FIRST_PAUSE, ended: None };
        Self { state: watch::Sender::new(false), pauses: Mutex::new(pauses) }
    }
}

impl Outage {
    /// Returns when there is an outage; at once if there is one already.
    pub(super) async fn begun(&self) {
        // An error means that the cache is gone, and with it whoever asks.
        let _ = self.state.subscribe().wait_for(|outage| *outage).await;
    }

    /// Begins an outage; tells whether there was none.
    pub(super) fn begin(&self) -> bool {
        let begins = self.state.send_if_modified(|outage| !std::mem::replace(outage, true));
        if begins {
            let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
            if pauses.ended.is_none_or(|ended| ended.elapsed() > STABLE) {
                pauses.next = FIRST_PAUSE;
            }
        }
        begins
    }

    /// How long to wait before the next try.
    pub(super) fn pause(&self) -> Duration {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = pauses.next;
        pauses.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// Ends the outage.
    pub(super) fn end(&self) {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(Instant::now());
        self.state.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_once() {
        let outage = Outage::default();
        assert!(outage.begin());
        assert!(!outage.begin());
        outage.end();
        assert!(outage.begin());
    }

    #[test]
    fn pauses_grow_to_a_limit_and_go_on_when_it_fails_again_soon() {
        let outage = Outage::default();
        outage.begin();
        let pauses: Vec<_> = (0..8).map(|_| outage.pause().as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        outage.end();
        outage.begin();
        assert_eq!(outage.pause(), LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_an_outage_at_once() {
        let outage = std::sync::Arc::new(Outage::default());
        let waiting = tokio::spawn({
            let outage = std::sync::Arc::clone(&outage);
            async move { outage.begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        outage.begin();
        waiting.await.unwrap();
        outage.begun().await;
    }
}
