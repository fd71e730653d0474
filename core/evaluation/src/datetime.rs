//! Instants as constraints and contexts write them.

/// A point in time with nanosecond resolution; later ones compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant {
    /// Seconds since 1970 in UTC.
    seconds: i64,
    nanoseconds: u32,
}

impl Instant {
    /// Reads an RFC 3339 date-time, or a date alone, which means midnight UTC (section 4.5).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text.as_bytes());
        let year = rest.number(4)?;
        rest.expect(b'-')?;
        let month = rest.number(2)?;
        rest.expect(b'-')?;
        let day = rest.number(2)?;
        if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
            return None;
        }
        let midnight = days_since_1970(year, month, day) * 86_400;
        if rest.0.is_empty() {
            return Some(Self { seconds: midnight, nanoseconds: 0 });
        }
        rest.expect(b'T')?;
        // The hour alone may be written with one digit.
        let hour = rest.number(2).or_else(|| rest.number(1)).filter(|hour| *hour <= 23)?;
        rest.expect(b':')?;
        let minute = rest.number(2).filter(|minute| *minute <= 59)?;
        rest.expect(b':')?;
        let second = rest.number(2).filter(|second| *second <= 59)?;
        let nanoseconds = rest.fraction()?;
        let offset = rest.zone()?;
        if !rest.0.is_empty() {
            return None;
        }
        Some(Self { seconds: midnight + hour * 3600 + minute * 60 + second - offset, nanoseconds })
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// A number of exactly so many digits. Nothing is consumed if there are fewer.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(number.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// A fraction of a second in nanoseconds, zero if there is none. Digits after the ninth are dropped.
    fn fraction(&mut self) -> Option<u32> {
        let [b'.' | b',', rest @ ..] = self.0 else { return Some(0) };
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(length)?;
        if digits.is_empty() {
            return None;
        }
        self.0 = rest;
        let digits = digits.iter().map(|digit| u32::from(digit - b'0'));
        Some(digits.chain(std::iter::repeat(0)).take(9).fold(0, |number, digit| number * 10 + digit))
    }

    /// The offset from UTC in seconds.
    fn zone(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match first {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2).filter(|hours| *hours <= 24)?;
        self.expect(b':')?;
        let minutes = self.number(2).filter(|minutes| *minutes <= 60)?;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts years from March, so that the leap day comes last in a year; 400 years have 146 097 days.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Option<Instant> {
        Some(Instant { seconds, nanoseconds })
    }

    #[test]
    fn reads_instants() {
        for (text, instant) in [
            ("1970-01-01", at(0, 0)),
            ("1970-01-01T00:00:00Z", at(0, 0)),
            ("1969-12-31T23:59:59.5Z", at(-1, 500_000_000)),
            ("2006-01-02T15:04:05Z", at(1_136_214_245, 0)),
            ("2006-01-02T15:04:05,25+01:00", at(1_136_210_645, 250_000_000)),
            ("2006-01-02T15:04:05.1234567899Z", at(1_136_214_245, 123_456_789)),
            ("2006-01-02T15:04:05-24:60", at(1_136_214_245 + 90_000, 0)),
            ("2006-01-02T1:04:05Z", at(1_136_163_845, 0)),
            ("2000-02-29", at(951_782_400, 0)),
            ("0000-01-01", at(-62_167_219_200, 0)),
            ("0000-02-29T00:00:00Z", at(-62_162_121_600, 0)),
            ("9999-12-31T23:59:59Z", at(253_402_300_799, 0)),
        ] {
            assert_eq!(Instant::parse(text), instant, "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "2006",
            "2006-1-02",
            "2006-01-2",
            "06-01-02",
            "02006-01-02",
            "2006/01/02",
            " 2006-01-02",
            "2006-01-02 ",
            "2006-00-01",
            "2006-13-01",
            "2006-01-00",
            "2006-01-32",
            "2023-02-29",
            "1900-02-29",
            "2006-04-31",
            "2006-01-02T",
            "2006-01-02T15:04:05",
            "2006-01-02t15:04:05Z",
            "2006-01-02T15:04:05z",
            "2006-01-02 15:04:05Z",
            "2006-01-02T24:00:00Z",
            "2006-01-02T15:60:05Z",
            "2006-01-02T15:04:60Z",
            "2006-01-02T15:4:05Z",
            "2006-01-02T15:04:5Z",
            "2006-01-02T15:04Z",
            "2006-01-02T:04:05Z",
            "2006-01-02T15:04:05.Z",
            "2006-01-02T15:04:05,Z",
            "2006-01-02T15:04:05;5Z",
            "2006-01-02T15:04:05.5",
            "2006-01-02T15:04:05+0100",
            "2006-01-02T15:04:05+01",
            "2006-01-02T15:04:05+25:00",
            "2006-01-02T15:04:05+01:61",
            "2006-01-02T15:04:05+1:00",
            "2006-01-02T15:04:05Z ",
            "2006-01-02T15:04:05ZZ",
            "2006-01-02Z",
            "+006-01-02",
            "２006-01-02",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_since_1970(0, 1, 1);
        for year in 0..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    expected += 1;
                }
            }
        }
        assert_eq!(days_since_1970(1970, 1, 1), 0);
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), like in "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.,+Z-]{0,24})?") {
            Instant::parse(&text);
            Instant::parse(&like);
        }

        #[test]
        fn an_offset_names_the_same_instant(
            day in 1..=28_u8, hour in 0..=23_u8, minute in 0..=59_u8, zone in -23..=23_i64, nano in 0..1_000_000_000_u32
        ) {
            let local = Instant::parse(&format!("2024-05-{day:02}T{hour:02}:{minute:02}:07.{nano:09}{zone:+03}:00"));
            let utc = Instant::parse(&format!("2024-05-{day:02}T{hour:02}:{minute:02}:07.{nano:09}Z"));
            let (local, utc) = (local.unwrap(), utc.unwrap());
            prop_assert_eq!(local.seconds, utc.seconds - zone * 3600);
            prop_assert_eq!((local.nanoseconds, utc.nanoseconds), (nano, nano));
        }
    }
}
