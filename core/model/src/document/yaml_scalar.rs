//! What a YAML scalar without quotes means.
//!
//! Documents are read by YAML 1.2 rules with leftovers of 1.1, and written so that a strict 1.1 reader does
//! not take a text for something else. The two sets of rules differ, so both stand here.

use crate::document::node::Value;
use crate::time::days_from_civil;

/// What the reader takes an unquoted scalar for.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        "<<" => return Value::Merge,
        _ => {}
    }
    number_or_time(text).unwrap_or(Value::Text)
}

/// The value an old-fashioned boolean word has where a boolean is due.
pub(crate) fn boolean_word(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "on" => Some(true),
        "n" | "N" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Whether the writer has to quote a text because unquoted it would be read as something else.
pub(crate) fn needs_quotes(text: &str) -> bool {
    matches!(
        text,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
            | "y"
            | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
            | ".nan"
            | ".NaN"
            | ".NAN"
            | ".inf"
            | ".Inf"
            | ".INF"
            | "+.inf"
            | "+.Inf"
            | "+.INF"
            | "-.inf"
            | "-.Inf"
            | "-.INF"
    ) || number_or_time(text).is_some()
        || is_sexagesimal(text)
}

fn number_or_time(text: &str) -> Option<Value> {
    match text.bytes().next()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            if let Some(time) = time(text) {
                return Some(Value::Time(time));
            }
            let plain = text.replace('_', "");
            integer(&plain).map(Value::Int).or_else(|| if is_float(&plain) { float(&plain) } else { None })
        }
        _ => None,
    }
}

fn float(text: &str) -> Option<Value> {
    let number: f64 = text.parse().ok()?;
    // Too large for a float: the text then is just a text. Words like `inf` never get here.
    number.is_finite().then_some(Value::Float(number))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    fn digits(text: &str) -> (usize, &str) {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        (count, &text[count..])
    }
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = digits(text);
    let rest = match rest.strip_prefix('.') {
        Some(rest) => {
            let (fraction, rest) = digits(rest);
            if whole + fraction == 0 {
                return false;
            }
            rest
        }
        None if whole == 0 => return false,
        None => rest,
    };
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else { return rest.is_empty() };
    let (count, rest) = digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
    count > 0 && rest.is_empty()
}

/// An integer with an optional prefix for its base, as far as 64 bits reach, signed or unsigned.
fn integer(text: &str) -> Option<i128> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(digits, base).ok()?);
    let number = if negative { -size } else { size };
    let largest = if signed { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=largest).contains(&number).then_some(number)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let text = match text.split_once('.') {
        Some((before, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') => {
            before
        }
        Some(_) => return false,
        None => text,
    };
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let mut count = 0;
    for part in parts {
        let fits = match part.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [tens, digit] => (b'0'..=b'5').contains(tens) && digit.is_ascii_digit(),
            _ => false,
        };
        if !fits {
            return false;
        }
        count += 1;
    }
    count > 0
        && first.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// A date or a time in one of four forms: date with one- or two-digit month and day; the same, `T` or `t`, a
/// time and a zone; the same, spaces, and a time without zone. The answer is RFC 3339.
fn time(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let year: i64 = text[..4].parse().ok()?;
    let mut rest = &text[5..];
    let month = short_number(&mut rest)?;
    rest = rest.strip_prefix('-')?;
    let day = short_number(&mut rest)?;
    days_from_civil(year, month, day)?;
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let zoned = rest.starts_with(['T', 't']);
    rest = if zoned { &rest[1..] } else { rest.strip_prefix(' ')?.trim_start_matches(' ') };
    let hour = short_number(&mut rest).filter(|hour| *hour < 24)?;
    rest = rest.strip_prefix(':')?;
    let minute = short_number(&mut rest).filter(|minute| *minute < 60)?;
    rest = rest.strip_prefix(':')?;
    let second = short_number(&mut rest).filter(|second| *second < 60)?;
    let mut fraction = String::new();
    if let Some(digits) = rest.strip_prefix(['.', ',']) {
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return None;
        }
        digits[..count.min(9)].trim_end_matches('0').clone_into(&mut fraction);
        rest = &digits[count..];
    }
    let zone = match (zoned, rest) {
        (false, "") | (true, "Z") => "Z".to_owned(),
        (true, _) => {
            let (sign, hours, minutes) = match rest.as_bytes() {
                [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                    (char::from(*sign), rest.get(1..3)?, rest.get(4..6)?)
                }
                _ => return None,
            };
            let two_digits = |text: &str| {
                text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?
            };
            match (two_digits(hours)?, two_digits(minutes)?) {
                (0, 0) => "Z".to_owned(),
                (0..=24, 0..=60) => format!("{sign}{hours}:{minutes}"),
                _ => return None,
            }
        }
        _ => return None,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"))
}

/// One or two digits.
fn short_number(rest: &mut &str) -> Option<i64> {
    let count = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let number = rest[..count].parse().ok()?;
    *rest = &rest[count..];
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_spelling() {
        for (text, number) in [
            ("0", 0),
            ("-1", -1),
            ("+1", 1),
            ("0x1F", 31),
            ("0b11", 3),
            ("0o17", 15),
            ("017", 15),
            ("1_000", 1000),
            ("-0x10", -16),
            ("18446744073709551615", i128::from(u64::MAX)),
            ("-9223372036854775808", i128::from(i64::MIN)),
        ] {
            assert_eq!(resolve(text), Value::Int(number), "{text}");
        }
        for (text, number) in [
            ("1.0", 1.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("08", 8.0),
            ("-.5", -0.5),
            ("1_0.5", 10.5),
            ("123456789012345678901", 123456789012345678901.0),
            ("-9223372036854775809", -9223372036854775809.0),
        ] {
            assert_eq!(resolve(text), Value::Float(number), "{text}");
        }
        assert_eq!(resolve("-.inf"), Value::Float(f64::NEG_INFINITY));
        assert!(matches!(resolve(".NaN"), Value::Float(number) if number.is_nan()));
    }

    #[test]
    fn texts_that_only_resemble_something_else() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "1:30",
            "NaN",
            "=",
            "1.2.3",
            "12abc",
            "-",
            "+",
            ".",
            "..",
            "0x",
            "0xZZ",
            "1e",
            "e1",
            "1e999",
            "tRUE",
            "nULL",
            "2006-01-02T15:04:05",
            "2006-13-01",
            "2006-02-30",
            "2006-01-02 25:00:00",
            "02006-01-02",
            "2006-01-02T15:04:05.Z",
            "2006-01-02T15:04:05+1:00",
            "0b2",
            "0o8",
        ] {
            assert_eq!(resolve(text), Value::Text, "{text}");
        }
    }

    #[test]
    fn dates_and_times_become_rfc_3339() {
        for (text, time) in [
            ("2006-01-02", "2006-01-02T00:00:00Z"),
            ("2006-1-2", "2006-01-02T00:00:00Z"),
            ("2006-01-02 15:04:05", "2006-01-02T15:04:05Z"),
            ("2006-01-02   15:4:5.250", "2006-01-02T15:04:05.25Z"),
            ("2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z"),
            ("2006-01-02t15:04:05.123456789123+02:00", "2006-01-02T15:04:05.123456789+02:00"),
            ("2006-01-02T15:04:05-00:00", "2006-01-02T15:04:05Z"),
        ] {
            assert_eq!(resolve(text), Value::Time(time.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_writer_quotes_what_older_readers_misread() {
        for text in [
            "~",
            "null",
            "Null",
            "NULL",
            "y",
            "N",
            "yes",
            "No",
            "ON",
            "off",
            "true",
            "False",
            "1",
            "-1",
            "+1",
            "08",
            "017",
            "0x1F",
            "0o17",
            "0b1",
            "1_000",
            "1.0",
            ".5",
            "1e3",
            ".inf",
            ".nan",
            "1:30",
            "190:20:30.15",
            "2006-01-02",
            "2006-1-2",
            "2006-01-02T15:04:05Z",
            "",
        ] {
            assert!(needs_quotes(text), "{text}");
        }
        for text in
            ["=", "<<", "tRUE", "1.2.3", "123abc", "1:60", "1:", ":30", "a:30", "1:30x", "yEs", "nUll", "~x"]
        {
            assert!(!needs_quotes(text), "{text}");
        }
    }
}
