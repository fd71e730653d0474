//! Expected texts, in which `<<ANY>>` stands for any text.

const ANY: &str = "<<ANY>>";

/// Whether a text is what was expected. A no-break space counts as a space.
pub(crate) fn fits(expected: &str, actual: &str) -> bool {
    let (expected, actual) = (expected.replace('\u{a0}', " "), actual.replace('\u{a0}', " "));
    let mut parts: Vec<&str> = expected.split(ANY).collect();
    let Some(last) = parts.pop() else { return false };
    let Some((first, middle)) = parts.split_first() else { return actual == last };
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_stands_for_any_text() {
        assert!(fits("a", "a") && !fits("a", "ab"));
        assert!(fits("a<<ANY>>c<<ANY>>", "abc") && fits("<<ANY>>", ""));
        assert!(!fits("a<<ANY>>b", "a") && !fits("ab<<ANY>>b", "ab"));
        assert!(fits("a b", "a\u{a0}b"));
    }
}
