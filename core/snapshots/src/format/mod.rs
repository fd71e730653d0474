//! The bytes of a published snapshot.

mod digest;
mod keys;
mod object;
mod pointer;
mod untrusted;

pub use digest::Digest;
pub use keys::{Keys, feature_file_is_valid};
pub use object::{EncodedObject, decode, encode};
pub use pointer::{Alternate, Counts, Encoding, ObjectRef, Pointer, PointerKind, Signature};
pub use untrusted::SignatureError;

/// Version of the object's content that this build writes, and the highest that it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest pointer that is read, in bytes.
pub const MAX_POINTER_BYTES: u64 = 64 * 1024;

/// Largest compressed object that is read or written, in bytes.
pub const MAX_OBJECT_BYTES: u64 = 16 * 1024 * 1024;

/// Largest uncompressed object that is read or written, in bytes.
pub const MAX_RAW_BYTES: u64 = 64 * 1024 * 1024;

/// Why bytes are no snapshot that this build can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are not what they should be: damaged in transit or storage, or never a snapshot.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// The content hashes to something else than its name says.
    #[error("corrupt: the content has the digest {actual}, expected was {expected}")]
    WrongDigest {
        /// What the pointer says.
        expected: Digest,
        /// What the content hashes to.
        actual: Digest,
    },
    /// A limit is exceeded; nothing beyond the limit was read or allocated.
    #[error("too large: {what} exceeds the limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Written by a newer release, without an alternate for this one.
    #[error(
        "the snapshot has schema version {found}, this build reads up to {SCHEMA_VERSION} and the publisher wrote \
         no alternate; update this side"
    )]
    SchemaTooNew {
        /// The pointer's schema version.
        found: u32,
    },
    /// Signatures are asked for, and this one is not good.
    #[error("not trusted: {0}")]
    Untrusted(#[from] SignatureError),
    /// A key that may occur once occurs twice.
    #[error("{what} `{key}` occurs twice")]
    DuplicateKey {
        /// What the key names.
        what: &'static str,
        /// The key.
        key: String,
    },
    /// The environment's key cannot stand in an object key.
    #[error(
        "`{0}` cannot be used as an environment: 1 to 128 letters, digits, `-`, `_` or `.`, not starting with `.`"
    )]
    InvalidEnvironment(String),
}
