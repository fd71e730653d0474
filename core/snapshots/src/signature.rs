//! Signatures over pointers: whoever may write to the bucket cannot thereby change flags.
//!
//! What is signed, with Ed25519: the line `flipt-snapshot-pointer`, the line with the environment's key, then the
//! pointer's JSON without its field `sig`, with the fields of every object in the order of their names and no space
//! between tokens. The pointer holds the object's digest, so the signature covers the flags. The environment is
//! covered because each has its own pointer: that of another environment, put in its place, is a forgery. Fields
//! that this release does not know are covered, too.
//!
//! A signature tells that a pointer is ours, not that it is the latest. Old pointers of the same epoch are refused by
//! their revision, those of another epoch by their age.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

pub use crate::format::SignatureError;
use crate::format::{Digest, FormatError, Pointer, Signature};
use crate::store::folder_files::read_limited;

const ALGORITHM: &str = "Ed25519";
const CONTEXT: &str = "flipt-snapshot-pointer";
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;
/// What stands before the 32 bytes of an Ed25519 key in the DER of a public key (RFC 8410).
const PUBLIC_KEY_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A file with keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key file {place} cannot be used: {reason}")]
pub struct KeyError {
    /// The file.
    pub place: String,
    /// What is wrong with it. Never holds what is in it.
    pub reason: String,
}

/// The key that pointers are signed with.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    kid: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the file cannot be read or holds anything else.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&read(path)?).map_err(|reason| error(path, reason))
    }

    fn from_pem(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected one Ed25519 key in PEM (BEGIN PRIVATE KEY)";
        let der = blocks(text, "PRIVATE KEY")?;
        let [der] = der.as_slice() else { return Err(EXPECTED.to_owned()) };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| EXPECTED.to_owned())?;
        let kid = kid(pair.public_key().as_ref());
        Ok(Self { pair, kid })
    }

    /// Name of the key: the start of the digest of its public half.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The same pointer, signed for this environment.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if it cannot be written as JSON.
    pub fn sign(&self, environment: &str, pointer: Pointer) -> Result<Pointer, FormatError> {
        let pointer = Pointer { sig: None, ..pointer };
        let message = message(environment, &pointer.to_bytes()?)?;
        let value = STANDARD.encode(self.pair.sign(&message).as_ref());
        let sig = Signature { alg: ALGORITHM.to_owned(), kid: self.kid.clone(), value };
        Ok(Pointer { sig: Some(sig), ..pointer })
    }
}

/// The keys whose signatures are trusted, read again whenever there is something to verify: keys are rotated by
/// writing the new one beside the old one, before anything is signed with it.
pub struct VerifyKeys {
    path: PathBuf,
    /// What the file held when it could last be read.
    known: Mutex<Vec<[u8; 32]>>,
}

impl fmt::Debug for VerifyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyKeys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl VerifyKeys {
    /// Reads public keys in PEM, one or more in a file, as `openssl pkey -pubout` writes them.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the file cannot be read or holds anything else, or nothing.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Ok(Self { known: Mutex::new(public_keys(path)?), path: path.to_owned() })
    }

    /// Checks that the document in `bytes` is a pointer that one of the keys signed for this environment. A file that
    /// cannot be read at the moment leaves the keys as they were.
    ///
    /// # Errors
    ///
    /// [`SignatureError`].
    pub fn verify(&self, environment: &str, bytes: &[u8]) -> Result<(), SignatureError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match public_keys(&self.path) {
            Ok(keys) => *known = keys,
            Err(error) => tracing::warn!(%error, "going on with the keys read before"),
        }
        let pointer = Pointer::parse(bytes).map_err(|_| SignatureError::Wrong)?;
        let sig = pointer.sig.ok_or(SignatureError::Unsigned)?;
        let key = known.iter().find(|key| kid(*key) == sig.kid);
        let key = key.ok_or_else(|| SignatureError::UnknownKey(sig.kid.chars().take(64).collect()))?;
        let message = message(environment, bytes).map_err(|_| SignatureError::Wrong)?;
        let value = STANDARD.decode(&sig.value).map_err(|_| SignatureError::Wrong)?;
        if sig.alg != ALGORITHM || UnparsedPublicKey::new(&ED25519, key).verify(&message, &value).is_err() {
            return Err(SignatureError::Wrong);
        }
        Ok(())
    }
}

/// What is signed of a pointer's document.
fn message(environment: &str, document: &[u8]) -> Result<Vec<u8>, FormatError> {
    let corrupt = |error: serde_json::Error| FormatError::Corrupt(format!("no snapshot pointer: {error}"));
    let mut document: Value = serde_json::from_slice(document).map_err(corrupt)?;
    if let Some(fields) = document.as_object_mut() {
        fields.remove("sig");
    }
    document.sort_all_objects();
    let mut message = format!("{CONTEXT}\n{environment}\n").into_bytes();
    serde_json::to_writer(&mut message, &document).map_err(corrupt)?;
    Ok(message)
}

fn kid(public_key: &[u8]) -> String {
    let mut hex = Digest::of(public_key).hex();
    hex.truncate(16);
    hex
}

fn public_keys(path: &Path) -> Result<Vec<[u8; 32]>, KeyError> {
    let key = |der: Vec<u8>| {
        der.strip_prefix(&PUBLIC_KEY_PREFIX[..]).and_then(|key| <[u8; 32]>::try_from(key).ok())
    };
    let blocks = blocks(&read(path)?, "PUBLIC KEY").map_err(|reason| error(path, reason))?;
    let keys: Option<Vec<_>> = blocks.into_iter().map(key).collect();
    keys.filter(|keys| !keys.is_empty())
        .ok_or_else(|| error(path, "expected Ed25519 keys in PEM (BEGIN PUBLIC KEY), one or more"))
}

fn error(path: &Path, reason: impl Into<String>) -> KeyError {
    KeyError { place: path.display().to_string(), reason: reason.into() }
}

fn read(path: &Path) -> Result<String, KeyError> {
    let bytes = read_limited(path, MAX_KEY_FILE_BYTES)
        .map_err(|cause| error(path, cause.to_string()))?
        .ok_or_else(|| error(path, format!("it has more than {MAX_KEY_FILE_BYTES} bytes")))?;
    String::from_utf8(bytes).map_err(|_| error(path, "it is no text"))
}

/// What stands between the PEM lines with this label.
fn blocks(text: &str, label: &str) -> Result<Vec<Vec<u8>>, String> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, after) = after.split_once(&end).ok_or_else(|| format!("`{end}` is missing"))?;
        let body: String = body.split_ascii_whitespace().collect();
        found.push(STANDARD.decode(body).map_err(|_| "what stands in the PEM is no Base64".to_owned())?);
        rest = after;
    }
    Ok(found)
}
