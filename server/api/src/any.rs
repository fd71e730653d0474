//! `google.protobuf.Any` in JSON as Flipt v2 writes it: the type's name alone, without a host before it
//! (v2 spec, section 4.1). The library that transcodes knows only the form with a host.

use flipt_serving::{Code, Error};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json};

/// Name of the message.
pub(crate) const NAME: &str = "google.protobuf.Any";
/// Host that stands before a type's name while JSON is written; long, so that nobody's data has it.
const HOST: &str = "host-to-be-removed.3f1d7c02-8a51-4c7b-9a0e-5b7e2f6c1d44.invalid";
const TYPE: &str = "@type";

/// Puts the host before the type of every payload in a message; whether there was one.
pub(crate) fn mark(message: &mut DynamicMessage) -> bool {
    if message.descriptor().full_name() == NAME {
        if let Some(Value::String(url)) = message.get_field_by_name("type_url").map(|url| url.into_owned()) {
            let name = url.rsplit('/').next().unwrap_or_default();
            message.set_field_by_name("type_url", Value::String(format!("{HOST}/{name}")));
        }
        return true;
    }
    let mut found = false;
    for (_, value) in message.fields_mut() {
        match value {
            Value::Message(nested) => found |= mark(nested),
            Value::List(items) => {
                for item in items {
                    if let Value::Message(nested) = item {
                        found |= mark(nested);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Takes the host out again.
pub(crate) fn unmark(json: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(json) {
        Ok(text) => text.replace(&format!("{HOST}/"), "").into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// Brings a payload into the form that the library reads: a type with a host, fields as `normalise` has them.
///
/// # Errors
/// [`Code::NotFound`] for a type that nobody knows, [`Code::InvalidArgument`] for what is no payload.
pub(crate) fn normalised(
    value: Json,
    pool: &DescriptorPool,
    normalise: impl FnOnce(&mut Map<String, Json>, &MessageDescriptor) -> Result<(), Error>,
) -> Result<Json, Error> {
    let Json::Object(mut object) = value else {
        return Err(Error::new(Code::InvalidArgument, "invalid field payload: must be an object"));
    };
    let Some(Json::String(url)) = object.remove(TYPE) else {
        return Err(Error::new(
            Code::InvalidArgument,
            "invalid field payload: \"@type\" must name the type, such as flipt.core.Flag",
        ));
    };
    let name = url.rsplit('/').next().unwrap_or_default();
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| {
        let name = flipt_model::validation::go_quote(name);
        Error::new(Code::NotFound, format!("resource type {name} not found"))
    })?;
    normalise(&mut object, &descriptor)?;
    object.insert(TYPE.to_owned(), Json::String(format!("{HOST}/{name}")));
    Ok(Json::Object(object))
}
