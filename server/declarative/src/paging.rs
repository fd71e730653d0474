//! Pages of a list of documents: the token of the next page is its offset in decimal (api spec, section 4).

use flipt_model::validation::go_quote;
use flipt_store::StoreError;

/// The wanted part of a list, with the token of the next page and the length of the whole list. The
/// `offset` of requests does not count here.
pub(crate) fn cut<'a, T>(items: &'a [T], limit: i32, token: &str) -> Result<Cut<'a, T>, StoreError> {
    let limit = usize::try_from(limit)
        .map_err(|_| StoreError::Invalid("invalid field limit: must not be negative".to_owned()))?;
    let total = i32::try_from(items.len()).unwrap_or(i32::MAX);
    // An empty list has one page, whatever the token says.
    if items.is_empty() || (token.is_empty() && limit == 0) {
        return Ok(Cut { items, first: 0, next_page_token: String::new(), total });
    }
    let first = offset(items.len(), token)?;
    let end = if limit == 0 { items.len() } else { items.len().min(first.saturating_add(limit)) };
    let next_page_token = if end < items.len() { end.to_string() } else { String::new() };
    Ok(Cut { items: items.get(first..end).unwrap_or_default(), first, next_page_token, total })
}

fn offset(length: usize, token: &str) -> Result<usize, StoreError> {
    if token.is_empty() {
        return Ok(0);
    }
    let offset: i64 = token
        .parse()
        .map_err(|_| StoreError::Invalid(format!("pageToken is not valid: {}", go_quote(token))))?;
    usize::try_from(offset)
        .ok()
        .filter(|offset| *offset < length)
        .ok_or_else(|| StoreError::Invalid(format!("invalid offset: {offset}")))
}

/// A part of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct Cut<'a, T> {
    pub(crate) items: &'a [T],
    /// Position of the first item in the whole list.
    pub(crate) first: usize,
    pub(crate) next_page_token: String,
    pub(crate) total: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [char; 3] = ['a', 'b', 'c'];

    #[test]
    fn tokens_lead_through_the_whole_list() {
        let first = cut(&LIST, 2, "").unwrap();
        assert_eq!((first.items, first.next_page_token.as_str(), first.total), (&LIST[..2], "2", 3));
        let second = cut(&LIST, 2, &first.next_page_token).unwrap();
        assert_eq!((second.items, second.first, second.next_page_token.as_str()), (&LIST[2..], 2, ""));
        assert_eq!(cut(&LIST, 0, "1").unwrap().items, &LIST[1..]);
    }

    #[test]
    fn wrong_tokens_are_named_unless_the_list_is_empty() {
        let refused = |limit, token| cut(&LIST, limit, token).unwrap_err().to_string();
        assert_eq!(refused(1, "abc"), r#"pageToken is not valid: "abc""#);
        assert_eq!(refused(1, "3"), "invalid offset: 3");
        assert_eq!(refused(0, "-1"), "invalid offset: -1");
        assert_eq!(refused(-1, ""), "invalid field limit: must not be negative");
        assert!(cut(&LIST[..0], 1, "abc").unwrap().items.is_empty());
    }
}
