//! Calls that failed.

use std::{error::Error, fmt};

/// A call without the answer that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Indicates that the client cannot be set up.
    #[error("{0}")]
    Setup(String),
    /// Indicates an answer that is an error of the API; the text is the one that scripts know.
    #[error("rpc error: code = {code} desc = {message}")]
    Refused {
        /// The code.
        code: Code,
        /// The server's sentence.
        message: String,
    },
    /// Indicates that the server could not be asked, or went away before it answered.
    #[error("{call}: cannot reach {address}: {detail}")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// The server.
        address: String,
        /// Why.
        detail: String,
    },
    /// Indicates that the answer did not come in time.
    #[error("{call}: no answer within {seconds} s")]
    TimedOut {
        /// The call.
        call: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// Indicates a list whose pages follow each other in a circle.
    #[error("{call}: the server gives the same page again and again")]
    Endless {
        /// The call.
        call: &'static str,
    },
    /// Indicates an answer that is not one of the API.
    #[error("{call}: {address} does not answer as Flipt does: {detail}")]
    Unreadable {
        /// The call.
        call: &'static str,
        /// The server.
        address: String,
        /// What came instead.
        detail: String,
    },
}

impl CallError {
    /// The code of the server's answer, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the server says that what was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == Code::NOT_FOUND)
    }
}

/// A status code of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(i32);

impl Code {
    /// The request is not valid.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// What was asked for does not exist.
    pub const NOT_FOUND: Self = Self(5);
    /// The caller may not do this.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// The server asks to wait.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// Something else stands in the way.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// The server does not know the call.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// The server does not know the caller.
    pub const UNAUTHENTICATED: Self = Self(16);

    pub(crate) const fn new(number: i32) -> Self {
        Self(number)
    }
}

const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The name as Go's clients print it.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|number| NAMES.get(number)) {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({})", self.0),
        }
    }
}

/// An error with all its causes, each said once.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The value of an `Authorization` header; none for an empty token.
pub(crate) fn bearer<T>(token: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    match read(&format!("Bearer {token}")) {
        Some(value) => Ok(Some(value)),
        None => Err(CallError::Setup("the token holds characters that cannot be sent; is it a file's name, or does it end with a line break?".to_owned())),
    }
}
