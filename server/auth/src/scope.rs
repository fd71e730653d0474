//! Tokens that are good for one namespace only (auth spec, section 6.3).

use std::{collections::BTreeSet, sync::LazyLock};

use flipt_proto::{auth as pb, ownership::ResourceKind};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

use crate::{services, static_token};

/// What stands for a namespace that a request does not name.
const DEFAULT: &str = "default";

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(flipt_proto::DESCRIPTORS).unwrap_or_else(|error| {
        tracing::error!(error = %error, "embedded descriptors cannot be read");
        DescriptorPool::new()
    })
});

/// A request message, in whatever way it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Full name of the message.
    pub message: String,
    /// The message as protobuf.
    pub bytes: Vec<u8>,
}

/// Full name of the request message of a gRPC method; `None` for a method that this product does not have.
pub(crate) fn request_of(service: &str, method: &str) -> Option<String> {
    let service = POOL.get_service_by_name(service)?;
    let method = service.methods().find(|known| known.name() == method)?;
    Some(method.input().full_name().to_owned())
}

/// Whether this product has a service.
pub(crate) fn has_service(service: &str) -> bool {
    POOL.get_service_by_name(service).is_some()
}

/// The namespace that credentials are bound to, if they are bound.
pub(crate) fn of(authentication: &pb::Authentication) -> Option<&str> {
    if authentication.method != pb::Method::Token as i32 {
        return None;
    }
    authentication.metadata.get(static_token::NAMESPACE).map(String::as_str)
}

/// Why credentials bound to this namespace may not be used for a request of a service; `None` if they may.
/// The order of the checks is part of the contract.
pub(crate) fn objection(
    scope: &str,
    service: &str,
    asked: &Asked,
    other_environments: &BTreeSet<String>,
) -> Option<&'static str> {
    if !services::accepts_scoped_tokens(service) {
        return Some("the token is bound to a namespace, which this service does not accept");
    }
    if scope.trim().is_empty() {
        return None;
    }
    let Some(request) = decode(asked) else { return Some("the request cannot be read") };
    let Some(namespace) = namespace(&request) else {
        return Some("the token is bound to a namespace, and the request is not about exactly one");
    };
    if namespace != scope {
        return Some("the token is bound to another namespace");
    }
    environments(&request)
        .iter()
        .any(|key| other_environments.contains(key))
        .then_some("the token is bound to a namespace of the default environment")
}

pub(crate) fn decode(asked: &Asked) -> Option<DynamicMessage> {
    let descriptor = POOL.get_message_by_name(&asked.message)?;
    DynamicMessage::decode(descriptor, asked.bytes.as_slice()).ok()
}

/// The environments that a request names.
pub(crate) fn environments(message: &DynamicMessage) -> Vec<String> {
    let named =
        |message: &DynamicMessage| message.get_field_by_name("environment_key")?.as_str().map(str::to_owned);
    let entries = message.get_field_by_name("requests");
    let entries = entries.iter().filter_map(|entries| entries.as_list()).flatten();
    entries.filter_map(Value::as_message).chain([message]).filter_map(named).collect()
}

/// All namespaces that a request is about; `None` if it is not about certain ones.
pub(crate) fn namespaces(message: &DynamicMessage) -> Option<Vec<String>> {
    let one = |namespace: Option<String>| namespace.map(|namespace| vec![namespace]);
    match message.descriptor().full_name() {
        "flipt.evaluation.BatchEvaluationRequest" => {
            let entries = message.get_field_by_name("requests")?;
            let entries = entries.as_list()?.iter();
            let all: Option<Vec<String>> =
                entries.map(|entry| text(entry.as_message()?, "namespace_key")).collect();
            all.filter(|all| !all.is_empty())
        }
        "environments.GetNamespaceRequest"
        | "environments.UpdateNamespaceRequest"
        | "environments.DeleteNamespaceRequest" => one(text(message, "key")),
        // Who claims a namespace names it like any other resource.
        "flipt.ownership.ApplyRequest" if message.has_field_by_name("namespace") => {
            let desired = message.get_field_by_name("namespace")?;
            one(text(desired.as_message()?, "key"))
        }
        "flipt.ownership.ReleaseRequest"
            if message.get_field_by_name("kind")?.as_enum_number()
                == Some(ResourceKind::Namespace as i32) =>
        {
            one(text(message, "key"))
        }
        // An empty namespace means all of them here.
        "flipt.ownership.ListManagedRequest" => {
            let key = message.get_field_by_name("namespace_key")?.as_str()?.to_owned();
            (!key.is_empty()).then(|| vec![key])
        }
        _ => one(namespace(message)),
    }
}

/// The one namespace that a request is about.
fn namespace(message: &DynamicMessage) -> Option<String> {
    match message.descriptor().full_name() {
        "flipt.evaluation.BatchEvaluationRequest" => {
            let entries = message.get_field_by_name("requests")?;
            let mut namespaces =
                entries.as_list()?.iter().map(|entry| text(entry.as_message()?, "namespace_key"));
            let first = namespaces.next()??;
            namespaces.all(|other| other.as_ref() == Some(&first)).then_some(first)
        }
        "flipt.GetNamespaceRequest"
        | "flipt.CreateNamespaceRequest"
        | "flipt.UpdateNamespaceRequest"
        | "flipt.DeleteNamespaceRequest"
        | "flipt.evaluation.EvaluationNamespaceSnapshotRequest"
        | "evaluation.EvaluationNamespaceSnapshotRequest"
        | "evaluation.EvaluationNamespaceSnapshotStreamRequest" => text(message, "key"),
        _ => text(message, "namespace_key"),
    }
}

/// The value of a namespace field; the default namespace if it is empty, `None` if there is no such field.
fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    match message.get_field_by_name(field)?.as_ref() {
        Value::String(text) if text.is_empty() => Some(DEFAULT.to_owned()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Every method of a service with the full name of its request's message.
#[cfg(test)]
pub(crate) fn calls(service: &str) -> Vec<(String, String)> {
    let service = POOL.get_service_by_name(service).unwrap();
    let name = |method: prost_reflect::MethodDescriptor| {
        (method.name().to_owned(), method.input().full_name().to_owned())
    };
    service.methods().map(name).collect()
}

#[cfg(test)]
mod tests {
    use flipt_proto::{evaluation, flipt};
    use prost::{Message, Name};

    use super::*;

    fn asked<M: Message + Name>(message: &M) -> Asked {
        Asked { message: M::full_name(), bytes: message.encode_to_vec() }
    }

    fn may<M: Message + Name>(scope: &str, message: &M) -> bool {
        objection(scope, "flipt.Flipt", &asked(message), &BTreeSet::from(["staging".to_owned()])).is_none()
    }

    #[test]
    fn a_namespace_of_another_environment_is_another_namespace() {
        let request = |environment: &str| evaluation::EvaluationRequest {
            environment_key: environment.to_owned(),
            ..Default::default()
        };
        let batch = |environment: &str| evaluation::BatchEvaluationRequest {
            requests: vec![request(""), request(environment)],
            ..Default::default()
        };
        assert!(may("default", &request("default")) && may("default", &batch("default")));
        assert!(!may("default", &request("staging")));
        assert!(!may("default", &batch("staging")));
    }

    #[test]
    fn an_empty_namespace_is_the_default_one() {
        let request = flipt::GetFlagRequest::default();
        assert!(may("default", &request));
        assert!(!may("team", &request));
        assert!(may("team", &flipt::DeleteNamespaceRequest { key: "team".into(), ..Default::default() }));
        assert!(may(
            "team",
            &evaluation::EvaluationNamespaceSnapshotRequest { key: "team".into(), ..Default::default() }
        ));
    }

    #[test]
    fn requests_about_no_namespace_are_refused() {
        assert!(!may("default", &flipt::ListNamespaceRequest::default()));
        assert!(objection("default", "flipt.meta.MetadataService", &asked(&()), &BTreeSet::new()).is_some());
    }

    #[test]
    fn a_blank_scope_binds_to_nothing_but_the_services() {
        assert!(may(" ", &flipt::ListNamespaceRequest::default()));
        assert!(objection(" ", "flipt.ofrep.OFREPService", &asked(&()), &BTreeSet::new()).is_some());
    }

    #[test]
    fn every_entry_of_a_batch_counts_and_an_empty_one_is_refused() {
        let batch = |namespaces: &[&str]| evaluation::BatchEvaluationRequest {
            requests: namespaces
                .iter()
                .map(|key| evaluation::EvaluationRequest {
                    namespace_key: (*key).to_owned(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        assert!(may("default", &batch(&["", "default"])));
        assert!(!may("default", &batch(&["", "team"])));
        assert!(!may("default", &batch(&[])));
        // The deprecated batch has a namespace of its own.
        assert!(may("default", &flipt::BatchEvaluationRequest::default()));
    }

    #[test]
    fn every_request_that_a_bound_token_could_be_used_for_is_understood() {
        // What has neither field would be refused for no reason that its caller could see.
        for name in services::SCOPED {
            for method in POOL.get_service_by_name(name).unwrap().methods() {
                if method.name() == "ListNamespaces" || method.name() == "Batch" {
                    continue;
                }
                let asked = Asked { message: method.input().full_name().to_owned(), bytes: Vec::new() };
                let namespace = namespace(&decode(&asked).unwrap());
                assert_eq!(namespace.as_deref(), Some("default"), "{}", method.full_name());
            }
        }
    }
}
