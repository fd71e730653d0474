//! Timestamps on the wire, at the microsecond resolution of the store (api spec, section 5).

use prost_types::Timestamp;

const MICROS: i64 = 1_000_000;

/// The wire form of an instant given in microseconds since the Unix epoch.
#[must_use]
pub fn from_unix_micros(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(MICROS) * 1_000;
    Timestamp { seconds: micros.div_euclid(MICROS), nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// Microseconds since the Unix epoch, cut off at that resolution.
#[must_use]
pub fn to_unix_micros(timestamp: &Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(MICROS).saturating_add(i64::from(timestamp.nanos) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_the_epoch_keep_nanos_positive() {
        let timestamp = from_unix_micros(-1);
        assert_eq!((timestamp.seconds, timestamp.nanos), (-1, 999_999_000));
        assert_eq!(to_unix_micros(&timestamp), -1);
    }
}
