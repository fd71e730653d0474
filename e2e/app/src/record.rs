//! How all evaluations of an application went.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::Answer;

/// Most failures and turns that are told one by one.
const TOLD: usize = 50;

/// How all evaluations went.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    /// Number of evaluations.
    evaluations: u64,
    /// Those without a decision.
    failed: u64,
    /// The first of them.
    failures: Vec<Moment>,
    /// The slowest of those with a decision, in milliseconds.
    slowest_ms: u64,
    /// The last decision, or null.
    enabled: Value,
    /// When the decision became another one.
    turns: Vec<Moment>,
    /// Revision that the last decision was made on.
    revision: String,
}

#[derive(Debug, Serialize)]
struct Moment {
    unix_ms: u64,
    what: Value,
}

fn now(what: Value) -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment { unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), what }
}

impl Record {
    /// Takes down an answer and how long it took.
    pub(crate) fn add(&mut self, answer: &Answer, took: Duration) {
        self.evaluations += 1;
        let enabled = answer.body.get("enabled").cloned().unwrap_or_default();
        if answer.status != 200 || !enabled.is_boolean() {
            self.failed += 1;
            if self.failures.len() < TOLD {
                self.failures.push(now(serde_json::json!(answer)));
            }
            return;
        }
        self.slowest_ms = self.slowest_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if enabled != self.enabled {
            if self.turns.len() == TOLD {
                self.turns.remove(0);
            }
            self.turns.push(now(enabled.clone()));
            self.enabled = enabled;
        }
        self.revision = answer.headers.get("x-flipt-revision").cloned().unwrap_or_default();
    }
}
