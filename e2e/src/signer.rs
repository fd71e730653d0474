//! Stands for a cluster: signs service account tokens, and publishes the keys to check them with.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::AsDer as _,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::{Failure, Result};

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Value);

impl Claims {
    /// Issuer that tokens carry unless another is set.
    pub const ISSUER: &'static str = "https://kubernetes.default.svc.cluster.local";

    /// A token of a pod of this service account, for the audience `flipt`, issued now for an hour.
    #[must_use]
    pub fn of(namespace: &str, service_account: &str, pod_uid: &str) -> Self {
        let now = now();
        Self(json!({
            "aud": ["flipt"],
            "exp": now + 3600,
            "iat": now,
            "nbf": now,
            "iss": Self::ISSUER,
            "kubernetes.io": {
                "namespace": namespace,
                "pod": { "name": format!("{service_account}-1"), "uid": pod_uid },
                "serviceaccount": { "name": service_account, "uid": "5f6c2f2e-0000-4000-8000-000000000000" },
            },
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
        }))
    }

    /// For this audience.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.with("aud", json!([audience]))
    }

    /// From this issuer.
    #[must_use]
    pub fn issuer(self, issuer: &str) -> Self {
        self.with("iss", json!(issuer))
    }

    /// Expired so many seconds ago, after a life of an hour.
    #[must_use]
    pub fn expired(self, seconds: u64) -> Self {
        let end = now() - seconds;
        self.with("exp", json!(end)).with("iat", json!(end - 3600)).with("nbf", json!(end - 3600))
    }

    /// With another value of one claim.
    #[must_use]
    pub fn with(mut self, claim: &str, value: Value) -> Self {
        self.0[claim] = value;
        self
    }

    /// A token that says `alg: none` and carries no signature.
    #[must_use]
    pub fn unsigned(&self, key_id: &str) -> String {
        format!("{}.", message(&json!({ "alg": "none", "kid": key_id, "typ": "JWT" }), &self.0))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default()
}

/// A key pair of a cluster. Made for the occasion, gone with its value.
#[derive(Debug)]
pub struct Signer {
    key_id: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    /// A new RSA key of 2048 bits; tokens are signed with RS256.
    ///
    /// # Panics
    /// If the system gives no randomness.
    #[must_use]
    pub fn rsa(key_id: &str) -> Self {
        Self { key_id: key_id.to_owned(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    /// A new key on the curve P-256; tokens are signed with ES256.
    ///
    /// # Panics
    /// As [`Signer::rsa`].
    #[must_use]
    pub fn p256(key_id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key_id: key_id.to_owned(), pair: Pair::P256(pair) }
    }

    /// Id of the key.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// A signed token.
    ///
    /// # Panics
    /// If signing fails.
    #[must_use]
    pub fn token(&self, claims: &Claims) -> String {
        let random = SystemRandom::new();
        let algorithm = match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
        };
        let message = message(&json!({ "alg": algorithm, "kid": self.key_id }), &claims.0);
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encode(&signature))
    }

    /// A forgery: "signed" with HS256 and the public key, which everybody has, as the secret. One token for
    /// each form in which a careless verifier might take the key: PEM, DER, and modulus or point.
    ///
    /// # Panics
    /// If the public key cannot be written.
    #[must_use]
    pub fn tokens_with_public_key_as_secret(&self, claims: &Claims) -> Vec<String> {
        let (der, raw) = match &self.pair {
            Pair::Rsa(pair) => (
                pair.public_key().as_der().unwrap().as_ref().to_vec(),
                pair.public_key().modulus().big_endian_without_leading_zero().to_vec(),
            ),
            Pair::P256(pair) => {
                (pair.public_key().as_der().unwrap().as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
        };
        let base64 = STANDARD.encode(&der);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let message = message(&json!({ "alg": "HS256", "kid": self.key_id, "typ": "JWT" }), &claims.0);
        [pem.into_bytes(), der, raw]
            .iter()
            .map(|secret| {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
                format!("{message}.{}", encode(tag.as_ref()))
            })
            .collect()
    }

    /// Public half as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id,
                "n": encode(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": encode(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
            Pair::P256(pair) => {
                // One byte says that the point is not compressed.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.key_id,
                    "x": encode(x), "y": encode(y),
                })
            }
        }
    }
}

/// The public halves of these keys as a JSON Web Key Set.
#[must_use]
pub fn jwks(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() })
}

/// Writes the set to a file in one step, as a mounted ConfigMap changes.
///
/// # Errors
/// If the file cannot be written.
pub fn write_jwks(path: &Path, signers: &[&Signer]) -> Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, jwks(signers).to_string())
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|error| Failure::new(format!("writing {}: {error}", path.display())))
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
