//! Snapshots of namespaces for client-side engines: each is read, encoded and compressed once per version,
//! however many clients ask.

mod accept;
mod cache;
mod shape;

pub(crate) use accept::AcceptedVersion;
pub(crate) use cache::{Snapshots, Versioned};

use sha1::{Digest as _, Sha1};

/// The tag of a version: what clients send back to hear that nothing changed.
pub(crate) fn etag(version: &str) -> Option<String> {
    use std::fmt::Write as _;
    if version.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(version.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use flipt_serving::http::tag::names;

    use super::*;

    #[test]
    fn the_tag_is_the_documented_hash_in_any_spelling() {
        let tag = etag("etag").unwrap();
        assert_eq!(tag, "92e200311a56800b3e475bf2d2442724535e87bf");
        for condition in [tag.clone(), format!("\"{tag}\""), format!("W/\"{tag}\", \"x\"")] {
            assert!(names(&condition, &tag), "{condition}");
        }
        assert!(!names("*", &tag));
    }
}
