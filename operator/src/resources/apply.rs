//! What an object wants to be in its server, and what the server makes of it.

use std::collections::BTreeSet;

use flipt_client::call;
use flipt_crds::{AdoptionPolicy, DriftPolicy, EditableField, Management, Reason};
use flipt_model::ownership::{
    Adoption, Claim, Decision, Drift, Editable, EditableField as Field, Owner, Resource as Content, Stored,
    Wish, decide,
};
use flipt_proto::{
    convert, from_unix_micros,
    ownership::{self as pb, Outcome},
    to_unix_micros,
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{Error, Managed, add_finalizer, id_of, status, status::Verdict};
use crate::{
    connection::Failure,
    feed::{Feed, Interest, Key, State},
    grants::{self, Applicant},
    live::LiveServer,
    term::Term,
};

/// How long the server hears nothing of an owner whose content stays as it is.
const HEARTBEAT_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// What becomes of an object that is not being deleted. Nothing: it cannot be said yet.
///
/// # Expected flow
/// 1. The spec describes something, the server exists and allows it.
/// 2. The server is followed; what it has told decides whether there is something to do at all.
/// 3. The finalizer is there before the first write.
/// 4. One call makes the server hold the content.
///
/// # Errors
/// [`Error`]: the API server did not do its part.
pub(super) async fn apply<K: Managed>(term: &Term, object: &K) -> Result<Option<Verdict>, Error> {
    let management = object.management();
    if management.suspend {
        return Ok(Some(Verdict::Suspended));
    }
    let content = match object.content() {
        Ok(content) => convert::as_sent(&content),
        Err(invalid) => return Ok(Some(refused(Reason::InvalidSpec, invalid.to_string()))),
    };
    let server = object.server();
    let Some(described) = term.server(&server) else {
        if term.is_malformed(&server) {
            let message = format!(
                "FliptServer {}/{} does not have the form of its kind",
                server.namespace, server.name
            );
            return Ok(Some(Verdict::Unavailable {
                reason: Reason::ServerUnavailable,
                message,
                retry: false,
            }));
        }
        let message = format!("there is no FliptServer {}/{}", server.namespace, server.name);
        return Ok(Some(refused(Reason::ServerNotFound, message)));
    };
    let namespace = object.namespace().unwrap_or_default();
    let labels = term.labels(&namespace);
    let applicant = Applicant {
        kind: K::GRANT,
        namespace: &namespace,
        labels: labels.as_ref(),
        flipt_namespace: &object.flipt_namespace(),
    };
    if !grants::allows(&described.spec.allowed_namespaces, &server.namespace, applicant) {
        let message = format!(
            "FliptServer {}/{} does not allow a {} of namespace {namespace} in its namespace {:?}; add it to spec.allowedNamespaces there",
            server.namespace,
            server.name,
            K::KIND,
            object.flipt_namespace()
        );
        return Ok(Some(refused(Reason::NotGranted, message)));
    }
    let held =
        status::is_held(&term.statuses.latest(object.meta(), object.status()), object.meta().generation);
    let Some(live) = term.live.get(&server) else {
        // The server's own reconcile wakes this object when it knows more.
        return Ok(described
            .status
            .as_ref()
            .and_then(crate::server::trouble)
            .filter(|_| !held)
            .map(|(reason, message)| Verdict::Unavailable { reason, message, retry: false }));
    };
    let key = object.key();
    let id = id_of::<K>(object.meta());
    let feed = live.feed(&management.environment);
    feed.listen(id, Interest { own: key.clone(), others: object.needs() });
    match feed.state() {
        State::Reading => return Ok(None),
        // Whoever needs no write is as well off as before.
        State::Failing(..) if held => return Ok(None),
        State::Failing(reason, message) => {
            return Ok(Some(Verdict::Unavailable { reason, message, retry: false }));
        }
        State::Following => {}
    }

    let owner = term.owner(object.meta());
    let editable = editable(management);
    let hash = content.content_hash(&editable);
    let known = feed.managed(&key);
    let wish = Wish {
        owner: &owner,
        editable: &editable,
        hash: &hash,
        adoption: adoption(management.adoption_policy),
        drift: drift(management.drift_policy),
    };
    let now = Timestamp::now();
    if let Some(verdict) = without_a_call(&wish, known.as_ref(), now) {
        if matches!(verdict, Verdict::Held { .. }) {
            // Somebody may have taken it off.
            add_finalizer(term, object).await?;
        }
        return Ok(Some(verdict));
    }

    add_finalizer(term, object).await?;
    let generation = object.meta().generation.unwrap_or_default();
    let request = request(management, &key, &owner, generation, content, &editable);
    let turn = if key.namespace.is_empty() { &key.key } else { &key.namespace };
    let answer = live.connection.write::<call::Apply>(turn, &request).await;
    Ok(Some(match answer {
        Ok(answer) => answered(&feed, key, &wish, generation, &hash, answer),
        Err(failure) => failed::<K>(&live, object, &failure),
    }))
}

fn refused(reason: Reason, message: String) -> Verdict {
    Verdict::Refused { reason, message, owner: None }
}

/// What is decided without a call of the server: nothing has to be done, or another object owns it. The server is
/// called all the same when it has not heard of the owner for long: it lists claims of owners that seem to be gone.
fn without_a_call(wish: &Wish<'_>, known: Option<&pb::Managed>, now: Timestamp) -> Option<Verdict> {
    let known = known?;
    let claim = Claim {
        owner: known.owner.clone().unwrap_or_default().into(),
        written_hash: known.written_hash.clone(),
        editable: known.ui_editable().filter_map(pb::EditableField::to_model).collect(),
    };
    // Without what the claim leaves to the UI; whoever leaves other fields to the UI has to ask.
    let hash = known.content_hash.as_str();
    let stored = (!hash.is_empty()).then_some(Stored { hash, claimed_hash: hash });
    match decide(wish, stored, Some(&claim)) {
        Decision::Nothing if is_due(known, now) => None,
        Decision::Nothing => Some(Verdict::Held {
            outcome: Outcome::Unchanged,
            hash: hash.to_owned(),
            revision: None,
            switch: known.r#override.clone(),
        }),
        Decision::Conflict => Some(conflict(&claim.owner)),
        _ => None,
    }
}

fn is_due(known: &pb::Managed, now: Timestamp) -> bool {
    let heard = known.seen_at.as_ref().or(known.claimed_at.as_ref()).map(to_unix_micros);
    heard.is_some_and(|heard| now.as_microsecond().saturating_sub(heard) > HEARTBEAT_MICROS)
}

fn conflict(owner: &Owner) -> Verdict {
    Verdict::Refused {
        reason: Reason::Conflict,
        message: format!("the key belongs to {owner}; delete that object, or choose another key"),
        owner: Some(owner.to_string()),
    }
}

fn request(
    management: &Management,
    key: &Key,
    owner: &Owner,
    generation: i64,
    content: Content,
    editable: &Editable,
) -> pb::ApplyRequest {
    use pb::apply_request::Desired;
    let desired = match content {
        Content::Namespace(namespace) => Desired::Namespace(pb::Namespace {
            key: namespace.key,
            name: namespace.name,
            description: namespace.description,
        }),
        Content::Flag(flag) => Desired::Flag(convert::flag_message(&flag)),
        Content::Segment(segment) => Desired::Segment(convert::segment_message(&segment)),
    };
    pb::ApplyRequest {
        environment_key: management.environment.clone(),
        namespace_key: key.namespace.clone(),
        owner: Some(owner.clone().into()),
        generation,
        desired: Some(desired),
        ui_editable: editable.iter().map(|field| pb::EditableField::from(*field).into()).collect(),
        adoption: match management.adoption_policy {
            AdoptionPolicy::Never => pb::AdoptionPolicy::Never,
            AdoptionPolicy::IfIdentical => pb::AdoptionPolicy::IfIdentical,
            AdoptionPolicy::Force => pb::AdoptionPolicy::Force,
        }
        .into(),
        drift: match management.drift_policy {
            DriftPolicy::Enforce => pb::DriftPolicy::Enforce,
            DriftPolicy::Report => pb::DriftPolicy::Report,
        }
        .into(),
    }
}

/// What the server's answer says about the object. What it holds now is remembered, so that the server's news of our
/// own write wake nobody.
fn answered(
    feed: &Feed,
    key: Key,
    wish: &Wish<'_>,
    generation: i64,
    hash: &str,
    answer: pb::ApplyResponse,
) -> Verdict {
    let outcome = answer.outcome();
    match outcome {
        Outcome::Conflict => return conflict(&answer.owner.clone().unwrap_or_default().into()),
        Outcome::NotAdopted => {
            let message = format!(
                "the server has this key already, and nobody owns it; it differs: {}. Set adoptionPolicy: Force to overwrite it",
                if answer.difference.is_empty() { "adoptionPolicy is Never" } else { &answer.difference }
            );
            return refused(Reason::NotAdopted, message);
        }
        Outcome::DriftReported => return Verdict::Drifted { difference: answer.difference },
        Outcome::Unspecified => {
            let message = "the server's answer is of a newer release than the operator".to_owned();
            return Verdict::Unavailable { reason: Reason::ServerUnavailable, message, retry: true };
        }
        Outcome::Created
        | Outcome::Recreated
        | Outcome::Claimed
        | Outcome::Adopted
        | Outcome::Unchanged
        | Outcome::Updated
        | Outcome::DriftCorrected => {}
    }
    let stored = if answer.content_hash.is_empty() { hash.to_owned() } else { answer.content_hash };
    let managed = pb::Managed {
        kind: pb::ResourceKind::from(key.kind).into(),
        namespace_key: key.namespace.clone(),
        key: key.key.clone(),
        owner: Some(wish.owner.clone().into()),
        generation,
        ui_editable: wish.editable.iter().map(|field| pb::EditableField::from(*field).into()).collect(),
        written_hash: hash.to_owned(),
        content_hash: stored.clone(),
        r#override: answer.r#override.clone(),
        seen_at: Some(from_unix_micros(Timestamp::now().as_microsecond())),
        ..pb::Managed::default()
    };
    feed.record(key, Some(managed));
    // What was not written is in the state that it was written to.
    let revision = (outcome != Outcome::Unchanged).then_some(answer.revision);
    Verdict::Held { outcome, hash: stored, revision, switch: answer.r#override }
}

/// What is said about an object whose server did not do what it was asked.
fn failed<K: Managed>(live: &LiveServer, object: &K, failure: &Failure) -> Verdict {
    let message = failure.message();
    match failure.reason() {
        reason @ (Reason::InvalidSpec | Reason::ReferenceNotFound) => refused(reason, message),
        reason => {
            tracing::debug!(
                kind = K::KIND,
                object.name = object.name_any(),
                server = live.made_of,
                error = %failure,
                "not written"
            );
            Verdict::Unavailable { reason, message, retry: true }
        }
    }
}

const fn adoption(policy: AdoptionPolicy) -> Adoption {
    match policy {
        AdoptionPolicy::Never => Adoption::Never,
        AdoptionPolicy::IfIdentical => Adoption::IfIdentical,
        AdoptionPolicy::Force => Adoption::Force,
    }
}

const fn drift(policy: DriftPolicy) -> Drift {
    match policy {
        DriftPolicy::Enforce => Drift::Enforce,
        DriftPolicy::Report => Drift::Report,
    }
}

fn editable(management: &Management) -> Editable {
    let field = |field: &EditableField| match field {
        EditableField::Enabled => Field::Enabled,
        EditableField::Description => Field::Description,
        EditableField::Rules => Field::Rules,
        EditableField::Rollouts => Field::Rollouts,
        EditableField::Metadata => Field::Metadata,
    };
    management.ui_editable.iter().map(field).collect::<BTreeSet<_>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: &str) -> Owner {
        Owner {
            cluster: "c".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn managed(owner: &Owner, written: &str, stored: &str) -> pb::Managed {
        pb::Managed {
            owner: Some(owner.clone().into()),
            written_hash: written.to_owned(),
            content_hash: stored.to_owned(),
            ..pb::Managed::default()
        }
    }

    fn asked(wished: &str, known: Option<&pb::Managed>) -> Option<Verdict> {
        let (owner, editable) = (owner("banner", "1"), Editable::new());
        let wish = Wish {
            owner: &owner,
            editable: &editable,
            hash: wished,
            adoption: Adoption::IfIdentical,
            drift: Drift::Enforce,
        };
        without_a_call(&wish, known, now())
    }

    fn now() -> Timestamp {
        Timestamp::from_second(2_000_000_000).unwrap()
    }

    #[test]
    fn what_is_as_wanted_needs_no_call() {
        let known = managed(&owner("banner", "1"), "aa", "aa");
        assert!(matches!(
            asked("aa", Some(&known)),
            Some(Verdict::Held { outcome: Outcome::Unchanged, revision: None, .. })
        ));
    }

    #[test]
    fn a_server_that_has_not_heard_of_the_owner_for_a_day_is_called() {
        let mut known = managed(&owner("banner", "1"), "aa", "aa");
        for (hours, called) in [(1, false), (23, false), (25, true)] {
            known.seen_at = Some(from_unix_micros(now().as_microsecond() - hours * 3_600 * 1_000_000));
            assert_eq!(asked("aa", Some(&known)).is_none(), called, "{hours} h");
        }
    }

    #[test]
    fn what_has_to_be_written_needs_one() {
        let ours = owner("banner", "1");
        for (known, why) in [
            (None, "not claimed"),
            (Some(managed(&ours, "aa", "bb")), "changed by somebody"),
            (Some(managed(&ours, "bb", "bb")), "the wish has changed"),
            (Some(managed(&ours, "aa", "")), "deleted by somebody"),
            (Some(managed(&owner("banner", "2"), "aa", "aa")), "the claim of an object of that name"),
        ] {
            assert_eq!(asked("aa", known.as_ref()), None, "{why}");
        }
    }

    #[test]
    fn a_key_of_another_object_is_refused_without_a_call_and_names_it() {
        let known = managed(&owner("other", "9"), "aa", "aa");
        let Some(Verdict::Refused { reason, owner, message }) = asked("aa", Some(&known)) else { panic!() };
        assert_eq!((reason, owner.as_deref()), (Reason::Conflict, Some("c/shop/other")));
        assert!(message.contains("c/shop/other"));
    }
}
