//! Query strings, and forms, which are written like them (api spec, section 2.6).

use flipt_serving::{Code, Error, http::path::percent_decode};

/// The pairs of a query string, decoded.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, Error> {
    if text.contains(';') {
        return Err(Error::new(Code::InvalidArgument, "invalid semicolon separator in query"));
    }
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                percent_decode(&text.replace('+', " "))
                    .ok_or_else(|| Error::new(Code::InvalidArgument, format!("invalid URL escape {text:?}")))
            };
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded_and_refused_by_name() {
        assert_eq!(
            parse("a=1&b=x%20y+z&&c").unwrap(),
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "x y z".to_owned()),
                ("c".to_owned(), String::new()),
            ]
        );
        assert!(parse("a=%zz").unwrap_err().message.contains("%zz"));
        assert!(parse("a=1;b=2").is_err());
    }
}
