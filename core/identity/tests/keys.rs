//! Which keys are used, and which are left out or refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use flipt_identity::{KeySet, KeySetError, SkipReason, SkippedKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::*;

fn read(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::from_jwks_json(json!({ "keys": keys }).to_string().as_bytes())
}

/// The reason why this key is left out, next to one that is used.
fn skipped(key: Value) -> SkippedKey {
    let set = read(&[RSA.jwk("rsa"), key]).unwrap();
    assert_eq!(set.kids().collect::<Vec<_>>(), ["rsa"]);
    let [skipped] = set.skipped() else { panic!("{:?}", set.skipped()) };
    skipped.clone()
}

fn without(mut key: Value, field: &str) -> Value {
    key.as_object_mut().unwrap().remove(field);
    key
}

#[test]
fn knows_every_supported_kind() {
    let set = read(&[RSA.jwk("a"), P256.jwk("b"), P384.jwk("c"), ED25519.jwk("d")]).unwrap();
    assert_eq!(set.kids().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!((set.len(), set.is_empty(), set.skipped().len()), (4, false, 0));
}

#[test]
fn leaves_out_rsa_keys_of_a_wrong_size() {
    let rsa = |modulus: Vec<u8>| json!({ "kty": "RSA", "kid": "k", "n": url(&modulus), "e": "AQAB" });
    let reason = |bits| SkippedKey { kid: Some("k".into()), reason: SkipReason::RsaSize { bits } };
    assert_eq!(skipped(rsa(vec![0xff; 128])), reason(1024));
    // Zeroes in front do not make a key longer.
    assert_eq!(skipped(rsa([vec![0; 128], vec![0xff; 128]].concat())), reason(1024));
    assert_eq!(skipped(rsa([vec![0x7f], vec![0xff; 255]].concat())), reason(2047));
    assert_eq!(skipped(rsa(vec![0xff; 1025])), reason(8200));
    assert_eq!(skipped(rsa(vec![])), reason(0));
    assert_eq!(read(&[rsa([vec![0], vec![0xff; 256]].concat())]).unwrap().len(), 1);
}

#[test]
fn leaves_out_shared_secrets() {
    let key = json!({ "kty": "oct", "kid": "k", "k": url(&[1; 64]) });
    assert_eq!(skipped(key).reason, SkipReason::Symmetric);
}

#[test]
fn leaves_out_keys_without_id() {
    assert_eq!(
        skipped(without(OTHER_RSA.jwk("k"), "kid")),
        SkippedKey { kid: None, reason: SkipReason::NoKeyId }
    );
    assert_eq!(skipped(OTHER_RSA.jwk("")).reason, SkipReason::NoKeyId);
}

#[test]
fn leaves_out_keys_for_other_purposes() {
    for (field, value) in [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("key_ops", json!([]))] {
        let mut key = OTHER_RSA.jwk("k");
        key[field] = value;
        assert_eq!(skipped(key).reason, SkipReason::NotForSignatures);
    }
    let mut key = OTHER_RSA.jwk("k");
    key["key_ops"] = json!(["verify"]);
    assert_eq!(read(&[key]).unwrap().len(), 1);
}

#[test]
fn leaves_out_unknown_kinds_and_curves() {
    for (kind, curve) in [("EC", "P-521"), ("EC", "secp256k1"), ("OKP", "X25519"), ("EC", ""), ("AKP", "")] {
        let key = json!({ "kty": kind, "crv": curve, "kid": "k", "x": "AA", "y": "AA" });
        assert_eq!(skipped(key).reason, SkipReason::UnsupportedKind, "{kind} {curve}");
    }
}

#[test]
fn leaves_out_damaged_keys() {
    let short = |mut key: Value| {
        key["x"] = "AAAA".into();
        key
    };
    for key in [
        without(OTHER_RSA.jwk("k"), "n"),
        without(OTHER_RSA.jwk("k"), "e"),
        without(P256.jwk("k"), "y"),
        without(OTHER_RSA.jwk("k"), "kty"),
        short(P256.jwk("k")),
        short(P384.jwk("k")),
        short(ED25519.jwk("k")),
        json!({ "kty": "RSA", "kid": "k", "n": "!", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": 7 }),
        json!("key"),
    ] {
        assert_eq!(skipped(key.clone()).reason, SkipReason::Malformed, "{key}");
    }
}

#[test]
fn refuses_two_keys_with_one_id_unless_they_are_the_same() {
    assert_eq!(read(&[RSA.jwk("k"), RSA.jwk("k")]).unwrap().len(), 1);
    let error = read(&[RSA.jwk("k"), OTHER_RSA.jwk("k")]).unwrap_err();
    assert!(matches!(&error, KeySetError::DuplicateKeyId(kid) if kid == "k"), "{error}");
}

#[test]
fn refuses_what_is_no_key_set() {
    for text in ["", "{", "[]", "{}", "{\"keys\": {}}", "{\"keys\": null}", "\u{0}"] {
        assert!(matches!(KeySet::from_jwks_json(text.as_bytes()), Err(KeySetError::Malformed(_))), "{text}");
    }
    assert!(KeySet::from_jwks_json(b"{\"keys\": []}").unwrap().is_empty());
}

proptest! {
    #[test]
    fn never_panics(bytes in any::<Vec<u8>>(), kind in "RSA|EC|OKP|oct", curve in "P-256|P-384|Ed25519", text in any::<String>()) {
        let _ = KeySet::from_jwks_json(&bytes);
        let encoded = url(&bytes);
        let key = json!({ "kty": kind, "crv": curve, "kid": text, "n": encoded, "e": encoded, "x": encoded, "y": text });
        prop_assert!(read(&[key]).unwrap().len() <= 1);
    }
}
