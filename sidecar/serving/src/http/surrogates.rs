//! Halves of surrogate pairs in JSON texts, which Flipt reads as U+FFFD (api spec, section 2.5).

use std::borrow::Cow;

const REPLACEMENT: &[u8] = br"\ufffd";

/// The JSON text with every escape that is half of a surrogate pair replaced by that of U+FFFD, so that
/// stricter readers accept it.
#[must_use]
pub fn mend(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(rest) = json.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, lone) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, false),
            (Some(0xd800..=0xdfff), _) => (6, true),
            (Some(_), _) => (6, false),
            (None, _) if rest.first() == Some(&b'\\') => (rest.len().min(2), false),
            (None, _) => (1, false),
        };
        if lone {
            mended.get_or_insert_with(|| json.get(..at).unwrap_or_default().to_vec()).extend(REPLACEMENT);
        } else if let Some(mended) = &mut mended {
            mended.extend(rest.get(..length).unwrap_or_default());
        }
        at += length;
    }
    mended.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// The UTF-16 unit of the escape that a text starts with.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_of_pairs_are_replaced() {
        for (given, wanted) in [
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#""\ude00\ud83d\ude00\ud83dx""#, r#""\ufffd\ud83d\ude00\ufffdx""#),
            (r#""\\ud83d \u00e4 \"""#, r#""\\ud83d \u00e4 \"""#),
            (r#""\ud8"#, r#""\ud8"#),
        ] {
            assert_eq!(mend(given.as_bytes()), wanted.as_bytes(), "{given}");
        }
        assert!(matches!(mend(b"{}"), Cow::Borrowed(_)));
    }
}
