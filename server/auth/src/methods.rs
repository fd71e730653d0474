//! The methods by which callers may prove who they are (api spec, section 8.3).

use flipt_proto::auth as pb;
use prost_types::{Struct, Value, value::Kind};

use crate::Authentications;

/// Service that exchanges service account tokens.
const KUBERNETES_SERVICE: &str = "flipt.auth.AuthenticationMethodKubernetesService";
/// Service of static tokens.
const TOKEN_SERVICE: &str = "flipt.auth.AuthenticationMethodTokenService";

impl Authentications {
    /// All methods, enabled or not, in the order that clients know.
    #[must_use]
    pub fn methods(&self) -> pb::ListAuthenticationMethodsResponse {
        let github = "/auth/v1/method/github";
        let info = |method: pb::Method, enabled, metadata: Option<Struct>| pb::MethodInfo {
            method: method.into(),
            enabled,
            // Those that browsers log in with say where.
            session_compatible: metadata.is_some(),
            metadata,
        };
        let paths = object([
            ("authorize_url", text(&format!("{github}/authorize"))),
            ("callback_url", text(&format!("{github}/callback"))),
        ]);
        let providers = object([("providers", Kind::StructValue(Struct::default()))]);
        pb::ListAuthenticationMethodsResponse {
            methods: vec![
                info(pb::Method::Token, self.config().token.is_some(), None),
                info(pb::Method::Github, false, Some(paths)),
                info(pb::Method::Oidc, false, Some(providers)),
                info(pb::Method::Kubernetes, self.service_accounts().is_some(), None),
                info(pb::Method::Jwt, false, None),
            ],
        }
    }

    /// Whether a service answers at all: those of methods do while their method is enabled.
    #[must_use]
    pub fn offers(&self, service: &str) -> bool {
        match service {
            TOKEN_SERVICE => self.config().token.is_some(),
            KUBERNETES_SERVICE => self.service_accounts().is_some(),
            _ => !service.starts_with("flipt.auth.AuthenticationMethod"),
        }
    }
}

fn text(value: &str) -> Kind {
    Kind::StringValue(value.to_owned())
}

fn object<const N: usize>(members: [(&str, Kind); N]) -> Struct {
    let fields = members.into_iter().map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) }));
    Struct { fields: fields.collect() }
}
