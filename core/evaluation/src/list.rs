//! JSON lists as constraint values of `isoneof` and `isnotoneof`.
//!
//! `null` for the whole list is the empty list, `null` for an element is the element's zero value. Anything
//! else that is not a list of the right type gives `None`.

use std::collections::HashSet;

use ahash::RandomState;

/// The texts of a list.
pub(crate) fn texts(json: &str) -> Option<HashSet<Box<str>, RandomState>> {
    let list: Option<Vec<Option<Box<str>>>> = serde_json::from_str(json).ok()?;
    Some(list.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

/// The numbers of a list, in ascending order for [`has_number`].
pub(crate) fn numbers(json: &str) -> Option<Box<[f64]>> {
    let list: Option<Vec<Option<f64>>> = serde_json::from_str(json).ok()?;
    let mut numbers: Vec<f64> = list
        .unwrap_or_default()
        .into_iter()
        .map(|number| positive_zero(number.unwrap_or_default()))
        .collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.dedup();
    Some(numbers.into())
}

/// Whether the number is in this ascending list. Not-a-number never is: JSON cannot write it.
pub(crate) fn has_number(numbers: &[f64], number: f64) -> bool {
    numbers.binary_search_by(|candidate| candidate.total_cmp(&positive_zero(number))).is_ok()
}

/// The two zeroes are equal, but not in the total order that the search uses.
fn positive_zero(number: f64) -> f64 {
    if number == 0.0 { 0.0 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_before_they_are_compared() {
        let list = texts(r#" ["a\u00e9", "b\n", null] "#).unwrap();
        for text in ["aé", "b\n", ""] {
            assert!(list.contains(text), "{text:?}");
        }
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn a_list_of_texts_holds_nothing_else() {
        for json in
            ["", "[", "[\"a\"", "[\"a\",]", "[\"a\"] x", "\"a\"", "{}", "[1]", "[true]", "[[\"a\"]]", "a"]
        {
            assert_eq!(texts(json), None, "{json}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for (json, expected) in [
            ("[3, 1.5, -2e3, 3]", Some(vec![-2000.0, 1.5, 3.0])),
            ("[-0, null]", Some(vec![0.0])),
            (
                "[18446744073709551616, 9007199254740993]",
                Some(vec![9_007_199_254_740_992.0, 18_446_744_073_709_551_616.0]),
            ),
            ("[1e-400]", Some(vec![0.0])),
            ("null", Some(vec![])),
            ("[]", Some(vec![])),
            ("[1e400]", None),
            ("[+1]", None),
            ("[.5]", None),
            ("[5.]", None),
            ("[01]", None),
            ("[NaN]", None),
            ("[\"1\"]", None),
            ("[1_000]", None),
            ("[true]", None),
            ("1", None),
        ] {
            assert_eq!(numbers(json).map(Vec::from), expected, "{json}");
        }
    }

    #[test]
    fn both_zeroes_are_found_as_either() {
        for list in ["[0]", "[-0.0]"] {
            let list = numbers(list).unwrap();
            assert!(has_number(&list, 0.0) && has_number(&list, -0.0));
            assert!(!has_number(&list, f64::NAN) && !has_number(&list, f64::MIN_POSITIVE));
        }
    }
}
