//! Durations as Go writes them (config spec, section 1.3).

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as Go writes it: `1h30m`, `500ms`, `1.5s`; a bare integer is nanoseconds. `None` for anything
/// else, also negative (config spec, section 1.3).
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanos));
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        // The longest unit that fits: `ms` is not `m` followed by `s`.
        let (unit, nanos) =
            UNITS.iter().filter(|(unit, _)| tail.starts_with(unit)).max_by_key(|(unit, _)| unit.len())?;
        #[allow(clippy::cast_precision_loss)]
        let part = Duration::try_from_secs_f64(number * (*nanos as f64) / 1e9).ok()?;
        total = total.checked_add(part)?;
        rest = tail.get(unit.len()..)?;
    }
    Some(total)
}

/// The shortest text that [`parse`] reads as this duration.
pub(crate) fn format(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let mut nanos = duration.as_nanos();
    let mut text = String::new();
    for (unit, size) in [
        ("h", 3_600_000_000_000_u128),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if nanos >= size {
            text.push_str(&format!("{}{unit}", nanos / size));
            nanos %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_and_written() {
        for (text, millis) in [("1h30m", 5_400_000), ("500ms", 500), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(parse(&format(Duration::from_millis(millis))), Some(Duration::from_millis(millis)));
        }
        assert_eq!(parse("1000"), Some(Duration::from_nanos(1_000)));
        for text in ["", "soon", "5x", "-1s", "s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
