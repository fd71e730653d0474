//! What an export left behind: exit code and termination message of its container.

use flipt_crds::{ExportedSnapshot, condition::MAX_MESSAGE_BYTES};
use k8s_openapi::api::core::v1::ContainerStateTerminated;
use serde::Deserialize;

/// Longest reason of a failure.
const MAX_REASON_BYTES: usize = 64;

/// Longest text that is taken over into a status.
const MAX_TEXT_BYTES: usize = 1024;

/// Exit code of an export that lost the race to a newer revision.
pub(crate) const OVERTAKEN: i32 = 6;

/// How an export ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The state is published, or a newer one that another writer was faster with: this one. Without a snapshot: the
    /// export did not say.
    Published(Option<ExportedSnapshot>),
    /// Nothing was published.
    Failed {
        /// In one word.
        reason: String,
        /// In a sentence.
        message: String,
    },
}

/// The line that an exporter writes. Newer exporters may say more.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Receipt {
    revision: Option<i64>,
    epoch: Option<String>,
    digest: Option<String>,
    object_key: Option<String>,
    size: Option<i64>,
    flags: Option<i64>,
    namespaces: Option<i64>,
    changed: Option<bool>,
    reason: Option<String>,
    message: Option<String>,
}

/// How the container of an export ended.
pub(crate) fn outcome(terminated: &ContainerStateTerminated) -> Outcome {
    let receipt = terminated.message.as_deref().and_then(read);
    match terminated.exit_code {
        0 | OVERTAKEN => Outcome::Published(receipt.and_then(snapshot)),
        code => {
            let receipt = receipt.unwrap_or_default();
            let usual = usual_reason(code, terminated.reason.as_deref());
            let reason = receipt.reason.as_deref().and_then(word).unwrap_or_else(|| usual.to_owned());
            let message = match receipt.message.as_deref().map(str::trim) {
                Some(said) if !said.is_empty() => said.to_owned(),
                _ => match terminated.message.as_deref().map(str::trim) {
                    // No receipt, but something.
                    Some(said) if !said.is_empty() && !said.starts_with('{') => said.to_owned(),
                    _ => format!("the export ended with exit code {code}; see the log of its pod"),
                },
            };
            Outcome::Failed { reason, message: bounded(&message, MAX_MESSAGE_BYTES) }
        }
    }
}

/// The last line of the message that is a receipt.
fn read(message: &str) -> Option<Receipt> {
    message.lines().rev().find_map(|line| serde_json::from_str(line.trim()).ok())
}

/// The snapshot of a receipt, if it says enough to tell which one it is.
fn snapshot(receipt: Receipt) -> Option<ExportedSnapshot> {
    let text = |text: String| bounded(&text, MAX_TEXT_BYTES);
    let count = |count: Option<i64>| i32::try_from(count.unwrap_or_default().max(0)).unwrap_or(i32::MAX);
    Some(ExportedSnapshot {
        revision: receipt.revision.filter(|revision| *revision >= 0)?,
        digest: text(receipt.digest?),
        epoch: receipt.epoch.map(text).unwrap_or_default(),
        object_key: receipt.object_key.map(text).unwrap_or_default(),
        size: receipt.size.unwrap_or_default().max(0),
        flags: count(receipt.flags),
        namespaces: count(receipt.namespaces),
        changed: receipt.changed.unwrap_or_default(),
    })
}

/// Why an export failed that does not say so.
fn usual_reason(code: i32, reason: Option<&str>) -> &'static str {
    match (code, reason) {
        (_, Some("OOMKilled")) => "OutOfMemory",
        (3, _) => "GuardRefused",
        (4, _) => "Unauthorized",
        (5, _) => "StoreFailed",
        (137 | 143, _) => "Killed",
        _ => "ExportFailed",
    }
}

/// A reason as conditions have them.
fn word(reason: &str) -> Option<String> {
    let valid = !reason.is_empty()
        && reason.len() <= MAX_REASON_BYTES
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    valid.then(|| reason.to_owned())
}

/// So much of a text as there is room for, without what would break a line of a terminal.
pub(crate) fn bounded(text: &str, bytes: usize) -> String {
    let text = text.replace(|c: char| c.is_control(), " ");
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i32, message: &str) -> Outcome {
        outcome(&ContainerStateTerminated {
            exit_code,
            message: Some(message.to_owned()),
            ..ContainerStateTerminated::default()
        })
    }

    const PUBLISHED: &str = r#"{"revision":18231,"epoch":"6f1c","digest":"sha256:ab","objectKey":"prod/v1/default/objects/sha256/ab/ab.json.gz","size":18311,"flags":214,"namespaces":3,"changed":true,"segments":31,"later":{"a":1}}"#;

    #[test]
    fn a_receipt_tells_what_is_published_and_may_say_more_than_we_know() {
        let expected = ExportedSnapshot {
            revision: 18231,
            epoch: "6f1c".to_owned(),
            digest: "sha256:ab".to_owned(),
            object_key: "prod/v1/default/objects/sha256/ab/ab.json.gz".to_owned(),
            size: 18311,
            flags: 214,
            namespaces: 3,
            changed: true,
        };
        assert_eq!(ended(0, PUBLISHED), Outcome::Published(Some(expected.clone())));
        assert_eq!(ended(0, &format!("warning: slow\n{PUBLISHED}\n")), Outcome::Published(Some(expected)));
    }

    #[test]
    fn a_success_without_a_receipt_is_a_success() {
        for message in
            ["", "done", "{", "[]", r#"{"changed":true}"#, r#"{"revision":-1,"digest":"sha256:ab"}"#]
        {
            assert_eq!(ended(0, message), Outcome::Published(None), "{message}");
        }
    }

    #[test]
    fn a_race_that_is_lost_to_a_newer_revision_is_no_failure() {
        let superseded = PUBLISHED.replace("\"changed\":true", "\"changed\":false,\"superseded\":true");
        let Outcome::Published(Some(snapshot)) = ended(6, &superseded) else { panic!() };
        assert_eq!((snapshot.revision, snapshot.changed), (18_231, false));
        assert_eq!(ended(6, ""), Outcome::Published(None));
    }

    #[test]
    fn a_failure_says_why_or_its_exit_code_does() {
        let failed = |reason: &str, message: &str| Outcome::Failed {
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        assert_eq!(
            ended(3, r#"{"reason":"RevisionRegressed","message":"revision 7 is lower than 9"}"#),
            failed("RevisionRegressed", "revision 7 is lower than 9")
        );
        for (code, reason) in [
            (1, "ExportFailed"),
            (3, "GuardRefused"),
            (4, "Unauthorized"),
            (5, "StoreFailed"),
            (137, "Killed"),
        ] {
            assert_eq!(ended(code, "no bucket\n"), failed(reason, "no bucket"));
            assert_eq!(
                ended(code, r#"{"reason":"a b"}"#),
                failed(reason, &format!("the export ended with exit code {code}; see the log of its pod"))
            );
        }
        let killed = ContainerStateTerminated {
            exit_code: 137,
            reason: Some("OOMKilled".to_owned()),
            ..ContainerStateTerminated::default()
        };
        let Outcome::Failed { reason, .. } = outcome(&killed) else { panic!() };
        assert_eq!(reason, "OutOfMemory");
    }

    #[test]
    fn whatever_a_container_says_stays_short_and_on_one_line() {
        let long = format!("{{\"message\":\"a\\u001b[31m\\n{}\"}}", "ä".repeat(4000));
        let Outcome::Failed { message, .. } = ended(1, &long) else { panic!() };
        assert!(message.len() <= MAX_MESSAGE_BYTES, "{}", message.len());
        assert!(!message.contains(char::is_control));
        let long = PUBLISHED.replace("6f1c", &"x".repeat(4000)).replace("214", "99999999999");
        let Outcome::Published(Some(snapshot)) = ended(0, &long) else { panic!() };
        assert_eq!((snapshot.epoch.len(), snapshot.flags), (MAX_TEXT_BYTES, i32::MAX));
    }
}
