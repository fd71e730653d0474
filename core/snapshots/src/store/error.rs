//! Failures of a store, classified by what a person has to do about them.

/// A store could not do what it was asked to.
///
/// The text says what was tried, where, why it failed, then what to do about it. It never holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} {place}: {}{}; {}", .kind.summary(), detail_suffix(.detail), .kind.remedy())]
pub struct StoreError {
    /// The class.
    pub kind: StoreErrorKind,
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// Where.
    pub place: String,
    /// What the other side or the system said; may be empty.
    pub detail: String,
    /// How long the other side wants not to be asked again, if it said so.
    pub retry_after: Option<std::time::Duration>,
}

fn detail_suffix(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

/// Class of a store's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No connection to the endpoint.
    Unreachable,
    /// The endpoint did not answer in time.
    Timeout,
    /// The endpoint answers that it cannot serve now: overload or an internal error.
    Unavailable,
    /// Access denied. S3 says so for a missing key as well, if the reader may not list the bucket.
    Forbidden,
    /// The server does not know who asks: no token, or one that it does not accept.
    Unauthenticated,
    /// The server knows who asks, and does not allow it.
    NotPermitted,
    /// There is no such bucket or folder.
    BucketMissing,
    /// The bucket is in another region.
    WrongRegion,
    /// No credentials were found.
    NoCredentials,
    /// The credentials are not accepted.
    WrongCredentials,
    /// The credentials have expired, also after a new look for them.
    ExpiredToken,
    /// The clocks of the two sides are too far apart.
    ClockSkew,
    /// The object is longer than the limit.
    TooLarge,
    /// The store does not know the operation, such as conditional writes.
    Unsupported,
    /// The key cannot be used.
    InvalidKey,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    const fn summary(self) -> &'static str {
        match self {
            Self::Unreachable => "the endpoint cannot be reached",
            Self::Timeout => "the endpoint did not answer in time",
            Self::Unavailable => "the endpoint cannot serve the request now",
            Self::Forbidden => "access denied, which may also mean that it is missing",
            Self::Unauthenticated => "the server does not accept the credentials",
            Self::NotPermitted => "the server does not allow it",
            Self::BucketMissing => "the bucket or folder does not exist",
            Self::WrongRegion => "the bucket is in another region",
            Self::NoCredentials => "no credentials found",
            Self::WrongCredentials => "the credentials are not accepted",
            Self::ExpiredToken => "the credentials have expired",
            Self::ClockSkew => "the local clock and the endpoint's are too far apart",
            Self::TooLarge => "it is larger than allowed",
            Self::Unsupported => "the store does not support the operation",
            Self::InvalidKey => "the key is not valid",
            Self::Other => "the operation failed",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => "check the endpoint's address, DNS and network policies",
            Self::Timeout => "check the network between here and the endpoint, and its load",
            Self::Unavailable => "it is retried by itself; check the store's health if it persists",
            Self::Forbidden => {
                "grant s3:GetObject on the prefix (writers: s3:PutObject, s3:DeleteObject, s3:ListBucket too), or \
                 publish a first snapshot"
            }
            Self::Unauthenticated => {
                "give it a file with a current token that the server accepts, and that is not bound to a namespace"
            }
            Self::NotPermitted => "grant the caller to read the flags of every namespace",
            Self::BucketMissing => "create it or correct its name",
            Self::WrongRegion => "set the bucket's own region",
            Self::NoCredentials => {
                "give the pod an identity (IRSA or EKS pod identity) or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY"
            }
            Self::WrongCredentials => "check the access key, its secret and that the account still exists",
            Self::ExpiredToken => "check that the pod's identity token is being rotated",
            Self::ClockSkew => "synchronise the clock of the node",
            Self::TooLarge => "check that this is a snapshot, and split it by environment if so",
            Self::Unsupported => "switch conditional writes off for this store",
            Self::InvalidKey => "use keys without empty, `.` or `..` segments",
            Self::Other => "see the detail",
        }
    }
}

impl StoreError {
    pub(crate) fn new(
        kind: StoreErrorKind,
        operation: &'static str,
        place: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, operation, place: place.into(), detail: detail.into(), retry_after: None }
    }
}
