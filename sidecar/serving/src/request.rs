//! JSON bodies of evaluation requests, as leniently as Flipt reads them (api spec, section 2.5).

use std::{collections::HashMap, fmt, marker::PhantomData};

use flipt_proto::{
    evaluation::{BatchEvaluationRequest, EvaluationRequest},
    flipt as legacy,
    ofrep::{EvaluateBulkRequest, EvaluateFlagRequest},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use crate::{Code, Error, http::mend_surrogates};

/// Reads a message from a body. An empty body, white space and `null` are an empty message; unknown
/// fields and whatever follows the first JSON value are ignored.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub(crate) fn decode<T: Message>(body: &[u8]) -> Result<T, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    let body = mend_surrogates(body);
    let mut deserializer = serde_json::Deserializer::from_slice(&body);
    match Wrapped::<T>::deserialize(&mut deserializer) {
        Ok(message) => Ok(message.0),
        Err(error) => Err(Error::new(
            Code::InvalidArgument,
            match error.classify() {
                Category::Data => "invalid values for key(s) in json body".to_owned(),
                Category::Eof => "unexpected EOF".to_owned(),
                Category::Syntax | Category::Io => format!("invalid JSON body: {error}"),
            },
        )),
    }
}

/// A message that is read field by field.
pub(crate) trait Message: Default {
    /// Reads the value of a field; tells whether the field is known.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

struct Wrapped<T>(T);

impl<'de, T: Message> Deserialize<'de> for Wrapped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Message> Visitor<'de> for Fields<T> {
            type Value = Wrapped<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Wrapped(T::default()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut message = T::default();
                while let Some(name) = map.next_key::<Name>()? {
                    if !message.field(&name.0, &mut map)? {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Wrapped(message))
            }
        }
        deserializer.deserialize_any(Fields(PhantomData))
    }
}

/// A field name, without allocating where the JSON has no escapes.
struct Name(std::borrow::Cow<'static, str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;
        impl Visitor<'_> for Known {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(NAMES.iter().find(|known| **known == name).map_or("", |known| *known).into()))
            }
        }
        deserializer.deserialize_str(Known)
    }
}

/// Every field name that some request has; others read as the empty name, which none has.
const NAMES: [&str; 16] = [
    "requestId",
    "request_id",
    "namespaceKey",
    "namespace_key",
    "flagKey",
    "flag_key",
    "entityId",
    "entity_id",
    "context",
    "reference",
    "requests",
    "excludeNotFound",
    "exclude_not_found",
    "key",
    "environmentKey",
    "environment_key",
];

/// A value that may be `null`, which means absent.
fn value<'de, T: Deserialize<'de> + Default, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

/// Sets a text field. Both spellings are accepted; the camelCase one wins.
fn text<'de, A: MapAccess<'de>>(target: &mut String, name: &str, map: &mut A) -> Result<bool, A::Error> {
    let read: String = value(map)?;
    if !name.contains('_') || target.is_empty() {
        *target = read;
    }
    Ok(true)
}

/// A map of texts in which `null` is the empty text.
#[derive(Default)]
struct Texts(HashMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = HashMap::with_capacity(map.size_hint().unwrap_or(4));
                while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                    texts.insert(key, value.unwrap_or_default());
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A list of messages; an object with the positions as keys is understood too, because the PHP SDK sends
/// that (api spec, section 6.2).
struct Messages<T>(Vec<T>);

impl<T> Default for Messages<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Message> Deserialize<'de> for Messages<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Message> Visitor<'de> for Items<T> {
            type Value = Messages<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of objects")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Messages<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<Wrapped<T>>()? {
                    items.push(item.0);
                }
                Ok(Messages(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Messages<T>, A::Error> {
                let mut items = Vec::new();
                while let Some((key, item)) = map.next_entry::<String, Wrapped<T>>()? {
                    if key.parse() != Ok(items.len()) {
                        return Err(de::Error::custom("keys are not consecutive positions"));
                    }
                    items.push(item.0);
                }
                Ok(Messages(items))
            }
        }
        deserializer.deserialize_any(Items(PhantomData))
    }
}

impl Message for EvaluationRequest {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "requestId" | "request_id" => text(&mut self.request_id, name, map),
            "namespaceKey" | "namespace_key" => text(&mut self.namespace_key, name, map),
            "flagKey" | "flag_key" => text(&mut self.flag_key, name, map),
            "entityId" | "entity_id" => text(&mut self.entity_id, name, map),
            "environmentKey" | "environment_key" => {
                // Flipt v1 does not know the field and takes anything there.
                if let serde_json::Value::String(key) = map.next_value()? {
                    self.environment_key = key;
                }
                Ok(true)
            }
            "reference" => text(&mut self.reference, name, map),
            "context" => {
                self.context = value::<Texts, A>(map)?.0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Message for BatchEvaluationRequest {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "requestId" | "request_id" => text(&mut self.request_id, name, map),
            "reference" => text(&mut self.reference, name, map),
            "requests" => {
                self.requests = value::<Messages<_>, A>(map)?.0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Message for legacy::EvaluationRequest {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "requestId" | "request_id" => text(&mut self.request_id, name, map),
            "namespaceKey" | "namespace_key" => text(&mut self.namespace_key, name, map),
            "flagKey" | "flag_key" => text(&mut self.flag_key, name, map),
            "entityId" | "entity_id" => text(&mut self.entity_id, name, map),
            "context" => {
                self.context = value::<Texts, A>(map)?.0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Message for legacy::BatchEvaluationRequest {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "requestId" | "request_id" => text(&mut self.request_id, name, map),
            "namespaceKey" | "namespace_key" => text(&mut self.namespace_key, name, map),
            "excludeNotFound" | "exclude_not_found" => {
                self.exclude_not_found = value(map)?;
                Ok(true)
            }
            "requests" => {
                self.requests = value::<Messages<_>, A>(map)?.0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Message for EvaluateFlagRequest {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "key" => text(&mut self.key, name, map),
            "context" => {
                self.context = value::<Texts, A>(map)?.0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Message for EvaluateBulkRequest {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "context" => {
                self.context = value::<Texts, A>(map)?.0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> EvaluationRequest {
        decode(body.as_bytes()).unwrap()
    }

    fn refusal(body: &str) -> String {
        decode::<EvaluationRequest>(body.as_bytes()).unwrap_err().message
    }

    #[test]
    fn an_empty_body_is_an_empty_message() {
        for body in ["", " \n", "null", "{}"] {
            assert_eq!(read(body), EvaluationRequest::default(), "{body:?}");
        }
    }

    #[test]
    fn both_spellings_are_read_and_camel_case_wins_in_either_order() {
        assert_eq!(read(r#"{"flag_key":"a"}"#).flag_key, "a");
        assert_eq!(read(r#"{"flag_key":"a","flagKey":"b"}"#).flag_key, "b");
        assert_eq!(read(r#"{"flagKey":"b","flag_key":"a"}"#).flag_key, "b");
    }

    #[test]
    fn nulls_are_absent_and_empty_in_the_context() {
        let request = read(r#"{"flagKey":null,"reference":null,"context":{"a":null,"b":"c"}}"#);
        assert_eq!(request.flag_key, "");
        assert_eq!(request.context["a"], "");
        assert_eq!(request.context["b"], "c");
        assert!(read(r#"{"context":null}"#).context.is_empty());
    }

    #[test]
    fn unknown_fields_and_trailing_bytes_are_ignored() {
        let request = read(r#"{"environmentKey":{"x":[1]},"Flagkey":5,"flagKey":"a"} trailing"#);
        assert_eq!(request.flag_key, "a");
    }

    #[test]
    fn the_last_of_repeated_fields_wins() {
        assert_eq!(read(r#"{"flagKey":"a","flagKey":"b"}"#).flag_key, "b");
    }

    #[test]
    fn wrong_types_are_refused_with_flipts_text() {
        for body in [r#"{"flagKey":5}"#, r#"{"context":{"a":1}}"#, r#"{"context":[]}"#, "[]", "5"] {
            assert_eq!(refusal(body), "invalid values for key(s) in json body", "{body}");
        }
    }

    #[test]
    fn broken_json_is_refused_with_the_place() {
        assert_eq!(refusal(r#"{"flagKey":"a""#), "unexpected EOF");
        assert!(
            refusal(r#"{"flagKey" "a"}"#).contains("line 1 column 12"),
            "{}",
            refusal(r#"{"flagKey" "a"}"#)
        );
    }

    #[test]
    fn a_batch_may_be_an_object_of_positions() {
        let batch: BatchEvaluationRequest =
            decode(br#"{"requests":{"0":{"flagKey":"a"},"1":{"flagKey":"b"}}}"#).unwrap();
        assert_eq!(batch.requests.len(), 2);
        assert!(decode::<BatchEvaluationRequest>(br#"{"requests":{"1":{}}}"#).is_err());
    }
}
