//! Request paths as Flipt splits them (api spec, section 2.2).

/// The path's elements: one trailing slash is dropped, escapes are decoded once *before* splitting, empty
/// elements stay. `None` for a path that is not absolute or holds a broken escape.
#[must_use]
pub fn split(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let decoded = percent_decode(path)?;
    Some(decoded.split('/').map(str::to_owned).collect())
}

/// Decodes `%XX` escapes; `None` if one is broken or the result is not UTF-8.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_elements_stay_and_an_escaped_slash_splits() {
        assert_eq!(
            split("/api/v1/namespaces//flags"),
            Some(vec!["api", "v1", "namespaces", "", "flags"].into_iter().map(str::to_owned).collect())
        );
        assert_eq!(split("/a%2Fb/"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(split("/a%2"), None);
        assert_eq!(split("/%ff"), None);
        assert_eq!(split("/%C3%A4").unwrap(), ["ä"]);
    }
}
