//! From what validation and store refuse to what clients see. The only place where that is decided.

use flipt_model::validation::ValidationError;
use flipt_serving::{Code, Error};
use flipt_store::StoreError;

/// A result whose failure has an answer for the client.
pub(crate) trait Fails<T> {
    fn or_refuse(self) -> Result<T, Error>;
}

impl<T> Fails<T> for Result<T, ValidationError> {
    fn or_refuse(self) -> Result<T, Error> {
        self.map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))
    }
}

impl<T> Fails<T> for Result<T, StoreError> {
    fn or_refuse(self) -> Result<T, Error> {
        self.map_err(|error| {
            let code = match &error {
                StoreError::NotFound(_) => Code::NotFound,
                StoreError::Invalid(_) => Code::InvalidArgument,
                StoreError::Exists(_) => Code::AlreadyExists,
                StoreError::Conflict(_) => Code::Aborted,
                StoreError::Managed(_) => Code::Managed,
                StoreError::Precondition(_) => Code::FailedPrecondition,
                StoreError::Unavailable(_) | StoreError::Contended => Code::Unavailable,
                StoreError::ReadOnly
                | StoreError::MigrationsPending
                | StoreError::Content(_)
                | StoreError::Database(_) => Code::Internal,
            };
            if code == Code::Internal && !matches!(error, StoreError::ReadOnly) {
                tracing::error!(error = %error, "store failed");
            }
            if let StoreError::Unavailable(detail) = &error {
                tracing::error!(detail, "database not available");
                // What is wrong with it is no client's business.
                return Error::new(code, "failed to connect to database");
            }
            if matches!(error, StoreError::Database(_)) {
                // Neither is what a driver says.
                return Error::new(code, "the database refused a statement; the server's log says why");
            }
            Error::new(code, error.to_string())
        })
    }
}
