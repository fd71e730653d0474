//! Quoting of text in messages, the way Go's `%q` does it, because clients compare these messages.

use std::fmt::Write as _;

/// Puts `text` in double quotes: quotes, backslashes, control characters and everything else that does not
/// print are escaped, printable Unicode stays as it is.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        push_escaped(&mut quoted, character);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, character: char) {
    match character {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\u{b}' => quoted.push_str("\\v"),
        ' '..='~' => quoted.push(character),
        // Writing to a `String` cannot fail.
        '\0'..='\u{7f}' => _ = write!(quoted, "\\x{:02x}", character as u32),
        _ if prints(character) => quoted.push(character),
        '\u{80}'..='\u{ffff}' => _ = write!(quoted, "\\u{:04x}", character as u32),
        _ => _ = write!(quoted, "\\U{:08x}", character as u32),
    }
}

/// Whether a character outside ASCII prints. The standard library keeps that table to itself, but shows it
/// through `escape_debug`; the letter in front keeps combining marks from being escaped for their position.
fn prints(character: char) -> bool {
    let mut pair = String::from("a");
    pair.push(character);
    pair.escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use super::go_quote;

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        assert_eq!(go_quote("a\"b\\c\n\t\r\0\u{1b}\u{7f}"), r#""a\"b\\c\n\t\r\x00\x1b\x7f""#);
        assert_eq!(go_quote("\u{7}\u{8}\u{c}\u{b}"), r#""\a\b\f\v""#);
    }

    #[test]
    fn printable_unicode_stays() {
        assert_eq!(go_quote("ünï 😀 e\u{301} 漢"), "\"ünï 😀 e\u{301} 漢\"");
    }

    #[test]
    fn unicode_that_does_not_print_is_escaped() {
        assert_eq!(
            go_quote("\u{a0}\u{85}\u{200b}\u{2028}\u{feff}\u{e0001}"),
            r#""\u00a0\u0085\u200b\u2028\ufeff\U000e0001""#
        );
    }
}
