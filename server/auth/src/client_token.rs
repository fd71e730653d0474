//! Client tokens, and the form in which they are kept (auth spec, section 5).

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, error::Unspecified, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};

/// Random bytes in a token.
const LENGTH: usize = 32;

/// A new token: 32 random bytes as 44 characters.
///
/// # Errors
/// If the system has no randomness to give.
pub(crate) fn generate() -> Result<String, Unspecified> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE.encode(bytes))
}

/// The form of a token that is stored. It cannot be turned back: tokens are random, so a fast hash is enough.
pub(crate) fn hash(token: &str) -> String {
    URL_SAFE.encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

/// Whether two hashes are the same, in a time that does not tell where they differ. The database has compared
/// them already, but some compare without regard to case.
pub(crate) fn is_same_hash(a: &str, b: &str) -> bool {
    verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_flipts() {
        assert_eq!(hash("test"), "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg=");
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_eq!((a.len(), a.ends_with('=')), (44, true));
        assert_ne!(a, b);
    }

    #[test]
    fn hashes_are_compared_with_case() {
        assert!(is_same_hash("aB=", "aB="));
        assert!(!is_same_hash("aB=", "ab="));
    }
}
