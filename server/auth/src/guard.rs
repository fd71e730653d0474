//! The decision whether a call may go on: the one place for it, whatever the transport.

use std::{collections::BTreeSet, sync::Arc};

use flipt_proto::auth as pb;
use flipt_serving::{Code, Error};
use http::{HeaderMap, HeaderValue};

use crate::{
    Asked, Authentications, ServiceAccounts, credentials::Credentials, permissions, scope, services,
};

/// Header that names the environment of a request (v2 spec, section 3.3).
pub(crate) const ENVIRONMENT: &str = "x-flipt-environment";

/// Who is calling.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Caller {
    /// Indicates that nobody asked: authentication is not required, or not for this service.
    #[default]
    Unknown,
    /// Describes a caller whose credentials are good.
    Known(Arc<pb::Authentication>),
    /// Describes a service account whose token is good.
    ServiceAccount(Arc<ServiceAccount>),
}

/// A service account that calls.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceAccount {
    /// Who it is, and what it may do.
    pub caller: Arc<flipt_identity::Caller>,
    /// The same as credentials.
    pub authentication: pb::Authentication,
}

impl Caller {
    /// The caller's credentials.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] if nobody asked for them.
    pub fn require(&self) -> Result<&pb::Authentication, Error> {
        match self {
            Self::Known(authentication) => Ok(authentication),
            Self::ServiceAccount(account) => Ok(&account.authentication),
            Self::Unknown => Err(refusal()),
        }
    }
}

/// The failure that every caller without good credentials gets, whatever is wrong with them.
#[must_use]
pub fn refusal() -> Error {
    let message = "request was not authenticated";
    Error { challenge: Some(message.to_owned()), ..Error::new(Code::Unauthenticated, message) }
}

fn refuse(service: &str, reason: &str) -> Error {
    tracing::error!(grpc.service = service, reason, "unauthenticated");
    refusal()
}

/// Decides whether calls may go on.
///
/// # Expected flow
/// 1. [`Guard::authenticate`], as soon as it is known which service a request is for.
/// 2. If it [`Guard::asks_for_request`], [`Guard::check`] with the decoded request.
/// 3. Only then validation and the call itself (api spec, section 1.10).
///
/// # Guarantees
/// - A service that is not known to be open is closed.
/// - What a refused caller is told does not depend on what was wrong, but for service account tokens: what is
///   wrong with them is no secret to who holds one.
#[derive(Clone)]
pub struct Guard {
    authentications: Authentications,
    /// Keys of environments besides the default one.
    others: Arc<BTreeSet<String>>,
}

impl Guard {
    /// Decides with these credentials; tokens of one namespace mean one of the default environment, not of
    /// `others`.
    #[must_use]
    pub fn new<'a>(authentications: Authentications, others: impl IntoIterator<Item = &'a str>) -> Self {
        let others = others.into_iter().map(str::to_owned).collect();
        Self { authentications, others: Arc::new(others) }
    }

    /// Whether a service is closed to callers without good credentials.
    #[must_use]
    pub fn needs_credentials(&self, service: &str) -> bool {
        let config = self.authentications.config();
        config.required && services::needs_credentials(service, config.exclude)
    }

    /// Finds out who calls a service.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`]; [`Code::Unavailable`] if credentials cannot be checked at the moment.
    pub async fn authenticate(&self, service: &str, metadata: &HeaderMap) -> Result<Caller, Error> {
        if !self.needs_credentials(service) {
            return Ok(Caller::Unknown);
        }
        match Credentials::of(metadata) {
            Credentials::ClientToken(token) => {
                if let Some(accounts) = self.authentications.service_accounts()
                    && flipt_identity::is_service_account_token(&token)
                {
                    return Self::service_account(accounts, &token, service).await;
                }
                match self.authentications.of_client_token(&token).await? {
                    Ok(authentication) => Ok(Caller::Known(Arc::new(authentication))),
                    Err(reason) => Err(refuse(service, reason)),
                }
            }
            Credentials::Nothing => Err(refuse(service, "no credentials of an accepted kind")),
        }
    }

    async fn service_account(
        accounts: &ServiceAccounts,
        token: &str,
        service: &str,
    ) -> Result<Caller, Error> {
        let caller = accounts.verify(token).await.inspect_err(|error| {
            tracing::warn!(grpc.service = service, reason = %error, "service account token not accepted");
        })?;
        let authentication = flipt_serving::authentication(&caller, token);
        Ok(Caller::ServiceAccount(Arc::new(ServiceAccount { caller, authentication })))
    }

    /// Whether the decision about this caller depends on what it asks of a service.
    #[must_use]
    pub fn asks_for_request(&self, caller: &Caller, service: &str) -> bool {
        match caller {
            Caller::Unknown => false,
            Caller::Known(authentication) => scope::of(authentication).is_some(),
            Caller::ServiceAccount(account) => !permissions::may_do_anything(&account.caller, service),
        }
    }

    /// Decides whether an authenticated caller may ask this of a service.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for tokens of one namespace, as Flipt answers it; [`Code::PermissionDenied`] for
    /// service accounts.
    pub fn check(
        &self,
        caller: &Caller,
        service: &str,
        metadata: &HeaderMap,
        asked: &Asked,
    ) -> Result<(), Error> {
        let authentication = match caller {
            Caller::Unknown => return Ok(()),
            Caller::Known(authentication) => authentication,
            Caller::ServiceAccount(account) => {
                return permissions::check(&account.caller, service, metadata, asked, &self.others)
                    .inspect_err(|error| {
                        tracing::warn!(grpc.service = service, reason = %error, "service account not allowed");
                    });
            }
        };
        let Some(scope) = scope::of(authentication) else { return Ok(()) };
        let names = |value: &HeaderValue| value.to_str().is_ok_and(|key| self.others.contains(key));
        let elsewhere = || metadata.get_all(ENVIRONMENT).iter().any(names);
        match scope::objection(scope, service, asked, &self.others) {
            None if !scope.trim().is_empty() && elsewhere() => {
                Err(refuse(service, "the token is bound to a namespace of the default environment"))
            }
            None => Ok(()),
            Some(reason) => Err(refuse(service, reason)),
        }
    }

    /// Whether a service answers at all: those of methods do while their method is enabled.
    #[must_use]
    pub fn offers(&self, service: &str) -> bool {
        self.authentications.offers(service)
    }
}
