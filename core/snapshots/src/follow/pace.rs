//! When to poll next.

use std::time::Duration;

/// Shortest pause, so that no configuration can make a busy loop.
const SHORTEST: Duration = Duration::from_millis(10);
/// First upper bound of the pause after a failure; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Last upper bound of the pause after a failure.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Pauses between polls. The same seed gives the same sequence, different seeds spread a fleet of readers.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    random: u64,
}

impl Pace {
    pub(super) fn new(interval: Duration, seed: u64) -> Self {
        Self { interval, random: seed }
    }

    /// The pause after a poll: the interval ±20 %, or after failures full jitter up to a growing bound.
    pub(super) fn pause(&mut self, consecutive_failures: u32) -> Duration {
        let share = self.share();
        let pause = match consecutive_failures {
            0 => self.interval.mul_f64(0.8 + 0.4 * share),
            failures => {
                let bound = FIRST_BACKOFF.saturating_mul(1 << (failures - 1).min(6)).min(LONGEST_BACKOFF);
                bound.mul_f64(share)
            }
        };
        pause.max(SHORTEST)
    }

    /// Somewhere between nothing and `longest`, so that readers that start together do not ask together.
    pub(super) fn spread(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.share())
    }

    /// Uniform in 0..1 (splitmix64: small, and good enough to spread polls).
    fn share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A seed from an identifier that differs from reader to reader, such as the pod's uid.
#[must_use]
pub fn seed_from(identifier: &str) -> u64 {
    // FNV-1a: stable across releases, unlike the standard library's hasher.
    identifier
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    #[test]
    fn polls_stay_within_a_fifth_of_the_interval() {
        let mut pace = Pace::new(INTERVAL, seed_from("pod-1"));
        let pauses: Vec<_> = (0..1000).map(|_| pace.pause(0)).collect();
        assert!(pauses.iter().all(|pause| (12.0..=18.0).contains(&pause.as_secs_f64())));
        let mean = pauses.iter().sum::<Duration>().as_secs_f64() / 1000.0;
        assert!((14.8..15.2).contains(&mean), "{mean}");
    }

    #[test]
    fn pauses_after_failures_grow_to_a_minute_and_no_further() {
        let mut pace = Pace::new(INTERVAL, 7);
        for (failures, bound) in [(1, 1), (2, 2), (5, 16), (7, 60), (40, 60), (u32::MAX, 60)] {
            let longest = (0..1000).map(|_| pace.pause(failures)).max().unwrap();
            assert!(longest <= Duration::from_secs(bound), "{failures}: {longest:?}");
            assert!(longest >= Duration::from_secs(bound).mul_f64(0.9), "{failures}: {longest:?}");
        }
    }

    #[test]
    fn readers_with_different_identifiers_do_not_poll_together() {
        let mut a = Pace::new(INTERVAL, seed_from("pod-1"));
        let mut b = Pace::new(INTERVAL, seed_from("pod-2"));
        assert_ne!(a.pause(0), b.pause(0));
    }

    #[test]
    fn no_interval_makes_a_busy_loop() {
        assert_eq!(Pace::new(Duration::ZERO, 1).pause(0), SHORTEST);
    }
}
