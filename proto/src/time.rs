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

/// RFC 3339 in UTC with `Z` and 0, 3, 6 or 9 digits of fraction: the fewest that lose nothing (api spec,
/// section 2.4). Written by hand because every evaluation answer carries one.
#[must_use]
pub fn rfc3339(timestamp: &Timestamp) -> String {
    let days = timestamp.seconds.div_euclid(86_400);
    let second = timestamp.seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let mut text = String::with_capacity(30);
    digits(&mut text, year, 4);
    for (mark, value) in
        [('-', month), ('-', day), ('T', second / 3_600), (':', second / 60 % 60), (':', second % 60)]
    {
        text.push(mark);
        digits(&mut text, value, 2);
    }
    let nanos = i64::from(timestamp.nanos);
    if nanos != 0 {
        text.push('.');
        match (nanos % 1_000_000, nanos % 1_000) {
            (0, _) => digits(&mut text, nanos / 1_000_000, 3),
            (_, 0) => digits(&mut text, nanos / 1_000, 6),
            _ => digits(&mut text, nanos, 9),
        }
    }
    text.push('Z');
    text
}

/// The calendar day of a day count since 1970-01-01, proleptic Gregorian.
const fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day ends its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

fn digits(text: &mut String, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        text.push(char::from(b'0' + u8::try_from(digit.rem_euclid(10)).unwrap_or(0)));
    }
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

    #[test]
    fn fractions_have_the_fewest_groups_of_three_digits() {
        let text = |seconds, nanos| rfc3339(&Timestamp { seconds, nanos });
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_704_164_645, 678_901_000), "2024-01-02T03:04:05.678901Z");
        assert_eq!(text(951_782_400, 500_000_000), "2000-02-29T00:00:00.500Z");
        assert_eq!(text(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(4_107_542_399, 1), "2100-02-28T23:59:59.000000001Z");
    }
}
