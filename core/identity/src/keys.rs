//! Public keys that tokens are verified with.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

const SHORTEST_RSA_BITS: usize = 2048;
const LONGEST_RSA_BITS: usize = 8192;

/// Public keys by key id.
///
/// Keys that cannot or must not be used are left out, each with its reason, so that one bad key does not lock
/// out everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeMap<String, Key>,
    skipped: Vec<SkippedKey>,
}

/// A key that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Key id, if it has one.
    pub kid: Option<String>,
    /// Why.
    pub reason: SkipReason,
}

/// Why a key was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SkipReason {
    /// Indicates that tokens could not name the key. Kubernetes names all of its keys.
    #[error("key has no id")]
    NoKeyId,
    /// Indicates a secret shared with the issuer: whoever verifies with it can also sign.
    #[error("key is symmetric")]
    Symmetric,
    /// Indicates an RSA key of a size that is not accepted.
    #[error("RSA key of {bits} bits is not accepted")]
    RsaSize {
        /// Size of the modulus.
        bits: usize,
    },
    /// Indicates a kind of key, or a curve, that is not known.
    #[error("kind of key is not supported")]
    UnsupportedKind,
    /// Indicates that the key is not meant to verify signatures.
    #[error("key is not for signatures")]
    NotForSignatures,
    /// Indicates that parts of the key are missing or damaged.
    #[error("key is malformed")]
    Malformed,
}

/// Why a key set as a whole is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Indicates that this is not a JSON Web Key Set.
    #[error("not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// Indicates that two different keys have the same id, so that the id does not say which is meant.
    #[error("key id {0:?} stands for two different keys")]
    DuplicateKeyId(String),
}

/// A key with the algorithms it may be used with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    material: Material,
    /// The one algorithm that the key is restricted to, if it is.
    only: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Public keys are no secret, but a page of numbers helps nobody.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.material {
            Material::Rsa { .. } => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
        })
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set, as API servers and issuers publish it.
    ///
    /// The same key given twice counts once.
    ///
    /// # Errors
    ///
    /// If this is not such a set, or if two different keys share an id.
    pub fn from_jwks_json(bytes: &[u8]) -> Result<Self, KeySetError> {
        let set: JsonKeySet = serde_json::from_slice(bytes).map_err(KeySetError::Malformed)?;
        let mut keys = BTreeMap::new();
        let mut skipped = Vec::new();
        for json in set.keys {
            // Read one by one: a key of a kind that is not known may have fields of any type.
            let (kid, key) = match serde_json::from_value::<JsonKey>(json) {
                Ok(json) => (json.kid.clone().filter(|kid| !kid.is_empty()), json.key()),
                Err(_) => (None, Err(SkipReason::Malformed)),
            };
            match (kid, key) {
                (Some(kid), Ok(key)) => match keys.get(&kid) {
                    Some(earlier) if *earlier != key => return Err(KeySetError::DuplicateKeyId(kid)),
                    Some(_) => {}
                    None => {
                        keys.insert(kid, key);
                    }
                },
                (None, Ok(_)) => skipped.push(SkippedKey { kid: None, reason: SkipReason::NoKeyId }),
                (kid, Err(reason)) => skipped.push(SkippedKey { kid, reason }),
            }
        }
        Ok(Self { keys, skipped })
    }

    /// Number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no usable key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Ids of the usable keys.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Keys that were left out.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }
}

impl Key {
    /// The algorithm of this name and the key in its form, if the two fit.
    ///
    /// The names stand here one by one: `none` and the HMAC family, which would take the public key for a
    /// secret, can not come in through somebody else's list.
    pub(crate) fn for_algorithm(&self, name: &str) -> Option<(Algorithm, DecodingKey)> {
        if self.only.as_ref().is_some_and(|only| only != name) {
            return None;
        }
        let algorithm = match (&self.material, name) {
            (Material::Rsa { .. }, "RS256") => Algorithm::RS256,
            (Material::Rsa { .. }, "RS384") => Algorithm::RS384,
            (Material::Rsa { .. }, "RS512") => Algorithm::RS512,
            (Material::Rsa { .. }, "PS256") => Algorithm::PS256,
            (Material::Rsa { .. }, "PS384") => Algorithm::PS384,
            (Material::Rsa { .. }, "PS512") => Algorithm::PS512,
            (Material::P256(_), "ES256") => Algorithm::ES256,
            (Material::P384(_), "ES384") => Algorithm::ES384,
            (Material::Ed25519(_), "EdDSA") => Algorithm::EdDSA,
            _ => return None,
        };
        let key = match &self.material {
            Material::Rsa { modulus, exponent } => DecodingKey::from_rsa_raw_components(modulus, exponent),
            Material::P256(point) | Material::P384(point) => DecodingKey::from_ec_der(point),
            Material::Ed25519(point) => DecodingKey::from_ed_der(point),
        };
        Some((algorithm, key))
    }
}

#[derive(Deserialize)]
struct JsonKeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct JsonKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    intended_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl JsonKey {
    fn key(self) -> Result<Key, SkipReason> {
        if self.intended_use.as_ref().is_some_and(|intended_use| intended_use != "sig")
            || self.key_ops.as_ref().is_some_and(|operations| operations.iter().all(|name| name != "verify"))
        {
            return Err(SkipReason::NotForSignatures);
        }
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let modulus: Vec<u8> = number(self.n)?.into_iter().skip_while(|byte| *byte == 0).collect();
                let exponent: Vec<u8> = number(self.e)?.into_iter().skip_while(|byte| *byte == 0).collect();
                let spare = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                let bits = modulus.len() * 8 - spare;
                if !(SHORTEST_RSA_BITS..=LONGEST_RSA_BITS).contains(&bits) {
                    return Err(SkipReason::RsaSize { bits });
                }
                if exponent.is_empty() {
                    return Err(SkipReason::Malformed);
                }
                Material::Rsa { modulus, exponent }
            }
            ("EC", Some("P-256")) => Material::P256(point(self.x, self.y, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(self.x, self.y, 48)?),
            ("OKP", Some("Ed25519")) => {
                let point = number(self.x)?;
                if point.len() != 32 {
                    return Err(SkipReason::Malformed);
                }
                Material::Ed25519(point)
            }
            ("oct", _) => return Err(SkipReason::Symmetric),
            _ => return Err(SkipReason::UnsupportedKind),
        };
        Ok(Key { material, only: self.alg })
    }
}

fn number(text: Option<String>) -> Result<Vec<u8>, SkipReason> {
    let text = text.ok_or(SkipReason::Malformed)?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| SkipReason::Malformed)
}

/// A point of a curve in its uncompressed form.
fn point(x: Option<String>, y: Option<String>, size: usize) -> Result<Vec<u8>, SkipReason> {
    let (x, y) = (number(x)?, number(y)?);
    if x.len() != size || y.len() != size {
        return Err(SkipReason::Malformed);
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}
