//! The credentials of callers: reading, listing and ending them (auth spec, sections 5 and 12).

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flipt_config::Authentication as Config;
use flipt_proto::{auth as pb, to_unix_micros};
use flipt_serving::{Code, Error, exchanged};
use flipt_store::{AuthenticationPage, AuthenticationStore, StoreError};
use prost_types::Timestamp;

use crate::{ServiceAccounts, client_token};

/// Longest time that looking up credentials may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Sizes of a page of the list.
const DEFAULT_PAGE: u32 = 25;
const LARGEST_PAGE: u32 = 100;
/// The years 1 and 9999: what a timestamp can hold, and every database.
const EARLIEST_SECOND: i64 = -62_135_596_800;
const LATEST_SECOND: i64 = 253_402_300_799;

/// The credentials of callers, in a store.
#[derive(Clone)]
pub struct Authentications {
    pub(crate) store: Arc<dyn AuthenticationStore>,
    config: Arc<Config>,
    service_accounts: Option<Arc<ServiceAccounts>>,
}

/// Microseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}

/// What a client is told about a failing store.
pub(crate) fn failed(error: StoreError) -> Error {
    match error {
        StoreError::Invalid(message) => Error::new(Code::InvalidArgument, message),
        StoreError::Unavailable(detail) => {
            tracing::error!(detail, "database not available");
            Error::new(Code::Unavailable, "failed to connect to database")
        }
        StoreError::Contended => Error::new(Code::Unavailable, error.to_string()),
        error => {
            tracing::error!(error = %error, "store of credentials failed");
            Error::new(Code::Internal, "the store of credentials failed; the server's log says why")
        }
    }
}

/// The instant of a timestamp, in microseconds since the Unix epoch.
///
/// # Errors
/// [`Code::InvalidArgument`] for what is no instant of the years 1 to 9999.
pub(crate) fn instant(field: &str, timestamp: &Timestamp) -> Result<i64, Error> {
    let is_valid = (EARLIEST_SECOND..=LATEST_SECOND).contains(&timestamp.seconds)
        && (0..1_000_000_000).contains(&timestamp.nanos);
    if is_valid {
        return Ok(to_unix_micros(timestamp));
    }
    Err(Error::new(
        Code::InvalidArgument,
        format!("invalid field {field}: must be a time of the years 1 to 9999"),
    ))
}

impl Authentications {
    /// Credentials in this store, under these rules.
    #[must_use]
    pub fn new(store: Arc<dyn AuthenticationStore>, config: Config) -> Self {
        Self { store, config: Arc::new(config), service_accounts: None }
    }

    /// Accepts service account tokens, too.
    #[must_use]
    pub fn with_service_accounts(self, service_accounts: Option<Arc<ServiceAccounts>>) -> Self {
        Self { service_accounts, ..self }
    }

    /// What verifies service account tokens, if they are accepted.
    pub(crate) const fn service_accounts(&self) -> Option<&Arc<ServiceAccounts>> {
        self.service_accounts.as_ref()
    }

    /// Exchanges a service account token for a client token, which is the same one: nothing is stored.
    ///
    /// # Errors
    /// Those of [`ServiceAccounts::verify`]; [`Code::NotFound`] if the method is not enabled.
    pub async fn verify_service_account(
        &self,
        request: &pb::VerifyServiceAccountRequest,
    ) -> Result<pb::VerifyServiceAccountResponse, Error> {
        let Some(accounts) = &self.service_accounts else {
            return Err(Error::new(Code::NotFound, "authentication.methods.kubernetes is not enabled"));
        };
        let token = request.service_account_token.trim();
        let caller = accounts.verify(token).await?;
        Ok(exchanged(&caller, token))
    }

    /// The rules.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The credentials that a client token stands for; the reason if it stands for none.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if that cannot be found out at the moment: the token may be good.
    pub(crate) async fn of_client_token(
        &self,
        token: &str,
    ) -> Result<Result<pb::Authentication, &'static str>, Error> {
        let hash = client_token::hash(token);
        let unavailable =
            || Error::new(Code::Unavailable, "credentials cannot be checked at the moment; try again");
        let looking = tokio::time::timeout(LOOKUP_TIMEOUT, self.store.find_authentication(&hash));
        let found = looking.await.map_err(|_| unavailable())?.map_err(|error| {
            tracing::error!(error = %error, "credentials not looked up");
            unavailable()
        })?;
        let Some((authentication, stored)) = found else { return Ok(Err("unknown token")) };
        if !client_token::is_same_hash(&hash, &stored) {
            return Ok(Err("unknown token"));
        }
        let expires_at = authentication.expires_at.as_ref().map(to_unix_micros);
        if expires_at.is_some_and(|expires_at| expires_at < now()) {
            return Ok(Err("expired token"));
        }
        Ok(Ok(authentication))
    }

    /// The credentials with an id.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::Internal`].
    pub async fn get(&self, request: &pb::GetAuthenticationRequest) -> Result<pb::Authentication, Error> {
        self.store.get_authentication(&request.id).await.map_err(failed)?.ok_or_else(|| {
            Error::new(
                Code::NotFound,
                "getting authentication by token: reading authentication: resource not found",
            )
        })
    }

    /// A page of all credentials. Its rules are its own (api spec, section 4): 25 at first, 100 at most, and
    /// a page token that is an offset; a bad one counts as the beginning.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for a negative limit, [`Code::Internal`].
    pub async fn list(
        &self,
        request: &pb::ListAuthenticationsRequest,
    ) -> Result<pb::ListAuthenticationsResponse, Error> {
        let limit = match u32::try_from(request.limit) {
            Ok(0) => DEFAULT_PAGE,
            Ok(limit) => limit.min(LARGEST_PAGE),
            Err(_) => {
                let message = "invalid field limit: must not be negative";
                return Err(Error::new(Code::InvalidArgument, message));
            }
        };
        let offset = request.page_token.parse().unwrap_or(0);
        let page = AuthenticationPage { method: request.method, offset, limit };
        let (authentications, more) = self.store.list_authentications(page).await.map_err(failed)?;
        let next = offset.saturating_add(authentications.len() as u64);
        let next_page_token = if more { next.to_string() } else { String::new() };
        Ok(pb::ListAuthenticationsResponse { authentications, next_page_token })
    }

    /// Removes credentials; from then on nobody is admitted with them.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub async fn delete(&self, request: &pb::DeleteAuthenticationRequest) -> Result<(), Error> {
        self.store.delete_authentication(&request.id).await.map_err(failed)
    }

    /// Moves the end of a caller's own credentials: to now, or to the time of the request.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], [`Code::Internal`].
    pub async fn expire(
        &self,
        authentication: &pb::Authentication,
        request: &pb::ExpireAuthenticationSelfRequest,
    ) -> Result<(), Error> {
        if authentication.method == pb::Method::Kubernetes as i32 {
            let message = "a service account token cannot be ended here: it ends by itself, or with its pod";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let expires_at = match &request.expires_at {
            Some(timestamp) => instant("expiresAt", timestamp)?,
            // A microsecond ago, so that the caller finds them expired at once.
            None => now() - 1,
        };
        self.store.expire_authentication(&authentication.id, expires_at).await.map_err(failed)
    }
}
