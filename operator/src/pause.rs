//! Pauses that do not fall together.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// A pause of this length ± 20 %.
pub(crate) fn spread(pause: Duration) -> Duration {
    // Each `RandomState` has keys of its own.
    let thousandths = RandomState::new().build_hasher().finish() % 401;
    pause * 800 / 1_000 + pause * u32::try_from(thousandths).unwrap_or(200) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_spread_by_a_fifth() {
        let pauses: Vec<Duration> = (0..100).map(|_| spread(Duration::from_secs(10))).collect();
        assert!(pauses.iter().all(|pause| (8.0..=12.0).contains(&pause.as_secs_f64())), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
