//! What the application is told by its environment.

use std::time::Duration;

use serde_json::json;

use crate::Question;

/// What the application is told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where the sidecar is, `http://host:port`.
    pub(crate) url: String,
    /// File with the token of this pod.
    pub(crate) token_file: String,
    /// Pause between two evaluations.
    pub(crate) pause: Duration,
    namespace: String,
    flag: String,
}

impl Settings {
    pub(crate) fn of_environment() -> Self {
        let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        Self {
            url: variable("FLIPT_URL", ""),
            token_file: variable("FLIPT_TOKEN_FILE", ""),
            pause: Duration::from_millis(variable("APP_PAUSE_MS", "10").parse().unwrap_or(10)),
            namespace: variable("APP_NAMESPACE", "default"),
            flag: variable("APP_FLAG", "banner"),
        }
    }

    /// The evaluation that is done again and again.
    pub(crate) fn question(&self) -> Question {
        Question {
            method: "POST".to_owned(),
            path: "/evaluate/v1/boolean".to_owned(),
            body: json!({
                "namespaceKey": self.namespace, "flagKey": self.flag, "entityId": "app", "context": {},
            }),
            token: None,
        }
    }
}
