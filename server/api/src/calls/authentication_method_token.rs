//! All calls of `flipt.auth.AuthenticationMethodTokenService`, with their REST paths (api spec, section 2.3).

use flipt_proto::auth::{
    self as pb, authentication_method_token_service_server::AuthenticationMethodTokenService,
};

use crate::{authentications, calls::calls};

calls! {
    impl AuthenticationMethodTokenService as "flipt.auth.AuthenticationMethodTokenService" below "auth/v1/";

    create_token(pb::CreateTokenRequest) -> pb::CreateTokenResponse = authentications::create_token,
        body POST "method/token";
}
