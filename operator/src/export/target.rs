//! The server of an export: where it is, what it accepts, whether the export may read it.

use flipt_crds::{FliptServer, FliptSnapshotExport, GrantedKind, NamespacesFrom, Reason};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};

use super::{
    Failure,
    conditions::Refusal,
    cronjob::{Credentials, Target},
};
use crate::{
    context::Context,
    grants::{Applicant, allows},
};

/// Audience of tokens for a server that does not say otherwise.
const DEFAULT_AUDIENCE: &str = "flipt-server";

/// What became of the reference to a server.
pub(crate) enum Resolved {
    /// The export may read it.
    Granted(Target, Box<FliptServer>),
    /// It may not, or cannot. With a target, what is there already is kept, but runs no longer.
    Refused {
        /// The server all the same.
        target: Option<Target>,
        /// Why not.
        refusal: Refusal,
    },
}

fn refused(reason: Reason, message: String) -> Resolved {
    Resolved::Refused { target: None, refusal: Refusal::new(reason, message) }
}

/// The server of an export.
///
/// # Errors
/// The API server did not answer.
pub(crate) async fn of(context: &Context, export: &FliptSnapshotExport) -> Result<Resolved, Failure> {
    let place = Place::of(export);
    let own = export.namespace().unwrap_or_default();
    let named = format!("{}/{}", place.namespace, place.server);
    let servers: Api<FliptServer> = Api::namespaced(context.client.clone(), &place.namespace);
    let Some(server) = servers.get_opt(&place.server).await? else {
        return Ok(refused(Reason::ServerNotFound, format!("there is no FliptServer {named}")));
    };
    let granted = granted(context, &server, export).await?;
    Ok(describe(server, &own, granted))
}

/// Whether a server allows an export of this namespace, and of what it exports.
async fn granted(
    context: &Context,
    server: &FliptServer,
    export: &FliptSnapshotExport,
) -> Result<bool, Failure> {
    let own = export.namespace().unwrap_or_default();
    let entries = &server.spec.allowed_namespaces;
    let labels = if entries.iter().any(|entry| entry.from == NamespacesFrom::Selector) {
        let namespaces: Api<Namespace> = Api::all(context.client.clone());
        namespaces.get_opt(&own).await?.map(|namespace| namespace.metadata.labels.unwrap_or_default())
    } else {
        None
    };
    // A `*` of the export is a character here, which only a `*` of the grant covers.
    Ok(export.spec.namespaces.iter().all(|key| {
        let applicant = Applicant {
            kind: GrantedKind::FliptSnapshotExport,
            namespace: &own,
            labels: labels.as_ref(),
            flipt_namespace: key,
        };
        allows(entries, &server.namespace().unwrap_or_default(), applicant)
    }))
}

/// The server as an exporter in namespace `own` reaches it.
fn describe(server: FliptServer, own: &str, granted: bool) -> Resolved {
    let namespace = server.namespace().unwrap_or_default();
    let named = format!("{namespace}/{}", server.name_any());
    let external = server.spec.external.as_ref();
    let url = match (external, server.status.as_ref().and_then(|status| status.url.clone())) {
        (Some(external), _) => external.url.clone(),
        (None, Some(url)) => url,
        (None, None) => {
            return refused(Reason::ServerUnavailable, format!("FliptServer {named} has no address yet"));
        }
    };
    let auth = &server.spec.auth;
    let credentials = match (&auth.service_account_token, &auth.token_secret_ref) {
        (Some(token), _) => Credentials::ServiceAccount { audience: token.audience.clone() },
        (None, Some(secret)) => Credentials::Secret(secret.clone()),
        // A managed server lets nobody in without credentials.
        (None, None) if server.spec.managed.is_some() => {
            Credentials::ServiceAccount { audience: DEFAULT_AUDIENCE.to_owned() }
        }
        (None, None) => Credentials::None,
    };
    let ca = external.and_then(|external| external.ca_secret_ref.clone());
    let is_elsewhere = namespace != own;
    let target = Target { url, credentials, ca };
    if !granted {
        return Resolved::Refused {
            target: (!is_elsewhere || !needs_secrets(&target)).then_some(target),
            refusal: Refusal::new(
                Reason::NotGranted,
                format!(
                    "FliptServer {named} does not allow exports of namespace {own}; see its allowedNamespaces"
                ),
            ),
        };
    }
    if is_elsewhere && needs_secrets(&target) {
        return refused(
            Reason::ReferenceNotFound,
            format!(
                "FliptServer {named} names a Secret, which pods in namespace {own} cannot mount: put the export into \
                 namespace {namespace}"
            ),
        );
    }
    Resolved::Granted(target, Box::new(server))
}

fn needs_secrets(target: &Target) -> bool {
    target.ca.is_some() || matches!(target.credentials, Credentials::Secret(_))
}

/// An environment of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Namespace of the server.
    pub(crate) namespace: String,
    /// Name of the server.
    pub(crate) server: String,
    /// Environment.
    pub(crate) environment: String,
}

impl Place {
    /// What an export reads.
    pub(crate) fn of(export: &FliptSnapshotExport) -> Self {
        let reference = &export.spec.server_ref;
        Self {
            namespace: reference.namespace.clone().or_else(|| export.namespace()).unwrap_or_default(),
            server: reference.name.clone(),
            environment: export.spec.environment.clone(),
        }
    }

    /// Whether an export reads it.
    pub(crate) fn is_of(&self, export: &FliptSnapshotExport) -> bool {
        Self::of(export) == *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(spec: &str, status: &str) -> FliptServer {
        yaml_serde::from_str(&format!(
            "apiVersion: flipt.io/v1alpha1\nkind: FliptServer\nmetadata: {{name: main, namespace: flipt-system}}\n\
             spec: {spec}\nstatus: {status}\n"
        ))
        .unwrap()
    }

    fn granted(resolved: Resolved) -> Target {
        match resolved {
            Resolved::Granted(target, _) => target,
            Resolved::Refused { refusal, .. } => panic!("{refusal:?}"),
        }
    }

    fn reason(resolved: Resolved) -> Reason {
        match resolved {
            Resolved::Granted(target, _) => panic!("{target:?}"),
            Resolved::Refused { refusal, .. } => refusal.reason,
        }
    }

    const MANAGED: &str = "{managed: {database: {urlSecretRef: {name: db, key: url}}}}";

    #[test]
    fn a_managed_server_is_reached_where_its_status_says() {
        let target =
            granted(describe(server(MANAGED, "{url: 'http://main.flipt-system.svc:8080'}"), "shop", true));
        assert_eq!(target.url, "http://main.flipt-system.svc:8080");
        assert_eq!(target.credentials, Credentials::ServiceAccount { audience: "flipt-server".to_owned() });
        assert_eq!(reason(describe(server(MANAGED, "{}"), "shop", true)), Reason::ServerUnavailable);
    }

    #[test]
    fn secrets_of_another_namespace_cannot_be_mounted() {
        let spec = "{external: {url: 'https://flipt', caSecretRef: {name: ca, key: ca.crt}}}";
        assert!(granted(describe(server(spec, "{}"), "flipt-system", true)).ca.is_some());
        assert_eq!(reason(describe(server(spec, "{}"), "shop", true)), Reason::ReferenceNotFound);
        let spec = "{external: {url: 'https://flipt'}, auth: {tokenSecretRef: {name: t, key: t}}}";
        assert_eq!(reason(describe(server(spec, "{}"), "shop", true)), Reason::ReferenceNotFound);
    }

    #[test]
    fn what_is_not_granted_any_more_is_kept_without_running() {
        let spec = "{external: {url: 'https://flipt'}}";
        let Resolved::Refused { target, refusal } = describe(server(spec, "{}"), "shop", false) else {
            panic!()
        };
        assert_eq!((target.unwrap().credentials, refusal.reason), (Credentials::None, Reason::NotGranted));
    }
}
