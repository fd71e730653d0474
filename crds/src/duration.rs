//! Time spans, as the command lines of server and sidecar spell them.

use std::{borrow::Cow, fmt, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A time span such as `500ms`, `15s`, `5m` or `1h`; keeps its spelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    text: String,
    value: time::Duration,
}

/// A text that is no time span.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no duration such as 500ms, 15s, 5m or 1h")]
pub struct InvalidDuration(String);

impl Duration {
    /// So many seconds.
    #[must_use]
    pub fn from_secs(seconds: u32) -> Self {
        Self { text: format!("{seconds}s"), value: time::Duration::from_secs(seconds.into()) }
    }

    /// So many minutes.
    #[must_use]
    pub fn from_minutes(minutes: u16) -> Self {
        Self { text: format!("{minutes}m"), value: time::Duration::from_secs(60 * u64::from(minutes)) }
    }

    /// So many hours.
    #[must_use]
    pub fn from_hours(hours: u16) -> Self {
        Self { text: format!("{hours}h"), value: time::Duration::from_secs(3600 * u64::from(hours)) }
    }

    /// The time span.
    #[must_use]
    pub fn get(&self) -> time::Duration {
        self.value
    }
}

impl TryFrom<String> for Duration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, InvalidDuration> {
        match parse(&text) {
            Some(value) => Ok(Self { text, value }),
            None => Err(InvalidDuration(text)),
        }
    }
}

fn parse(text: &str) -> Option<time::Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return None,
    };
    time::Duration::try_from_secs_f64(seconds).ok()
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.text
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 16, "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_keeps_its_spelling_and_knows_its_length() {
        for (text, milliseconds) in
            [("500ms", 500), ("15s", 15_000), ("1.5m", 90_000), ("1h", 3_600_000), ("0s", 0)]
        {
            let duration: Duration = serde_json::from_value(text.into()).unwrap();
            assert_eq!(duration.get(), time::Duration::from_millis(milliseconds));
            assert_eq!(serde_json::to_value(&duration).unwrap(), text);
        }
        for duration in [Duration::from_secs(5), Duration::from_minutes(7), Duration::from_hours(9)] {
            assert_eq!(Duration::try_from(duration.to_string()).unwrap(), duration);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "5", "s", "-5s", "5 s", "5d", "1h30m", "1e99h", ".s"] {
            let error = Duration::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains("such as 500ms"), "{text}: {error}");
        }
    }
}
