//! All calls of `flipt.auth.AuthenticationService`, with their REST paths (api spec, section 2.3).

use flipt_proto::auth::{self as pb, authentication_service_server::AuthenticationService};

use crate::{authentications, calls::calls};

calls! {
    impl AuthenticationService as "flipt.auth.AuthenticationService" below "auth/v1/";

    get_authentication_self(()) -> pb::Authentication = authentications::of_caller(caller),
        query GET "self";
    expire_authentication_self(pb::ExpireAuthenticationSelfRequest) -> () = authentications::expire(caller),
        query PUT "self/expire";
    list_authentications(pb::ListAuthenticationsRequest) -> pb::ListAuthenticationsResponse
        = authentications::list,
        query GET "tokens";
    get_authentication(pb::GetAuthenticationRequest) -> pb::Authentication = authentications::get,
        query GET "tokens/{id}";
    delete_authentication(pb::DeleteAuthenticationRequest) -> () = authentications::delete,
        query DELETE "tokens/{id}";
}
