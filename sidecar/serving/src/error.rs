//! Failures as clients see them: gRPC status, HTTP status and JSON body from one value (api spec, section 3).

use flipt_evaluation::EvaluationError;
use http::StatusCode;
use tonic::Status;

/// The gRPC codes this product answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Indicates bad input, duplicates and refused deletions.
    InvalidArgument,
    /// Indicates a missing resource or route.
    NotFound,
    /// Indicates a resource that exists already; on the v1 API that is [`Code::InvalidArgument`].
    AlreadyExists,
    /// Indicates a resource that changed since its caller saw it.
    Aborted,
    /// Indicates that something is missing which the caller must see to first.
    FailedPrecondition,
    /// Indicates a change of something that an object of a cluster owns: [`Code::FailedPrecondition`] on gRPC, but a
    /// conflict on HTTP.
    Managed,
    /// Indicates a call that took longer than its caller allowed.
    DeadlineExceeded,
    /// Indicates a caller whose token does not permit the request.
    PermissionDenied,
    /// Indicates input beyond a size limit.
    ResourceExhausted,
    /// Indicates a verb that the path does not have.
    Unimplemented,
    /// Indicates a failure on this side.
    Internal,
    /// Indicates that no state is loaded yet, or that keys to check tokens are missing.
    Unavailable,
    /// Indicates a caller without valid credentials.
    Unauthenticated,
}

impl Code {
    /// The gRPC number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.grpc() as i32
    }

    const fn grpc(self) -> tonic::Code {
        match self {
            Self::InvalidArgument => tonic::Code::InvalidArgument,
            Self::NotFound => tonic::Code::NotFound,
            Self::AlreadyExists => tonic::Code::AlreadyExists,
            Self::Aborted => tonic::Code::Aborted,
            Self::FailedPrecondition | Self::Managed => tonic::Code::FailedPrecondition,
            Self::DeadlineExceeded => tonic::Code::DeadlineExceeded,
            Self::PermissionDenied => tonic::Code::PermissionDenied,
            Self::ResourceExhausted => tonic::Code::ResourceExhausted,
            Self::Unimplemented => tonic::Code::Unimplemented,
            Self::Internal => tonic::Code::Internal,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http(self) -> StatusCode {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Aborted | Self::Managed => StatusCode::CONFLICT,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

/// A failure with its code and the text for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// What the caller is told.
    pub message: String,
    /// Value of `WWW-Authenticate` on HTTP, for failed authentication.
    pub challenge: Option<String>,
    /// Key of the flag in question, which OFREP errors carry.
    pub flag_key: Option<String>,
}

impl Error {
    /// A failure with this code and text.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), challenge: None, flag_key: None }
    }

    /// The same failure, about this flag.
    #[must_use]
    pub fn about_flag(self, key: &str) -> Self {
        Self { flag_key: Some(key.to_owned()), ..self }
    }

    /// The environment that a request names does not exist (v2 spec, section 3.3).
    #[must_use]
    pub fn unknown_environment(key: &str) -> Self {
        let key = flipt_model::validation::go_quote(key);
        Self::new(
            Code::NotFound,
            format!("failed to get environment {key} from context: environment: {key} not found"),
        )
    }

    /// No state is loaded yet.
    #[must_use]
    pub fn not_ready() -> Self {
        Self::new(Code::Unavailable, "no snapshot loaded yet; retry, or use the default of your SDK")
    }

    /// The body of the HTTP answer outside OFREP: exactly these three members (api spec, section 3.2).
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        #[derive(serde::Serialize)]
        struct Status<'a> {
            code: i32,
            message: &'a str,
            details: [(); 0],
        }
        serde_json::to_vec(&Status { code: self.code.number(), message: &self.message, details: [] })
            .unwrap_or_default()
    }
}

impl From<EvaluationError> for Error {
    fn from(error: EvaluationError) -> Self {
        let code = match &error {
            EvaluationError::NamespaceNotFound { .. } | EvaluationError::FlagNotFound { .. } => {
                Code::NotFound
            }
            EvaluationError::WrongFlagType(_)
            | EvaluationError::RuleRankOutOfOrder(_)
            | EvaluationError::UnknownConstraintType => Code::InvalidArgument,
            EvaluationError::RolloutRankOutOfOrder(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(error.code.grpc(), error.message)
    }
}
