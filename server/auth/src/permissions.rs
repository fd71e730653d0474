//! What service accounts may ask for: which call needs which permission, and for which namespaces (design,
//! section 3.5).

use std::collections::BTreeSet;

use flipt_identity::{Caller, Permission};
use flipt_serving::{Code, Error, http::ofrep_namespace};
use http::{HeaderMap, HeaderValue};

use crate::{Asked, guard::ENVIRONMENT, scope};

const OFREP: &str = "flipt.ofrep.OFREPService";

/// The permission that a call needs; `None` if service accounts may not call it at all. A call is named by its
/// service and the full name of its request's message.
fn needed(service: &str, message: &str) -> Option<Permission> {
    let name = message.rsplit('.').next().unwrap_or_default();
    let is_read = ["Get", "List"].iter().any(|verb| name.starts_with(verb));
    match service {
        "flipt.evaluation.EvaluationService"
        | "flipt.evaluation.DataService"
        | "evaluation.ClientEvaluationService"
        | OFREP => Some(Permission::Evaluate),
        "flipt.Flipt" if matches!(name, "EvaluationRequest" | "BatchEvaluationRequest") => {
            Some(Permission::Evaluate)
        }
        "flipt.ownership.OwnershipService" if name == "ChangesRequest" => Some(Permission::Read),
        "flipt.Flipt" | "environments.EnvironmentsService" | "flipt.ownership.OwnershipService" => {
            Some(if is_read { Permission::Read } else { Permission::Write })
        }
        "flipt.meta.MetadataService" | "flipt.analytics.AnalyticsService" => Some(Permission::Read),
        // Its own credentials, not those of others: who may create tokens would outlive its own.
        "flipt.auth.AuthenticationService"
            if matches!(message, "google.protobuf.Empty" | "flipt.auth.ExpireAuthenticationSelfRequest") =>
        {
            Some(Permission::Evaluate)
        }
        // A service that nobody thought of here is closed.
        _ => None,
    }
}

/// Whether a call is about no namespace and tells nothing of any.
fn is_about_nothing(service: &str, message: &str) -> bool {
    matches!(service, "flipt.auth.AuthenticationService" | "flipt.meta.MetadataService")
        || message == "flipt.ofrep.GetProviderConfigurationRequest"
}

/// Whether a caller may call everything of a service, whatever its requests say.
pub(crate) fn may_do_anything(caller: &Caller, service: &str) -> bool {
    let highest = match service {
        "flipt.evaluation.EvaluationService"
        | "flipt.evaluation.DataService"
        | "evaluation.ClientEvaluationService"
        | OFREP => Permission::Evaluate,
        "flipt.Flipt" | "environments.EnvironmentsService" | "flipt.ownership.OwnershipService" => {
            Permission::Write
        }
        _ => return false,
    };
    caller.allows_everywhere(highest)
}

/// Decides whether a service account may ask this of a service. One that is limited to some namespaces may only
/// name those, and only in the default environment: of the others it is told nothing.
///
/// # Errors
/// [`Code::PermissionDenied`] with the reason.
pub(crate) fn check(
    caller: &Caller,
    service: &str,
    metadata: &HeaderMap,
    asked: &Asked,
    other_environments: &BTreeSet<String>,
) -> Result<(), Error> {
    let Some(permission) = needed(service, &asked.message) else {
        return Err(refuse(caller, "may not use this service"));
    };
    if caller.allows_everywhere(permission) {
        return Ok(());
    }
    let verb = match permission {
        Permission::Evaluate => "evaluate",
        Permission::Read => "read",
        Permission::Write => "write",
    };
    if !caller.allows_somewhere(permission) {
        return Err(refuse(caller, &format!("may not {verb}: its entry of the allow-list permits less")));
    }
    if is_about_nothing(service, &asked.message) {
        return Ok(());
    }
    let Some(request) = scope::decode(asked) else { return Err(refuse(caller, "sent what cannot be read")) };
    let namespaces = if service == OFREP {
        Some(vec![ofrep_namespace(metadata).to_owned()])
    } else {
        scope::namespaces(&request)
    };
    let Some(namespaces) = namespaces else {
        return Err(refuse(caller, "may use some namespaces only, and this call is about all of them"));
    };
    if let Some(namespace) = namespaces.iter().find(|namespace| !caller.allows(namespace, permission)) {
        return Err(refuse(caller, &format!("may not {verb} namespace {namespace:?}")));
    }
    let is_other = |value: &HeaderValue| value.to_str().is_ok_and(|key| other_environments.contains(key));
    let names_other = scope::environments(&request).iter().any(|key| other_environments.contains(key))
        || metadata.get_all(ENVIRONMENT).iter().any(is_other);
    if names_other {
        return Err(refuse(caller, "may use namespaces of the default environment only"));
    }
    Ok(())
}

fn refuse(caller: &Caller, problem: &str) -> Error {
    let account = format!("{}/{}", caller.namespace, caller.service_account);
    Error::new(Code::PermissionDenied, format!("service account {account} {problem}"))
}

#[cfg(test)]
mod tests {
    use flipt_identity::{Grant, Pattern};
    use flipt_proto::{evaluation, flipt, ownership};
    use prost::{Message, Name};
    use std::time::SystemTime;

    use super::*;

    fn caller(permission: Permission, namespaces: &[&str]) -> Caller {
        Caller {
            namespace: "shop".into(),
            service_account: "checkout".into(),
            service_account_uid: String::new(),
            pod: None,
            issued_at: SystemTime::UNIX_EPOCH,
            expires_at: SystemTime::UNIX_EPOCH,
            grants: vec![Grant {
                flipt_namespaces: namespaces.iter().map(|key| Pattern::new(*key)).collect(),
                permission,
            }],
        }
    }

    fn may<M: Message + Name>(caller: &Caller, service: &str, message: &M) -> bool {
        let asked = Asked { message: M::full_name(), bytes: message.encode_to_vec() };
        let others = BTreeSet::from(["staging".to_owned()]);
        check(caller, service, &HeaderMap::new(), &asked, &others).is_ok()
    }

    #[test]
    fn every_call_needs_what_its_name_says() {
        for name in [
            "flipt.Flipt",
            "environments.EnvironmentsService",
            "flipt.ownership.OwnershipService",
            "flipt.evaluation.EvaluationService",
            "flipt.evaluation.DataService",
            "evaluation.ClientEvaluationService",
            "flipt.ofrep.OFREPService",
        ] {
            for (method, message) in scope::calls(name) {
                let reads = ["Get", "List", "Changes"].iter().any(|verb| method.starts_with(verb));
                let evaluates = name.contains("valuation")
                    || name.contains("ofrep")
                    || matches!(method.as_str(), "Evaluate" | "BatchEvaluate");
                let expected = if evaluates {
                    Permission::Evaluate
                } else if reads {
                    Permission::Read
                } else {
                    Permission::Write
                };
                assert_eq!(needed(name, &message), Some(expected), "{name}/{method}");
            }
        }
    }

    #[test]
    fn tokens_are_nobodys_and_unknown_services_are_closed() {
        let caller = caller(Permission::Write, &["*"]);
        for (service, message) in [
            ("flipt.auth.AuthenticationMethodTokenService", "flipt.auth.CreateTokenRequest"),
            ("flipt.auth.AuthenticationService", "flipt.auth.ListAuthenticationsRequest"),
            ("flipt.auth.AuthenticationService", "flipt.auth.DeleteAuthenticationRequest"),
            ("a.b.C", "google.protobuf.Empty"),
        ] {
            assert_eq!(needed(service, message), None, "{service} {message}");
            assert!(!may_do_anything(&caller, service), "{service}");
        }
    }

    #[test]
    fn ownership_is_limited_to_the_namespaces_that_it_names() {
        let service = "flipt.ownership.OwnershipService";
        let limited = caller(Permission::Write, &["team"]);
        let apply = |namespace: &str, desired: Option<&str>| ownership::ApplyRequest {
            namespace_key: namespace.into(),
            desired: desired.map(|key| {
                ownership::apply_request::Desired::Namespace(ownership::Namespace {
                    key: key.into(),
                    ..Default::default()
                })
            }),
            ..Default::default()
        };
        assert!(may(&limited, service, &apply("team", None)));
        assert!(!may(&limited, service, &apply("other", None)));
        assert!(may(&limited, service, &apply("", Some("team"))));
        assert!(!may(&limited, service, &apply("team", Some("other"))));
        let release = |namespace: &str, key: &str, kind: ownership::ResourceKind| ownership::ReleaseRequest {
            namespace_key: namespace.into(),
            key: key.into(),
            kind: kind.into(),
            ..Default::default()
        };
        assert!(may(&limited, service, &release("team", "flag", ownership::ResourceKind::Flag)));
        assert!(may(&limited, service, &release("", "team", ownership::ResourceKind::Namespace)));
        assert!(!may(&limited, service, &release("team", "other", ownership::ResourceKind::Namespace)));
        let list =
            |key: &str| ownership::ListManagedRequest { namespace_key: key.into(), ..Default::default() };
        assert!(may(&limited, service, &list("team")) && !may(&limited, service, &list("")));
        assert!(!may(&limited, service, &ownership::ChangesRequest::default()));
        let all = caller(Permission::Write, &["*"]);
        assert!(may(&all, service, &list("")) && may(&all, service, &ownership::ChangesRequest::default()));
    }

    #[test]
    fn limited_callers_stay_in_the_default_environment() {
        let request = |environment: &str| evaluation::EvaluationRequest {
            namespace_key: "team".into(),
            environment_key: environment.into(),
            ..Default::default()
        };
        let limited = caller(Permission::Evaluate, &["team"]);
        let service = "flipt.evaluation.EvaluationService";
        assert!(may(&limited, service, &request("")) && !may(&limited, service, &request("staging")));
        assert!(may(&caller(Permission::Evaluate, &["*"]), service, &request("staging")));
    }

    #[test]
    fn a_level_includes_those_below_it_and_none_above() {
        let get = flipt::GetFlagRequest::default();
        let create = flipt::CreateFlagRequest::default();
        for (permission, reads, writes) in [
            (Permission::Evaluate, false, false),
            (Permission::Read, true, false),
            (Permission::Write, true, true),
        ] {
            let caller = caller(permission, &["default"]);
            assert_eq!(
                (may(&caller, "flipt.Flipt", &get), may(&caller, "flipt.Flipt", &create)),
                (reads, writes)
            );
            assert!(may(&caller, "flipt.Flipt", &flipt::EvaluationRequest::default()));
        }
    }
}
