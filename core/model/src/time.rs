//! Instants and calendar days as constraints spell them: RFC 3339 with the leniency of the reference.

use std::fmt;

/// A point in time with nanosecond resolution; the order of values is the order in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub seconds: i64,
    /// Nanoseconds into that second.
    pub nanos: u32,
}

/// Reads an RFC 3339 date-time: `YYYY-MM-DDThh:mm:ss`, optional fraction, zone.
///
/// Upper-case `T` and `Z` only; the hour may have one digit; the fraction starts with `.` or `,` and digits
/// after the ninth are dropped; the zone is `Z` or `±hh:mm` with hours to 24 and minutes to 60.
#[must_use]
pub fn parse_instant(text: &str) -> Option<Instant> {
    let mut cursor = Cursor(text.as_bytes());
    let day = cursor.date()?;
    cursor.literal(b'T')?;
    let hour = cursor.one_or_two_digits().filter(|hour| *hour <= 23)?;
    cursor.literal(b':')?;
    let minute = cursor.digits(2).filter(|minute| *minute <= 59)?;
    cursor.literal(b':')?;
    let second = cursor.digits(2).filter(|second| *second <= 59)?;
    let nanos = cursor.fraction();
    let offset = cursor.zone()?;
    cursor.end()?;
    Some(Instant { seconds: day * 86_400 + hour * 3_600 + minute * 60 + second - offset, nanos })
}

/// Reads a date `YYYY-MM-DD`, as midnight UTC.
#[must_use]
pub fn parse_date(text: &str) -> Option<Instant> {
    let mut cursor = Cursor(text.as_bytes());
    let day = cursor.date()?;
    cursor.end()?;
    Some(Instant { seconds: day * 86_400, nanos: 0 })
}

/// `YYYY-MM-DDThh:mm:ssZ`; the fraction of a second is left out.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        let sign = if year < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            year.unsigned_abs(),
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// What is left to read. Numbers come out as `i64`, ready for arithmetic.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn literal(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (head, tail) = self.0.split_at_checked(count)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = tail;
        Some(head.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn one_or_two_digits(&mut self) -> Option<i64> {
        self.digits(2).or_else(|| self.digits(1))
    }

    /// Days since 1970-01-01.
    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.literal(b'-')?;
        let month = self.digits(2)?;
        self.literal(b'-')?;
        let day = self.digits(2)?;
        days_from_civil(year, month, day)
    }

    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', digits @ ..] = self.0 else { return 0 };
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return 0;
        }
        let nanos = (0..9)
            .fold(0, |nanos, at| nanos * 10 + if at < count { u32::from(digits[at] - b'0') } else { 0 });
        self.0 = &digits[count..];
        nanos
    }

    /// Seconds east of Greenwich.
    fn zone(&mut self) -> Option<i64> {
        let sign = match self.0 {
            [b'Z', ..] => {
                self.0 = &self.0[1..];
                return Some(0);
            }
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let hours = self.digits(2).filter(|hours| *hours <= 24)?;
        self.literal(b':')?;
        let minutes = self.digits(2).filter(|minutes| *minutes <= 60)?;
        Some(sign * (hours * 3_600 + minutes * 60))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar; `None` if there is no such day.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years start in March here, so that the leap day is the last day of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Instant {
        parse_instant(text).unwrap_or_else(|| panic!("{text} is an instant"))
    }

    #[test]
    fn instants_are_seconds_since_1970() {
        assert_eq!(instant("1970-01-01T00:00:00Z"), Instant { seconds: 0, nanos: 0 });
        assert_eq!(instant("2024-02-29T10:20:30Z").seconds, 1_709_202_030);
        assert_eq!(instant("1969-12-31T23:59:59.5Z"), Instant { seconds: -1, nanos: 500_000_000 });
        assert_eq!(instant("0000-01-01T00:00:00Z").seconds, -62_167_219_200);
    }

    #[test]
    fn a_zone_moves_the_instant() {
        assert_eq!(instant("2024-02-29T10:20:30+02:00"), instant("2024-02-29T08:20:30Z"));
        assert_eq!(instant("2024-02-29T23:30:00-05:00"), instant("2024-03-01T04:30:00Z"));
        assert_eq!(instant("2024-02-29T00:00:00+24:60"), instant("2024-02-27T23:00:00Z"));
    }

    #[test]
    fn one_digit_hours_and_both_fraction_marks_are_read() {
        assert_eq!(instant("2006-01-02T1:04:05Z"), instant("2006-01-02T01:04:05Z"));
        assert_eq!(instant("2006-01-02T01:04:05,25Z").nanos, 250_000_000);
        assert_eq!(instant("2006-01-02T01:04:05.1234567899Z").nanos, 123_456_789);
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "2006-01-02",
            "2006-01-02T15:04:05",
            "2006-01-02t15:04:05Z",
            "2006-01-02T15:04:05z",
            "2006-01-02 15:04:05Z",
            "2006-1-02T15:04:05Z",
            "2006-01-02T15:4:05Z",
            "2006-01-02T24:00:00Z",
            "2006-01-02T15:60:00Z",
            "2006-01-02T15:04:60Z",
            "2006-02-29T15:04:05Z",
            "2006-13-01T15:04:05Z",
            "2006-00-01T15:04:05Z",
            "2006-01-00T15:04:05Z",
            "2006-01-02T15:04:05+0100",
            "2006-01-02T15:04:05+01",
            "2006-01-02T15:04:05+25:00",
            "2006-01-02T15:04:05+00:61",
            "2006-01-02T15:04:05.Z",
            "2006-01-02T15:04:05Z ",
            " 2006-01-02T15:04:05Z",
            "12006-01-02T15:04:05Z",
            "2006-01-02T15:04Z",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_is_midnight_utc() {
        assert_eq!(parse_date("2006-01-02"), parse_instant("2006-01-02T00:00:00Z"));
        assert!(parse_date("0000-01-01").is_some() && parse_date("2024-02-29").is_some());
        for text in ["2006-1-2", "2023-02-29", "1900-02-29", " 2006-01-02", "2006-01-02T", "29.02.2024", "x"]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn instants_are_written_in_utc_without_fraction() {
        for (text, written) in [
            ("2024-02-29T10:20:30.999999999+00:00", "2024-02-29T10:20:30Z"),
            ("2024-05-01T00:00:00+01:00", "2024-04-30T23:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("0000-01-01T00:00:00+01:00", "-0001-12-31T23:00:00Z"),
            ("9999-12-31T23:59:59-01:00", "10000-01-01T00:59:59Z"),
        ] {
            assert_eq!(instant(text).to_string(), written);
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_written_as_it_was_read() {
        for days in -200_000..200_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
    }
}
