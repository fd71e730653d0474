//! Amounts of resources, as Kubernetes writes them.

/// An amount in thousand-millionths, or `None` if the text is none (or is beyond anything a node has).
pub(crate) fn parse(text: &str) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 15 || fraction.len() > 9 {
        return None;
    }
    let digits = |text: &str| -> Option<i128> { if text.is_empty() { Some(0) } else { text.parse().ok() } };
    let fraction = digits(&format!("{fraction:0<9}"))?;
    let nanos = digits(whole)?.checked_mul(NANO)?.checked_add(fraction)?;
    let power = |base: i128, exponent: u32| base.checked_pow(exponent);
    let (times, divided) = match suffix {
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "" => (1, 1),
        "k" => (power(1000, 1)?, 1),
        "M" => (power(1000, 2)?, 1),
        "G" => (power(1000, 3)?, 1),
        "T" => (power(1000, 4)?, 1),
        "P" => (power(1000, 5)?, 1),
        "E" => (power(1000, 6)?, 1),
        "Ki" => (power(1024, 1)?, 1),
        "Mi" => (power(1024, 2)?, 1),
        "Gi" => (power(1024, 3)?, 1),
        "Ti" => (power(1024, 4)?, 1),
        "Pi" => (power(1024, 5)?, 1),
        "Ei" => (power(1024, 6)?, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match exponent {
                0..=18 => (power(10, exponent.unsigned_abs())?, 1),
                -9..=-1 => (1, power(10, exponent.unsigned_abs())?),
                _ => return None,
            }
        }
    };
    Some(nanos.checked_mul(times)? / divided)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn spellings_of_one_amount_are_equal() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1Gi", "1024Mi"),
            ("1G", "1e9"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e-3", "1m"),
        ] {
            assert_eq!(parse(one), parse(other), "{one} {other}");
            assert!(parse(one).is_some());
        }
        assert!(parse("64Mi") > parse("64M"));
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in
            ["", "Mi", "-1", "1 Gi", "1ki", "1e99", "1e", "1.2.3", "9999999999999999", ".", "ten", "1Mi5"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
