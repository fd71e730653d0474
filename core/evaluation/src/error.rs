//! Why an evaluation gave no value.

use flipt_model::FlagType;

/// Why an evaluation gave no value. The texts are those that v1 clients see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Indicates that the snapshot has no such namespace.
    #[error("namespace \"{namespace}\" not found")]
    NamespaceNotFound {
        /// Key as requested.
        namespace: String,
    },
    /// Indicates that the namespace has no such flag.
    #[error("flag \"{}\" not found", path(.namespace, .flag))]
    FlagNotFound {
        /// Key of the namespace.
        namespace: String,
        /// Key as requested.
        flag: String,
    },
    /// Indicates that the flag is of this type, which is not the one asked for.
    #[error("flag type {0} invalid")]
    WrongFlagType(FlagType),
    /// Indicates that a rule's rank, the one given, is lower than that of the rule before.
    #[error("rule rank: {0} detected out of order")]
    RuleRankOutOfOrder(i32),
    /// Indicates that a rollout's rank, the one given, is lower than that of the rollout before.
    #[error("rollout rank: {0} detected out of order")]
    RolloutRankOutOfOrder(i32),
    /// Indicates that a segment in question has a constraint of a type without meaning.
    #[error("unknown constraint type")]
    UnknownConstraintType,
}

/// With an empty flag key, v1 names the namespace alone.
fn path(namespace: &str, flag: &str) -> String {
    if flag.is_empty() { namespace.to_owned() } else { format!("{namespace}/{flag}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_v1() {
        let flag_not_found =
            |flag: &str| EvaluationError::FlagNotFound { namespace: "default".into(), flag: flag.into() };
        for (error, text) in [
            (
                EvaluationError::NamespaceNotFound { namespace: "nope".into() },
                r#"namespace "nope" not found"#,
            ),
            (flag_not_found("f"), r#"flag "default/f" not found"#),
            (flag_not_found(""), r#"flag "default" not found"#),
            (EvaluationError::WrongFlagType(FlagType::Boolean), "flag type BOOLEAN_FLAG_TYPE invalid"),
            (EvaluationError::WrongFlagType(FlagType::Other(3)), "flag type 3 invalid"),
            (EvaluationError::RuleRankOutOfOrder(0), "rule rank: 0 detected out of order"),
            (EvaluationError::RolloutRankOutOfOrder(-1), "rollout rank: -1 detected out of order"),
            (EvaluationError::UnknownConstraintType, "unknown constraint type"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
