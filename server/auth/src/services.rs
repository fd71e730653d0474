//! Which services need credentials, and which accept tokens of one namespace (auth spec, section 4).

use flipt_config::Exclude;

/// Whether a service needs credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Indicates a service for callers that have none yet, or for machines that never will.
    Never,
    /// Indicates the management of flags.
    UnlessManagementIsExcluded,
    /// Indicates evaluation and snapshots.
    UnlessEvaluationIsExcluded,
    /// Indicates OFREP.
    UnlessOfrepIsExcluded,
    /// Indicates everything else: a service that nobody thought of here is closed.
    Always,
}

fn need(service: &str) -> Need {
    match service {
        "grpc.health.v1.Health"
        | "grpc.reflection.v1.ServerReflection"
        | "grpc.reflection.v1alpha.ServerReflection"
        | "flipt.auth.PublicAuthenticationService"
        | "flipt.auth.AuthenticationMethodOIDCService"
        | "flipt.auth.AuthenticationMethodGithubService"
        | "flipt.auth.AuthenticationMethodKubernetesService" => Need::Never,
        "flipt.Flipt" => Need::UnlessManagementIsExcluded,
        "flipt.evaluation.EvaluationService"
        | "flipt.evaluation.DataService"
        | "evaluation.ClientEvaluationService" => Need::UnlessEvaluationIsExcluded,
        "flipt.ofrep.OFREPService" => Need::UnlessOfrepIsExcluded,
        _ => Need::Always,
    }
}

/// Whether callers of a service must show credentials, where authentication is required at all.
pub(crate) fn needs_credentials(service: &str, exclude: Exclude) -> bool {
    match need(service) {
        Need::Never => false,
        Need::UnlessManagementIsExcluded => !exclude.management,
        Need::UnlessEvaluationIsExcluded => !exclude.evaluation,
        Need::UnlessOfrepIsExcluded => !exclude.ofrep,
        Need::Always => true,
    }
}

/// Whether nobody ever needs credentials for a service.
pub(crate) fn is_public(service: &str) -> bool {
    need(service) == Need::Never
}

/// Services that a token of one namespace may be used for.
pub(crate) const SCOPED: [&str; 4] = [
    "flipt.Flipt",
    "flipt.evaluation.EvaluationService",
    "flipt.evaluation.DataService",
    "evaluation.ClientEvaluationService",
];

/// Whether a token of one namespace may be used for a service.
pub(crate) fn accepts_scoped_tokens(service: &str) -> bool {
    SCOPED.contains(&service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_nobody_thought_of_is_closed() {
        let exclude = Exclude { management: true, evaluation: true, ofrep: true };
        for service in ["flipt.meta.MetadataService", "flipt.auth.AuthenticationService", "a.b.C", ""] {
            assert!(needs_credentials(service, exclude), "{service}");
            assert!(!accepts_scoped_tokens(service), "{service}");
        }
        assert!(!needs_credentials("flipt.Flipt", exclude));
    }
}
