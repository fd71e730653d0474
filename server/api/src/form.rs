//! Form posts that stand for another verb (api spec, section 2.2).

use http::{HeaderMap, Method, header};

/// What a form post is taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Indicates a request that is no form post.
    No,
    /// Describes the verb that the override header names.
    Override(Method),
    /// Indicates a form post without that header: a `GET` where there is no `POST`.
    Plain,
}

impl Form {
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let is_form = method == Method::POST
            && headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|value| value == "application/x-www-form-urlencoded");
        if !is_form {
            return Self::No;
        }
        let verb = headers.get("x-http-method-override").and_then(|value| value.to_str().ok());
        match verb.filter(|verb| !verb.is_empty()).map(str::to_uppercase) {
            Some(verb) => Method::from_bytes(verb.as_bytes()).map_or(Self::Plain, Self::Override),
            None => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(content_type: &str, verb: Option<&str>) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        if let Some(verb) = verb {
            headers.insert("x-http-method-override", verb.parse().unwrap());
        }
        Form::of(&Method::POST, &headers)
    }

    #[test]
    fn the_override_counts_only_in_a_form() {
        assert_eq!(form("application/x-www-form-urlencoded", Some("get")), Form::Override(Method::GET));
        assert_eq!(form("application/x-www-form-urlencoded", None), Form::Plain);
        assert_eq!(form("application/json", Some("GET")), Form::No);
    }
}
