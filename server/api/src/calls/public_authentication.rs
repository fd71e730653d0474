//! All calls of `flipt.auth.PublicAuthenticationService`, with their REST paths (api spec, section 2.3).

use flipt_proto::auth::{
    ListAuthenticationMethodsResponse, public_authentication_service_server::PublicAuthenticationService,
};

use crate::{authentications, calls::calls};

calls! {
    impl PublicAuthenticationService as "flipt.auth.PublicAuthenticationService" below "auth/v1/";

    list_authentication_methods(()) -> ListAuthenticationMethodsResponse = authentications::methods,
        query GET "method";
}
