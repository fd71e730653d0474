//! Patterns that keys and names are compared with.

use serde::{Deserialize, Serialize};

/// A text in which `*` stands for any run of characters, also none. Everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern with this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern that everything matches.
    #[must_use]
    pub fn any() -> Self {
        Self::new("*")
    }

    /// The text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every text matches.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // Between two stars the earliest place is as good as any later one.
        for part in parts {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl<T: Into<String>> From<T> for Pattern {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tries every way to spread the text over the pattern.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            Some((letter, rest)) => text.first() == Some(letter) && naive(rest, &text[1..]),
        }
    }

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("*", "shop", true),
            ("shop", "shop", true),
            ("shop", "shop2", false),
            ("shop", "myshop", false),
            ("shop-*", "shop-eu", true),
            ("shop-*", "shop", false),
            ("*-eu", "shop-eu", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("", "", true),
            ("", "shop", false),
            ("Shop", "shop", false),
            ("sh?p", "shop", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), matches, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_trying_everything(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let (letters, characters): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(pattern).matches(&text), naive(&letters, &characters));
        }

        #[test]
        fn never_panics(pattern in any::<String>(), text in any::<String>()) {
            let _ = Pattern::new(pattern).matches(&text);
        }
    }
}
