//! What a reconcile says about an object: its conditions, and the event that goes with them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use flipt_crds::{ConditionType, Reason, ResourceStatus, condition};
use flipt_proto::{
    ownership::{Outcome, OverrideState},
    rfc3339,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

use crate::events::Severity;

/// What a reconcile came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// The server holds the content.
    Held {
        /// What had to be done for that; nothing is the most frequent.
        outcome: Outcome,
        /// Hash of the content.
        hash: String,
        /// Revision of the environment, if something was written.
        revision: Option<String>,
        /// The switch that somebody made in an emergency.
        switch: Option<OverrideState>,
    },
    /// Somebody changed the content in the server, and it is to stay like that.
    Drifted {
        /// How it differs.
        difference: String,
    },
    /// The object cannot have what it wants.
    Refused {
        /// Why.
        reason: Reason,
        /// For people.
        message: String,
        /// The object that holds the key instead.
        owner: Option<String>,
    },
    /// The server did not do what it was asked.
    Unavailable {
        /// Why.
        reason: Reason,
        /// For people.
        message: String,
        /// Whether to try again soon, because nothing else would wake the object.
        retry: bool,
    },
    /// The object is not to be looked after.
    Suspended,
    /// The object is being deleted, and something stands in the way.
    Deleting {
        /// Why.
        reason: Reason,
        /// For people.
        message: String,
    },
}

impl Verdict {
    /// The reason of the condition `Ready`.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Held { switch: Some(_), .. } => Reason::Overridden,
            Self::Held { .. } => Reason::Synced,
            Self::Drifted { .. } => Reason::DriftDetected,
            Self::Refused { reason, .. }
            | Self::Unavailable { reason, .. }
            | Self::Deleting { reason, .. } => *reason,
            Self::Suspended => Reason::Suspended,
        }
    }
}

/// The status after a verdict. Equal verdicts about an object that has not changed give equal statuses.
pub(crate) fn after(
    before: &ResourceStatus,
    key: &str,
    flipt_namespace: &str,
    generation: Option<i64>,
    verdict: &Verdict,
    now: Time,
) -> ResourceStatus {
    let mut status = before.clone();
    status.key = Some(key.to_owned());
    status.flipt_namespace = (!flipt_namespace.is_empty()).then(|| flipt_namespace.to_owned());
    status.owner = None;
    let conditions = &mut status.conditions;
    let mut say = |type_, holds, reason, message: &str| {
        condition::set(conditions, type_, holds, reason, message, generation, now.clone());
    };
    use ConditionType::{Accepted, Drifted, Overridden, Ready, Synced};
    let reason = verdict.reason();
    match verdict {
        Verdict::Held { outcome, switch, .. } => {
            // That a change was undone stays said until there is something new to say.
            let undone = matches!(outcome, Outcome::DriftCorrected | Outcome::Recreated)
                || (*outcome == Outcome::Unchanged
                    && before.observed_generation == generation
                    && find(before, Synced).is_some_and(|it| it.reason == Reason::DriftCorrected.as_str()));
            let synced = if undone { Reason::DriftCorrected } else { Reason::Synced };
            say(Accepted, true, Reason::Synced, "");
            say(Synced, true, synced, "");
            match switch {
                Some(switch) => {
                    let message = switched(switch);
                    say(Overridden, true, Reason::Overridden, &message);
                    say(Ready, true, Reason::Overridden, &message);
                }
                None => say(Ready, true, Reason::Synced, ""),
            }
        }
        Verdict::Drifted { difference } => {
            let message = if difference.is_empty() {
                "changed in the server; driftPolicy is Report".to_owned()
            } else {
                format!("changed in the server, driftPolicy is Report: {difference}")
            };
            say(Accepted, true, Reason::Synced, "");
            say(Synced, false, reason, &message);
            say(Drifted, true, reason, &message);
            say(Ready, false, reason, &message);
        }
        Verdict::Refused { message, .. } => {
            say(Accepted, false, reason, message);
            say(Synced, false, reason, message);
            say(Ready, false, reason, message);
        }
        Verdict::Unavailable { message, .. } => {
            say(Synced, false, reason, message);
            say(Ready, false, reason, message);
        }
        Verdict::Suspended => say(Ready, false, reason, "spec.suspend is set: the server is left as it is"),
        Verdict::Deleting { message, .. } => say(Ready, false, reason, message),
    }
    if !matches!(verdict, Verdict::Drifted { .. }) {
        condition::remove(&mut status.conditions, Drifted);
    }
    if !matches!(verdict, Verdict::Held { switch: Some(_), .. }) {
        condition::remove(&mut status.conditions, Overridden);
    }
    match verdict {
        Verdict::Held { outcome, hash, revision, .. } => {
            let changed = status.content_hash.as_ref() != Some(hash) || *outcome != Outcome::Unchanged;
            if changed {
                status.last_sync_time = Some(now);
            }
            if let Some(revision) = revision
                && (changed || status.server_revision.is_none())
            {
                status.server_revision = Some(revision.clone());
            }
            status.content_hash = Some(hash.clone());
        }
        Verdict::Refused { owner, .. } => status.owner.clone_from(owner),
        _ => {}
    }
    // What the server could not be asked about has not been processed to its end.
    if !matches!(verdict, Verdict::Unavailable { .. }) {
        status.observed_generation = generation;
    }
    status
}

fn find(status: &ResourceStatus, type_: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Whether the server held the content of this generation when it was asked last.
pub(crate) fn is_held(status: &ResourceStatus, generation: Option<i64>) -> bool {
    status.observed_generation == generation
        && find(status, ConditionType::Synced).is_some_and(|condition| condition.status == "True")
}

fn switched(switch: &OverrideState) -> String {
    let until = switch.until.as_ref().map_or_else(|| "it is ended".to_owned(), rfc3339);
    format!(
        "enabled is {} instead of {} until {until}: switched by {}: {}",
        switch.enabled,
        switch.owner_enabled,
        if switch.user.is_empty() { "somebody" } else { &switch.user },
        switch.reason
    )
}

/// The event about what is new, if there is something.
pub(crate) fn event(
    before: &ResourceStatus,
    after: &ResourceStatus,
    verdict: &Verdict,
) -> Option<(Severity, Reason, String)> {
    let key = after.key.as_deref().unwrap_or_default();
    if let Verdict::Held { outcome, switch, .. } = verdict {
        let said = match outcome {
            Outcome::Created => {
                Some((Severity::Normal, Reason::Synced, format!("{key} created in the server")))
            }
            Outcome::Updated => {
                Some((Severity::Normal, Reason::Synced, format!("{key} updated in the server")))
            }
            Outcome::Adopted => {
                Some((Severity::Normal, Reason::Synced, format!("{key} taken over and overwritten")))
            }
            Outcome::DriftCorrected => Some((
                Severity::Warning,
                Reason::DriftCorrected,
                format!("{key} was changed in the server: written anew"),
            )),
            Outcome::Recreated => Some((
                Severity::Warning,
                Reason::DriftCorrected,
                format!("{key} was deleted in the server: created anew"),
            )),
            _ => None,
        };
        if said.is_some() {
            return said;
        }
        let switched_before = find(before, ConditionType::Overridden).map(|condition| &condition.message);
        let switched_now = find(after, ConditionType::Overridden).map(|condition| &condition.message);
        if switch.is_some() && switched_before != switched_now {
            let note = switched_now.cloned().unwrap_or_default();
            return Some((Severity::Warning, Reason::Overridden, note));
        }
        if switched_before.is_some() && switched_now.is_none() {
            return Some((Severity::Normal, Reason::Synced, format!("the override of {key} has ended")));
        }
    }
    let reason = |status: &ResourceStatus| find(status, ConditionType::Ready).map(|it| it.reason.clone());
    if reason(before) == reason(after) {
        return None;
    }
    let ready = find(after, ConditionType::Ready)?;
    let severity = match verdict {
        Verdict::Held { .. } | Verdict::Suspended => Severity::Normal,
        _ => Severity::Warning,
    };
    let note =
        if ready.message.is_empty() { format!("the server holds {key}") } else { ready.message.clone() };
    Some((severity, verdict.reason(), note))
}

/// The statuses written last: what a watch has not shown yet.
#[derive(Default)]
pub(crate) struct Statuses(Mutex<HashMap<String, (u64, ResourceStatus)>>);

impl Statuses {
    /// The latest status of an object, of what is known of it and what was written.
    pub(crate) fn latest(&self, meta: &ObjectMeta, known: Option<&ResourceStatus>) -> ResourceStatus {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = meta.uid.as_deref().unwrap_or_default();
        match written.get(uid) {
            Some((version, status)) if version_of(meta).is_none_or(|known| known < *version) => {
                status.clone()
            }
            Some(_) if known.is_some() => {
                written.remove(uid);
                known.cloned().unwrap_or_default()
            }
            // An object that cannot be read has no known status.
            Some((_, status)) => status.clone(),
            None => known.cloned().unwrap_or_default(),
        }
    }

    /// An object is gone.
    pub(crate) fn forget(&self, meta: &ObjectMeta) {
        let uid = meta.uid.as_deref().unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// A status was written.
    pub(crate) fn written(&self, meta: &ObjectMeta, status: ResourceStatus) {
        let (Some(uid), Some(version)) = (meta.uid.clone(), version_of(meta)) else { return };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, (version, status));
    }
}

fn version_of(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> Time {
        serde_json::from_value(format!("2026-01-01T00:00:{second:02}Z").into()).unwrap()
    }

    fn held(outcome: Outcome, hash: &str) -> Verdict {
        Verdict::Held { outcome, hash: hash.to_owned(), revision: Some("7".to_owned()), switch: None }
    }

    fn said(status: &ResourceStatus) -> Vec<(String, String, String)> {
        let mut said: Vec<_> = status
            .conditions
            .iter()
            .map(|it| (it.type_.clone(), it.status.clone(), it.reason.clone()))
            .collect();
        said.sort();
        said
    }

    fn conditions(all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        all.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
    }

    fn settled(before: &ResourceStatus, verdict: &Verdict, second: u32) -> ResourceStatus {
        after(before, "banner", "shop", Some(1), verdict, at(second))
    }

    #[test]
    fn content_that_the_server_holds_is_ready_and_later_looks_change_nothing() {
        let first = settled(&ResourceStatus::default(), &held(Outcome::Created, "aa"), 1);
        assert_eq!(
            said(&first),
            conditions(&[
                ("Accepted", "True", "Synced"),
                ("Ready", "True", "Synced"),
                ("Synced", "True", "Synced")
            ])
        );
        assert_eq!(first.last_sync_time, Some(at(1)));
        assert_eq!(settled(&first, &held(Outcome::Unchanged, "aa"), 2), first);
        assert!(is_held(&first, Some(1)) && !is_held(&first, Some(2)));
    }

    #[test]
    fn every_refusal_is_said_with_its_reason() {
        for reason in [
            Reason::ServerNotFound,
            Reason::NotGranted,
            Reason::InvalidSpec,
            Reason::ReferenceNotFound,
            Reason::NotAdopted,
            Reason::Conflict,
        ] {
            let verdict =
                Verdict::Refused { reason, message: "why".to_owned(), owner: Some("c/n/o".to_owned()) };
            let status = settled(&ResourceStatus::default(), &verdict, 1);
            let name = reason.as_str();
            assert_eq!(
                said(&status),
                conditions(&[
                    ("Accepted", "False", name),
                    ("Ready", "False", name),
                    ("Synced", "False", name)
                ])
            );
            assert_eq!(status.owner.as_deref(), Some("c/n/o"));
            assert_eq!(settled(&status, &verdict, 9), status);
            assert!(settled(&status, &held(Outcome::Created, "aa"), 9).owner.is_none());
        }
    }

    #[test]
    fn a_server_that_does_not_answer_leaves_the_generation_unprocessed() {
        let first = settled(&ResourceStatus::default(), &held(Outcome::Created, "aa"), 1);
        let verdict = Verdict::Unavailable {
            reason: Reason::ServerUnavailable,
            message: "down".to_owned(),
            retry: true,
        };
        let status = after(&first, "banner", "shop", Some(2), &verdict, at(2));
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!(
            said(&status),
            conditions(&[
                ("Accepted", "True", "Synced"),
                ("Ready", "False", "ServerUnavailable"),
                ("Synced", "False", "ServerUnavailable")
            ])
        );
    }

    #[test]
    fn drift_is_shown_only_while_it_lasts() {
        let verdict = Verdict::Drifted { difference: "enabled: true → false".to_owned() };
        let status = settled(&ResourceStatus::default(), &verdict, 1);
        assert!(find(&status, ConditionType::Drifted).unwrap().message.contains("enabled: true"));
        assert!(find(&status, ConditionType::Ready).unwrap().status == "False");
        let healed = settled(&status, &held(Outcome::DriftCorrected, "aa"), 2);
        assert!(find(&healed, ConditionType::Drifted).is_none());
        assert_eq!(find(&healed, ConditionType::Synced).unwrap().reason, "DriftCorrected");
        assert_eq!(settled(&healed, &held(Outcome::Unchanged, "aa"), 3), healed, "it stays said");
    }

    #[test]
    fn a_switch_in_an_emergency_names_who_and_until_when() {
        let switch = OverrideState {
            enabled: false,
            owner_enabled: true,
            user: "ada".to_owned(),
            reason: "checkout broken".to_owned(),
            until: None,
        };
        let verdict = Verdict::Held {
            outcome: Outcome::Unchanged,
            hash: "aa".to_owned(),
            revision: None,
            switch: Some(switch),
        };
        let before = settled(&ResourceStatus::default(), &held(Outcome::Created, "aa"), 1);
        let status = settled(&before, &verdict, 2);
        let ready = find(&status, ConditionType::Ready).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Overridden"));
        assert!(ready.message.contains("ada") && ready.message.contains("checkout broken"));
        assert_eq!(event(&before, &status, &verdict).unwrap().1, Reason::Overridden);
        let over = settled(&status, &held(Outcome::Unchanged, "aa"), 3);
        assert!(find(&over, ConditionType::Overridden).is_none());
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let verdict = Verdict::Refused {
            reason: Reason::ServerNotFound,
            message: "there is no FliptServer main".to_owned(),
            owner: None,
        };
        let before = ResourceStatus::default();
        let status = settled(&before, &verdict, 1);
        let (severity, reason, _) = event(&before, &status, &verdict).unwrap();
        assert_eq!((severity, reason), (Severity::Warning, Reason::ServerNotFound));
        assert!(event(&status, &settled(&status, &verdict, 2), &verdict).is_none());
    }

    #[test]
    fn a_status_that_was_written_counts_until_the_watch_shows_it() {
        let meta = |version: &str| ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        let statuses = Statuses::default();
        let old = ResourceStatus::default();
        let new = settled(&old, &held(Outcome::Created, "aa"), 1);
        statuses.written(&meta("12"), new.clone());
        assert_eq!(statuses.latest(&meta("9"), Some(&old)), new);
        assert_eq!(statuses.latest(&meta("12"), Some(&new)), new);
        assert_eq!(statuses.latest(&meta("9"), Some(&old)), old, "nothing is kept longer than needed");
    }
}
