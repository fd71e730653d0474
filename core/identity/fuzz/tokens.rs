//! Tokens and keys from outside: nothing makes their readers panic, and no token is accepted that nobody signed.

#![no_main]

use std::{sync::LazyLock, time::SystemTime};

use flipt_identity::{KeySet, Mode, Verifier, VerifierConfig};
use libfuzzer_sys::fuzz_target;

/// One key whose private half is nowhere.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"k",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys = KeySet::from_jwks_json(KEYS.as_bytes()).expect("a key set");
    assert_eq!(keys.len(), 1);
    Verifier::new(VerifierConfig::new("https://kubernetes.default.svc", Mode::Cluster), keys)
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        for header in [text.to_owned(), format!("Bearer {text}")] {
            assert!(VERIFIER.verify(Some(&header), SystemTime::UNIX_EPOCH).is_err());
        }
    }
    if let Ok(keys) = KeySet::from_jwks_json(bytes) {
        assert_eq!(keys.kids().count(), keys.len());
    }
});
