//! The payload of a resource: a flag or a segment inside a `google.protobuf.Any` (v2 spec, section 4.2).

use flipt_model::{Flag, Segment, validation::go_quote};
use flipt_proto::{
    convert::{flag, flag_message, segment, segment_message},
    flipt::core as pb,
};
use flipt_serving::{Code, Error};
use prost::{Message as _, Name as _};
use prost_types::Any;

use super::invalid;

/// Kind of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Segment,
}

impl Kind {
    /// The kind in texts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Segment => "segment",
        }
    }
}

/// The kind that a type URL names. What stands before the last slash is optional.
///
/// # Errors
/// [`Code::NotFound`] for any other type.
pub(super) fn kind(type_url: &str) -> Result<Kind, Error> {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    match name {
        _ if name == pb::Flag::full_name() => Ok(Kind::Flag),
        _ if name == pb::Segment::full_name() => Ok(Kind::Segment),
        _ => Err(Error::new(Code::NotFound, format!("resource type {} not found", go_quote(name)))),
    }
}

/// A resource of any kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Payload {
    Flag(Flag),
    Segment(Segment),
}

/// Reads the payload of a write. The request says what the key is; the payload's own is ignored.
///
/// # Errors
/// [`Code::NotFound`] for an unknown type, [`Code::InvalidArgument`] for what is none of its messages.
pub(super) fn read(payload: Option<&Any>, key: &str) -> Result<Payload, Error> {
    let payload = payload.ok_or_else(|| invalid("invalid field payload: must not be empty"))?;
    let broken = |error: prost::DecodeError| invalid(format!("invalid field payload: {error}"));
    match kind(&payload.type_url)? {
        Kind::Flag => {
            let message = pb::Flag::decode(payload.value.as_slice()).map_err(broken)?;
            Ok(Payload::Flag(flag(message, key)))
        }
        Kind::Segment => {
            let message = pb::Segment::decode(payload.value.as_slice()).map_err(broken)?;
            Ok(Payload::Segment(segment(message, key)))
        }
    }
}

impl Payload {
    /// The resource's key.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Flag(flag) => &flag.key,
            Self::Segment(segment) => &segment.key,
        }
    }

    /// The form on the wire, with a type URL that has no prefix.
    pub(super) fn to_any(&self) -> Any {
        match self {
            Self::Flag(flag) => {
                Any { type_url: pb::Flag::full_name(), value: flag_message(flag).encode_to_vec() }
            }
            Self::Segment(segment) => {
                Any { type_url: pb::Segment::full_name(), value: segment_message(segment).encode_to_vec() }
            }
        }
    }
}
