//! Conditions of an export, and the events that their changes are worth: pure.

use flipt_crds::{
    ConditionType, FliptSnapshotExport, FliptSnapshotExportStatus, Reason,
    condition::{self, MAX_MESSAGE_BYTES},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::receipt::bounded;

/// Why an export is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What is known besides the status itself.
pub(crate) struct Verdict<'a> {
    /// Why the export is not accepted, if it is not.
    pub(crate) refusal: Option<&'a Refusal>,
    /// When what is published becomes stale, or the lack of it.
    pub(crate) stale_after: Option<Timestamp>,
    /// Now.
    pub(crate) now: Timestamp,
}

/// Sets `Accepted`, `Fresh` and `Ready`, which sums them up.
pub(crate) fn set(
    status: &mut FliptSnapshotExportStatus,
    export: &FliptSnapshotExport,
    verdict: &Verdict<'_>,
) {
    let generation = export.metadata.generation;
    status.observed_generation = generation;
    let (is_fresh, reason, message) = freshness(status, export, verdict);
    let accepted = match verdict.refusal {
        None => (true, Reason::Synced, String::new()),
        Some(refusal) => (false, refusal.reason, refusal.message.clone()),
    };
    let ready = match (&status.last_failure, accepted.0) {
        (_, false) => accepted.clone(),
        // What is published is not what the server has, and somebody may have to do something about it.
        (Some(failure), true) if is_fresh => {
            let why = format!("the last export failed: {}: {}", failure.reason, failure.message);
            (false, Reason::NotPublished, why)
        }
        (_, true) => (is_fresh, reason, message.clone()),
    };
    for (type_, (holds, reason, message)) in [
        (ConditionType::Accepted, accepted),
        (ConditionType::Fresh, (is_fresh, reason, message)),
        (ConditionType::Ready, ready),
    ] {
        let message = bounded(&message, MAX_MESSAGE_BYTES);
        condition::set(&mut status.conditions, type_, holds, reason, &message, generation, Time(verdict.now));
    }
}

fn freshness(
    status: &FliptSnapshotExportStatus,
    export: &FliptSnapshotExport,
    verdict: &Verdict<'_>,
) -> (bool, Reason, String) {
    let is_stale = verdict.stale_after.is_some_and(|moment| moment < verdict.now);
    let why = match (&status.last_failure, export.spec.suspend) {
        (_, true) => "; spec.suspend is set".to_owned(),
        (Some(failure), false) => format!("; the last one failed: {}: {}", failure.reason, failure.message),
        (None, false) => String::new(),
    };
    match (&status.last_success_time, is_stale) {
        (Some(_), false) => (true, Reason::Published, String::new()),
        (None, false) => (false, Reason::NotPublished, format!("no export has succeeded yet{why}")),
        (_, true) if export.spec.suspend => {
            (false, Reason::Suspended, "exports are suspended: what is published grows old".to_owned())
        }
        (None, true) => (false, Reason::Stale, format!("no export has ever succeeded{why}")),
        (Some(_), true) => {
            (false, Reason::Stale, format!("three scheduled exports in a row have not succeeded{why}"))
        }
    }
}

/// An event that is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) is_warning: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
}

/// What is new between two states of a status.
pub(crate) fn news(before: &FliptSnapshotExportStatus, now: &FliptSnapshotExportStatus) -> Vec<News> {
    let mut news = Vec::new();
    for type_ in [ConditionType::Accepted, ConditionType::Fresh] {
        let (old, new) = (find(before, type_), find(now, type_));
        let said = |condition: Option<&Condition>| {
            condition.map(|known| (known.status.clone(), known.reason.clone()))
        };
        let Some(condition) = new.filter(|_| said(old) != said(new)) else { continue };
        // That nothing is published at first is no news.
        let is_first = old.is_none() && condition.reason == Reason::NotPublished.as_str();
        if condition.status == "False" && !is_first {
            news.push(News {
                is_warning: true,
                reason: condition.reason.clone(),
                note: condition.message.clone(),
            });
        }
    }
    if let Some(failure) = &now.last_failure
        && before.last_failure.as_ref() != Some(failure)
    {
        news.push(News { is_warning: true, reason: failure.reason.clone(), note: failure.message.clone() });
    }
    let digest =
        |status: &FliptSnapshotExportStatus| status.snapshot.as_ref().map(|snapshot| snapshot.digest.clone());
    if let Some(snapshot) = &now.snapshot
        && digest(before) != digest(now)
    {
        news.push(News {
            is_warning: false,
            reason: Reason::Published.as_str().to_owned(),
            note: format!(
                "revision {} with {} flags in {} namespaces is published",
                snapshot.revision, snapshot.flags, snapshot.namespaces
            ),
        });
    }
    news
}

fn find(status: &FliptSnapshotExportStatus, type_: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

#[cfg(test)]
mod tests {
    use flipt_crds::{ExportFailure, ExportedSnapshot};

    use super::*;

    fn export(suspend: bool) -> FliptSnapshotExport {
        yaml_serde::from_str(&format!(
            "apiVersion: flipt.io/v1alpha1\nkind: FliptSnapshotExport\nmetadata: {{name: prod, generation: 3}}\n\
             spec: {{serverRef: {{name: main}}, schedule: '@hourly', s3: {{bucket: flags}}, suspend: {suspend}}}\n"
        ))
        .unwrap()
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 3600 * hour).unwrap()
    }

    fn verdict(now: i64) -> Verdict<'static> {
        Verdict { refusal: None, stale_after: Some(at(3)), now: at(now) }
    }

    /// Status and reason of a condition.
    fn said(status: &FliptSnapshotExportStatus, type_: ConditionType) -> (&str, &str) {
        let condition = find(status, type_).unwrap();
        (&condition.status, &condition.reason)
    }

    #[test]
    fn what_is_published_is_fresh_until_it_is_not() {
        let mut status = FliptSnapshotExportStatus::default();
        set(&mut status, &export(false), &verdict(0));
        assert_eq!(said(&status, ConditionType::Ready), ("False", "NotPublished"));
        assert_eq!(said(&status, ConditionType::Accepted), ("True", "Synced"));
        status.last_success_time = Some(Time(at(0)));
        set(&mut status, &export(false), &verdict(1));
        assert_eq!(said(&status, ConditionType::Ready), ("True", "Published"));
        let known = status.clone();
        set(&mut status, &export(false), &verdict(2));
        assert_eq!(status, known, "nothing to write");
        status.last_failure =
            Some(ExportFailure { time: Time(at(3)), reason: "StorageFailed".into(), message: "403".into() });
        set(&mut status, &export(false), &verdict(4));
        assert_eq!(said(&status, ConditionType::Ready), ("False", "Stale"));
        assert!(find(&status, ConditionType::Fresh).unwrap().message.contains("StorageFailed: 403"));
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn a_suspended_export_becomes_stale_as_any_other() {
        let mut status =
            FliptSnapshotExportStatus { last_success_time: Some(Time(at(0))), ..Default::default() };
        set(&mut status, &export(true), &verdict(1));
        assert_eq!(said(&status, ConditionType::Fresh), ("True", "Published"));
        set(&mut status, &export(true), &verdict(4));
        assert_eq!(said(&status, ConditionType::Fresh), ("False", "Suspended"));
    }

    #[test]
    fn an_export_that_is_not_accepted_says_why_and_keeps_its_freshness() {
        let mut status =
            FliptSnapshotExportStatus { last_success_time: Some(Time(at(0))), ..Default::default() };
        let refusal = Refusal::new(Reason::NotGranted, "no");
        set(&mut status, &export(false), &Verdict { refusal: Some(&refusal), ..verdict(1) });
        assert_eq!(said(&status, ConditionType::Accepted), ("False", "NotGranted"));
        assert_eq!(said(&status, ConditionType::Ready), ("False", "NotGranted"));
        assert_eq!(said(&status, ConditionType::Fresh), ("True", "Published"));
    }

    #[test]
    fn news_are_told_once() {
        let before = FliptSnapshotExportStatus::default();
        let mut now = before.clone();
        set(&mut now, &export(false), &verdict(0));
        assert_eq!(news(&before, &now), []);
        let before = now.clone();
        now.snapshot = Some(ExportedSnapshot {
            revision: 7,
            epoch: String::new(),
            digest: "sha256:ab".into(),
            object_key: String::new(),
            size: 1,
            flags: 2,
            namespaces: 1,
            changed: true,
        });
        now.last_success_time = Some(Time(at(0)));
        set(&mut now, &export(false), &verdict(1));
        let reasons = |news: Vec<News>| news.into_iter().map(|news| news.reason).collect::<Vec<_>>();
        assert_eq!(reasons(news(&before, &now)), ["Published"]);
        assert_eq!(reasons(news(&now, &now)), [""; 0]);
        let before = now.clone();
        now.last_failure =
            Some(ExportFailure { time: Time(at(3)), reason: "GuardRefused".into(), message: "3".into() });
        set(&mut now, &export(false), &verdict(4));
        assert_eq!(reasons(news(&before, &now)), ["Stale", "GuardRefused"]);
    }
}
