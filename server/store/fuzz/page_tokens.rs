//! Page tokens: nothing makes their reader panic, and the next page's token is read back.

#![no_main]
#![allow(dead_code, reason = "the file is the store's, which uses all of it")]

#[path = "../src/paging.rs"]
mod paging;

use libfuzzer_sys::fuzz_target;
use paging::Page;

/// As much of the store's error as its pages need.
#[derive(Debug)]
pub enum StoreError {
    Invalid(String),
}

fuzz_target!(|input: (i32, i32, &str)| {
    let (limit, offset, token) = input;
    let page = match Page::from_request(limit, offset, token) {
        Ok(page) => page,
        Err(StoreError::Invalid(text)) => {
            assert!(limit < 0 || offset < 0 || text.starts_with("pageToken is not valid"), "{text}");
            return;
        }
    };
    assert!(limit >= 0);
    _ = page.sql();
    let mut rows = vec!["row"; usize::try_from(limit.min(64)).unwrap_or_default() + 1];
    let next = page.cut(&mut rows, |row| row);
    if !next.is_empty() {
        Page::from_request(limit, 0, &next).expect("the token of the next page is read");
    }
});
