//! REST paths of the calls, and how a request finds its call (api spec, section 2.2).

use std::{future::Future, pin::Pin, sync::Arc};

use flipt_auth::{Asked, Caller};
use flipt_serving::Error;
use http::Method;

use crate::{Api, transcode::Parameters};

/// A running call.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send + 'a>>;

/// Decodes a request, runs its call, encodes the answer.
pub(crate) type Invoke = for<'a> fn(&'a Api, &'a Caller, &'a [u8], &'a Parameters<'a>) -> Answer<'a>;

/// Decodes a request, for whoever decides about it before its call runs.
pub(crate) type Encode = fn(&[u8], &Parameters<'_>) -> Result<Asked, Error>;

/// One REST binding of a call.
pub(crate) struct Binding {
    pub(crate) method: Method,
    /// Path without its leading slash; `{name}` stands for a field.
    pub(crate) path: &'static str,
    /// Full name of the service that the call belongs to.
    pub(crate) service: &'static str,
    /// Name of the call in snake case.
    pub(crate) call: &'static str,
    /// Whether the message comes from the body; otherwise from the query string.
    pub(crate) reads_body: bool,
    /// Full name of the request's message.
    pub(crate) request: fn() -> String,
    pub(crate) encode: Encode,
    pub(crate) invoke: Invoke,
    /// Full name of the answer's message.
    pub(crate) answer: fn() -> String,
}

/// What a path leads to.
pub(crate) enum Found<'b, 'p> {
    Call(&'b Binding, Vec<(&'static str, &'p str)>),
    /// The path exists, the verb does not.
    WrongMethod,
    Nothing,
}

/// Every binding.
#[derive(Clone)]
pub(crate) struct Bindings(Arc<Vec<Binding>>);

impl Bindings {
    pub(crate) fn new(bindings: Vec<Binding>) -> Self {
        Self(Arc::new(bindings))
    }

    /// All of them, in the order in which they were declared.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.0.iter()
    }

    /// Whether a path can be called with this verb.
    pub(crate) fn offers(&self, method: &Method, segments: &[&str]) -> bool {
        matches!(self.find(method, segments), Found::Call(..))
    }

    /// The call of a path; of several patterns that match, the one declared later wins.
    pub(crate) fn find<'p>(&self, method: &Method, segments: &[&'p str]) -> Found<'_, 'p> {
        let mut path_exists = false;
        for binding in self.0.iter().rev() {
            let Some(fields) = matches(binding.path, segments) else { continue };
            if binding.method == *method {
                return Found::Call(binding, fields);
            }
            path_exists = true;
        }
        if path_exists { Found::WrongMethod } else { Found::Nothing }
    }
}

/// The values of a pattern's fields. An empty element is a value.
pub(crate) fn matches<'p>(
    pattern: &'static str,
    segments: &[&'p str],
) -> Option<Vec<(&'static str, &'p str)>> {
    let mut fields = Vec::new();
    let mut given = segments.iter();
    for element in pattern.split('/') {
        let value = given.next()?;
        match element.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => fields.push((name, *value)),
            None if element == *value => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_element_is_a_value() {
        assert_eq!(
            matches("namespaces/{namespace_key}/flags", &["namespaces", "", "flags"]),
            Some(vec![("namespace_key", "")])
        );
        assert_eq!(matches("flags/{key}", &["flags"]), None);
        assert_eq!(matches("flags/{key}", &["flags", "a", "b"]), None);
    }
}
