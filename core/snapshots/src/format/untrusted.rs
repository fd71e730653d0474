//! Why the signature of a pointer is not good enough.

/// Why a pointer is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("it is not signed; let its publisher sign, or do without verification")]
    Unsigned,
    /// The signature is by a key that is not trusted.
    #[error("it is signed with the key `{0}`, which is not among those to verify with")]
    UnknownKey(String),
    /// The signature is not one over this pointer.
    #[error("its signature does not fit its content")]
    Wrong,
}
