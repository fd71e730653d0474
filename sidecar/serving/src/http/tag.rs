//! Entity tags: what lets a caller ask "only if it has changed" (api spec, sections 2.9 and 7; RFC 9110, 8.8.3).

use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};
use sha2::{Digest as _, Sha256};

/// Bytes of a digest that a tag shows: enough that two states never share one.
const LENGTH: usize = 16;

/// A weak tag that differs as soon as one of these parts does.
#[must_use]
pub fn weak<'a>(parts: impl IntoIterator<Item = &'a str>) -> Option<HeaderValue> {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts read the same.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut text = String::from("W/\"");
    for byte in hash.finalize().iter().take(LENGTH) {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    HeaderValue::from_str(&text).ok()
}

/// Whether `If-None-Match` names this tag.
#[must_use]
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let mut given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.any(|condition| names(condition, tag))
}

/// Whether a condition names this tag. Weak marks and quotes make no difference, lists are understood, and `*`
/// names none.
#[must_use]
pub fn names(condition: &str, tag: &str) -> bool {
    let tag = opaque(tag);
    condition.split(',').any(|given| opaque(given) == tag)
}

/// A tag without weak mark and quotes.
fn opaque(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_its_parts_apart() {
        let tag = weak(["a", "bc"]).unwrap();
        assert_eq!(weak(["a", "bc"]).unwrap(), tag);
        assert_ne!(weak(["ab", "c"]).unwrap(), tag);
        assert!(tag.to_str().unwrap().starts_with("W/\"") && tag.len() == 2 * LENGTH + 4);
    }

    #[test]
    fn a_tag_is_known_with_and_without_mark_and_quotes_and_in_lists() {
        let known = |given: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(given));
            is_known(&headers, "W/\"abc\"")
        };
        for given in ["W/\"abc\"", "\"abc\"", "abc", "\"x\", W/\"abc\"", " \"abc\" "] {
            assert!(known(given), "{given}");
        }
        for given in ["*", "\"abcd\"", "", "W/abcd"] {
            assert!(!known(given), "{given}");
        }
        assert!(!is_known(&HeaderMap::new(), "W/\"abc\""));
    }
}
