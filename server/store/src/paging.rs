//! Pages of a list: limit, offset and the token of the next page (api spec, section 4).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::StoreError;

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(default)]
    key: String,
    #[serde(default)]
    offset: u64,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    /// The whole list.
    pub(crate) const ALL: Self = Self { limit: 0, offset: 0 };

    /// Reads the three request fields; the token wins over the offset, a limit of 0 means everything.
    pub(crate) fn from_request(limit: i32, offset: i32, token: &str) -> Result<Self, StoreError> {
        let limit = usize::try_from(limit)
            .map_err(|_| StoreError::Invalid("invalid field limit: must not be negative".to_owned()))?;
        let offset = if token.is_empty() {
            usize::try_from(offset)
                .map_err(|_| StoreError::Invalid("invalid field offset: must not be negative".to_owned()))?
        } else {
            decode(token).ok_or_else(|| {
                StoreError::Invalid(format!(
                    "pageToken is not valid: {}",
                    flipt_model::validation::go_quote(token)
                ))
            })?
        };
        Ok(Self { limit, offset })
    }

    /// The `LIMIT … OFFSET …` to read: one row more than the limit tells whether there is a next page.
    pub(crate) fn sql(self) -> String {
        match (self.limit, self.offset) {
            (0, 0) => String::new(),
            // Every database here takes a limit of this size; an offset alone is not portable.
            (0, offset) => format!(" LIMIT {} OFFSET {offset}", i64::MAX),
            (limit, offset) => format!(" LIMIT {} OFFSET {offset}", limit + 1),
        }
    }

    /// Cuts the rows read to the page and gives the token of the next one, empty on the last page.
    pub(crate) fn cut<T>(self, rows: &mut Vec<T>, key: impl Fn(&T) -> &str) -> String {
        if self.limit == 0 || rows.len() <= self.limit {
            return String::new();
        }
        let next = rows.get(self.limit).map(|row| key(row).to_owned()).unwrap_or_default();
        rows.truncate(self.limit);
        let token = Token { key: next, offset: (self.offset + self.limit) as u64 };
        serde_json::to_vec(&token).map(|json| STANDARD.encode(json)).unwrap_or_default()
    }
}

/// The number of items as lists report it.
pub(crate) fn total(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn decode(token: &str) -> Option<usize> {
    let json = STANDARD.decode(token).ok()?;
    let token: Token = serde_json::from_slice(&json).ok()?;
    usize::try_from(i64::try_from(token.offset).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_the_rest_of_the_list() {
        let page = Page::from_request(2, 0, "").unwrap();
        let mut rows = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let token = page.cut(&mut rows, String::as_str);
        assert_eq!(rows, ["a", "b"]);
        assert_eq!(Page::from_request(2, 0, &token).unwrap().sql(), " LIMIT 3 OFFSET 2");
    }

    #[test]
    fn a_bad_token_is_named() {
        let error = Page::from_request(2, 0, "x!").unwrap_err();
        assert_eq!(error.to_string(), r#"pageToken is not valid: "x!""#);
    }
}
