//! Identifiers of what has none in a document: made of the place, so that every replica, and every load of
//! the same documents, gives the same (storage spec, section 10.3).

use sha1::{Digest as _, Sha1};
use uuid::{Builder, Uuid};

/// Names the space that the identifiers are derived in; any fixed value would do.
const SPACE: &[u8] = b"flipt-declarative/1";

/// The identifier (a UUID of version 5) of the thing of this kind at this place.
pub(crate) fn identifier(kind: &str, keys: &[&str], positions: &[usize]) -> String {
    let mut hash = Sha1::new_with_prefix(SPACE);
    for part in std::iter::once(kind).chain(keys.iter().copied()) {
        // With the length in front, no two places make the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    for position in positions {
        hash.update((*position as u64).to_be_bytes());
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
    let id: Uuid = Builder::from_sha1_bytes(bytes).into_uuid();
    id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_identifier_and_no_other_place_has_it() {
        let id = identifier("rule", &["default", "f"], &[0]);
        assert_eq!(id, identifier("rule", &["default", "f"], &[0]));
        assert!(Uuid::parse_str(&id).is_ok());
        for other in [
            identifier("rule", &["default", "f"], &[1]),
            identifier("rule", &["defaultf", ""], &[0]),
            identifier("rollout", &["default", "f"], &[0]),
        ] {
            assert_ne!(id, other);
        }
    }
}
