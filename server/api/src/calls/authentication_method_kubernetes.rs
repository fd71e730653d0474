//! All calls of `flipt.auth.AuthenticationMethodKubernetesService`, with their REST paths (api spec, section 2.3).

use flipt_proto::auth::{
    self as pb, authentication_method_kubernetes_service_server::AuthenticationMethodKubernetesService,
};

use crate::{authentications, calls::calls};

calls! {
    impl AuthenticationMethodKubernetesService as "flipt.auth.AuthenticationMethodKubernetesService" below "auth/v1/";

    verify_service_account(pb::VerifyServiceAccountRequest) -> pb::VerifyServiceAccountResponse
        = authentications::verify_service_account,
        body POST "method/kubernetes/serviceaccount";
}
