//! Keys made for the occasion, and tokens as an API server signs them.

#![allow(dead_code, reason = "every test file uses another part")]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flipt_identity::{KeySet, Mode, Verifier, VerifierConfig};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const POD: &str = "0b1f6a52-57a5-4d2d-9a55-2f3a4a1f0c11";

pub(crate) static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
pub(crate) static OTHER_RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
pub(crate) static P256: LazyLock<Signer> =
    LazyLock::new(|| Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()));
pub(crate) static P384: LazyLock<Signer> =
    LazyLock::new(|| Signer::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()));
pub(crate) static ED25519: LazyLock<Signer> =
    LazyLock::new(|| Signer::Ed25519(Ed25519KeyPair::generate().unwrap()));

pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// Public half as a JSON Web Key.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                    "n": url(n.big_endian_without_leading_zero()), "e": url(e.big_endian_without_leading_zero()),
                })
            }
            Self::P256(pair) => ec_jwk("P-256", "ES256", kid, pair.public_key().as_ref()),
            Self::P384(pair) => ec_jwk("P-384", "ES384", kid, pair.public_key().as_ref()),
            Self::Ed25519(pair) => json!({
                "kty": "OKP", "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "kid": kid,
                "x": url(pair.public_key().as_ref()),
            }),
        }
    }

    /// Public half as PEM.
    pub(crate) fn pem(&self) -> String {
        let Self::Rsa(pair) = self else { panic!("only for RSA") };
        let der = pair.public_key().as_der().unwrap();
        let base64 = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let padding: &dyn aws_lc_rs::signature::RsaEncoding =
                    if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(pair) | Self::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header's algorithm and key id, really signed.
    pub(crate) fn token(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        let message = message(&json!({ "alg": algorithm, "kid": kid }), claims);
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", url(&signature))
    }
}

/// A token "signed" with a shared secret.
pub(crate) fn hmac_token(secret: &[u8], kid: &str, claims: &Value) -> String {
    let message = message(&json!({ "alg": "HS256", "kid": kid, "typ": "JWT" }), claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", url(tag.as_ref()))
}

/// Header and claims of a token, as a signature covers them.
pub(crate) fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", url(header.to_string().as_bytes()), url(claims.to_string().as_bytes()))
}

fn ec_jwk(curve: &str, algorithm: &str, kid: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    json!({
        "kty": "EC", "use": "sig", "alg": algorithm, "crv": curve, "kid": kid, "x": url(x), "y": url(y),
    })
}

pub(crate) fn url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of a projected token of the pod `checkout-1`, issued ten minutes ago for an hour.
pub(crate) fn claims() -> Value {
    json!({
        "aud": ["flipt"],
        "exp": NOW + 3000,
        "iat": NOW - 600,
        "nbf": NOW - 600,
        "iss": ISSUER,
        "jti": "6f1f8a2e-2c45-4b0e-8f5c-b0b6f0b7a2d1",
        "kubernetes.io": {
            "namespace": "shop",
            "node": { "name": "node-1", "uid": "11111111-1111-1111-1111-111111111111" },
            "pod": { "name": "checkout-1", "uid": POD },
            "serviceaccount": { "name": "checkout", "uid": "22222222-2222-2222-2222-222222222222" },
        },
        "sub": "system:serviceaccount:shop:checkout",
    })
}

/// The same with some claims replaced; `null` removes one.
pub(crate) fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub(crate) fn key_set(keys: &[Value]) -> KeySet {
    KeySet::from_jwks_json(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

pub(crate) fn same_pod() -> VerifierConfig {
    VerifierConfig::new(ISSUER, Mode::SamePod { pod_uid: POD.into() })
}

/// A verifier for this pod that knows the key `rsa`.
pub(crate) fn verifier() -> Verifier {
    Verifier::new(same_pod(), key_set(&[RSA.jwk("rsa")]))
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn now() -> SystemTime {
    at(NOW)
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
