//! The environments service: whole resources with a revision (v2 spec, section 4).

pub(crate) mod environments;
pub(crate) mod namespaces;
mod payload;
pub(crate) mod resources;

use std::sync::Arc;

use flipt_model::validation::go_quote;
use flipt_serving::{Code, Error};
use flipt_store::Environment;

use crate::Api;

impl Api {
    /// The environment that a request names.
    pub(crate) fn environment(&self, key: &str) -> Result<Arc<dyn Environment>, Error> {
        self.environments
            .get(key)
            .ok_or_else(|| Error::new(Code::NotFound, format!("environment: {} not found", go_quote(key))))
    }
}

/// Refuses a request without a key, in this service's words.
fn require_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::new(Code::InvalidArgument, "key must not be empty"));
    }
    Ok(())
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, error.to_string())
}
