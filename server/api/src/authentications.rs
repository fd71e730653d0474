//! Credentials, and the methods that give them.

use flipt_auth::Caller;
use flipt_proto::auth as pb;
use flipt_serving::Error;

use crate::Api;

#[allow(clippy::unused_async)]
pub(crate) async fn methods(api: &Api, (): &()) -> Result<pb::ListAuthenticationMethodsResponse, Error> {
    Ok(api.authentications.methods())
}

#[allow(clippy::unused_async)]
pub(crate) async fn of_caller(_: &Api, caller: &Caller, (): &()) -> Result<pb::Authentication, Error> {
    caller.require().cloned()
}

pub(crate) async fn expire(
    api: &Api,
    caller: &Caller,
    request: &pb::ExpireAuthenticationSelfRequest,
) -> Result<(), Error> {
    api.authentications.expire(caller.require()?, request).await
}

pub(crate) async fn list(
    api: &Api,
    request: &pb::ListAuthenticationsRequest,
) -> Result<pb::ListAuthenticationsResponse, Error> {
    api.authentications.list(request).await
}

pub(crate) async fn get(
    api: &Api,
    request: &pb::GetAuthenticationRequest,
) -> Result<pb::Authentication, Error> {
    api.authentications.get(request).await
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteAuthenticationRequest) -> Result<(), Error> {
    api.authentications.delete(request).await
}

pub(crate) async fn create_token(
    api: &Api,
    request: &pb::CreateTokenRequest,
) -> Result<pb::CreateTokenResponse, Error> {
    api.authentications.create_token(request).await
}

pub(crate) async fn verify_service_account(
    api: &Api,
    request: &pb::VerifyServiceAccountRequest,
) -> Result<pb::VerifyServiceAccountResponse, Error> {
    api.authentications.verify_service_account(request).await
}
