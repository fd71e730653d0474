//! JSON text as Go's `encoding/json` spells it: attachments are stored and compared in that spelling.

use std::fmt::Write as _;

use serde_json::Value;

use crate::number::Decimal;

/// Deepest nesting [`compact_json`] accepts; the reference's limit.
const MAX_DEPTH: usize = 10_000;

/// Serialises a value without white space: object keys in bytewise order, `<` `>` `&` U+2028 U+2029 escaped,
/// floats with the fewest digits that identify them.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    push_value(&mut out, value);
    out
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            // Writing to a `String` cannot fail.
            (Some(number), _, _) => _ = write!(out, "{number}"),
            (_, Some(number), _) => _ = write!(out, "{number}"),
            (_, _, Some(number)) => push_f64(out, number),
            _ => out.push_str("null"),
        },
        Value::String(text) => push_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            // Sorted here: whether the map itself is depends on features other crates switch on.
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_string(out, key);
                out.push(':');
                push_value(out, member);
            }
            out.push('}');
        }
    }
}

/// Appends a JSON string literal.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                _ = write!(out, "\\u{:04x}", character as u32);
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Appends a 64-bit float; what JSON has no number for becomes `null`.
pub(crate) fn push_f64(out: &mut String, number: f64) {
    let size = number.abs();
    push_decimal(out, Decimal::of_f64(number), size != 0.0 && !(1e-6..1e21).contains(&size));
}

/// Appends a 32-bit float with the digits that identify it at that width.
pub(crate) fn push_f32(out: &mut String, number: f32) {
    let size = number.abs();
    push_decimal(out, Decimal::of_f32(number), size != 0.0 && !(1e-6..1e21).contains(&size));
}

fn push_decimal(out: &mut String, decimal: Option<Decimal>, exponent_form: bool) {
    match decimal {
        None => out.push_str("null"),
        Some(decimal) if exponent_form => decimal.push_with_exponent(out, 1),
        Some(decimal) => decimal.push_plain(out),
    }
}

/// Removes the white space that does not matter, keeping key order and the spelling of numbers and strings.
/// `None` if `text` is not exactly one JSON value.
#[must_use]
pub fn compact_json(text: &str) -> Option<String> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, out: String::with_capacity(text.len()), text };
    scan.document()?;
    Some(scan.out)
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: String,
}

impl Scan<'_> {
    /// One value and nothing after it. Iterative, so that nesting cannot exhaust the stack.
    fn document(&mut self) -> Option<()> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.skip_space();
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    if open.len() >= MAX_DEPTH {
                        return None;
                    }
                    self.take(1);
                    self.skip_space();
                    if self.peek()? == bracket + 2 {
                        self.take(1);
                    } else {
                        open.push(bracket);
                        if bracket == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended: close what ends with it, or go on to the next one.
            loop {
                self.skip_space();
                let Some(bracket) = open.last().copied() else {
                    return (self.at == self.bytes.len()).then_some(());
                };
                match self.peek()? {
                    b',' => {
                        self.take(1);
                        if bracket == b'{' {
                            self.skip_space();
                            self.key()?;
                        }
                        break;
                    }
                    close if close == bracket + 2 => {
                        self.take(1);
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.skip_space();
        (self.peek()? == b':').then(|| self.take(1))
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                let word = ["true", "false", "null"]
                    .into_iter()
                    .find(|word| self.bytes[self.at..].starts_with(word.as_bytes()))?;
                self.take(word.len());
                Some(())
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        let length = string_length(&self.bytes[self.at..])?;
        self.take(length);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let length = number_length(&self.bytes[self.at..])?;
        self.take(length);
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Copies the next bytes; always whole characters, because tokens start and end with ASCII.
    fn take(&mut self, length: usize) {
        if let Some(token) = self.text.get(self.at..self.at + length) {
            self.out.push_str(token);
        }
        self.at += length;
    }
}

/// Bytes of the string literal at the start of `bytes`, both quotes included.
pub(crate) fn string_length(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            0..=0x1f => return None,
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            _ => at += 1,
        }
    }
}

/// Bytes of the number at the start of `bytes`.
pub(crate) fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    match bytes.get(at)? {
        b'0' => at += 1,
        _ if whole > 0 => at += whole,
        _ => return None,
    }
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_bytewise_and_html_is_escaped() {
        let value =
            json!({"b": 1, "a": "<&>\u{2028}\u{2029}", "B": [null, true, {}], "ä": "\u{1}\u{8}\u{7f}\"\\"});
        assert_eq!(
            canonical_json(&value),
            "{\"B\":[null,true,{}],\"a\":\"\\u003c\\u0026\\u003e\\u2028\\u2029\",\"b\":1,\
             \"ä\":\"\\u0001\\b\u{7f}\\\"\\\\\"}"
        );
    }

    #[test]
    fn floats_have_the_shortest_form_and_exponents_only_at_the_ends() {
        for (number, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (1000.0, "1000"),
            (0.1, "0.1"),
            (123456789012345678901.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e20, "100000000000000000000"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (1.25e-10, "1.25e-10"),
        ] {
            assert_eq!(canonical_json(&json!(number)), text);
        }
        assert_eq!(canonical_json(&json!(u64::MAX)), "18446744073709551615");
        assert_eq!(canonical_json(&json!(i64::MIN)), "-9223372036854775808");
    }

    #[test]
    fn percentages_are_written_at_their_own_width() {
        for (number, text) in
            [(33.33_f32, "33.33"), (66.67, "66.67"), (0.1, "0.1"), (100.0, "100"), (1e-7, "1e-7")]
        {
            let mut out = String::new();
            push_f32(&mut out, number);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn compacting_keeps_order_and_spelling() {
        assert_eq!(
            compact_json(" { \"b\" : [ 1.0 , -2E+3 , \"a b\\u00e9\" ] ,\n\"a\":{ } , \"c\" : [ ] } ")
                .as_deref(),
            Some("{\"b\":[1.0,-2E+3,\"a b\\u00e9\"],\"a\":{},\"c\":[]}")
        );
        for scalar in ["1", "\"x\"", "null", "true", "false", "-0.5e-3", "\"\\ud800\""] {
            assert_eq!(compact_json(scalar).as_deref(), Some(scalar));
        }
    }

    #[test]
    fn what_is_not_one_json_value_has_no_compact_form() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "-",
            "nul",
            "truefalse",
            "1 2",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "[1}",
            "{]",
            "[",
            "NaN",
            "'a'",
        ] {
            assert_eq!(compact_json(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_does_not_exhaust_the_stack() {
        assert!(compact_json(&("[".repeat(10_000) + &"]".repeat(10_000))).is_some());
        assert!(compact_json(&"[".repeat(1_000_000)).is_none());
    }
}
