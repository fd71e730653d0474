//! Ownership of namespaces, flags and segments by objects of clusters (kubernetes design, section 4.3).

use std::time::Duration;

use flipt_auth::Caller;
use flipt_model::{
    Namespace,
    ownership::{Adoption, Decision, Drift, Editable, Owner, Resource, ResourceKind},
    resource,
};
use flipt_proto::{convert, from_unix_micros, ownership as pb, rfc3339};
use flipt_serving::{Code, Error};
use flipt_store::{Claims, Desired, History, Managed, OverrideState, ResourceName, Switch};

use crate::{Api, Fails as _};

/// Longest time that a call waits for a change: less than any call may take.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// How long an override lasts that does not say.
const USUAL_OVERRIDE: i64 = 4 * 60 * 60;
/// How long an override may last.
const LONGEST_OVERRIDE: i64 = 72 * 60 * 60;
/// Longest text that the database holds, in characters.
const LONGEST_TEXT: usize = 255;
/// Longest reason, in characters.
const LONGEST_REASON: usize = 1_000;
/// Who switches, if nobody knows who calls.
const UNKNOWN_USER: &str = "unknown";

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, error.to_string())
}

fn owner(message: Option<&pb::Owner>) -> Result<Owner, Error> {
    let message = message.ok_or_else(|| invalid("invalid field owner: must not be empty"))?;
    let fields = [
        ("cluster", &message.cluster),
        ("namespace", &message.namespace),
        ("name", &message.name),
        ("uid", &message.uid),
    ];
    for (field, text) in fields {
        if text.is_empty() {
            return Err(invalid(format!("invalid field owner.{field}: must not be empty")));
        }
        if text.chars().count() > LONGEST_TEXT {
            return Err(invalid(format!(
                "invalid field owner.{field}: is longer than {LONGEST_TEXT} characters"
            )));
        }
    }
    Ok(message.clone().into())
}

fn editable(fields: &[i32]) -> Result<Editable, Error> {
    let field = |number: &i32| {
        pb::EditableField::try_from(*number)
            .ok()
            .and_then(pb::EditableField::to_model)
            .ok_or_else(|| invalid(format!("invalid field uiEditable: unknown field {number}")))
    };
    fields.iter().map(field).collect()
}

fn kind(number: i32) -> Result<ResourceKind, Error> {
    pb::ResourceKind::try_from(number)
        .ok()
        .and_then(pb::ResourceKind::to_model)
        .ok_or_else(|| invalid(format!("invalid field kind: unknown kind {number}")))
}

/// The namespace of a name as messages have it: none for a namespace.
fn namespace_message(name: &ResourceName) -> String {
    if name.kind == ResourceKind::Namespace { String::new() } else { name.namespace.clone() }
}

/// The resource that a message describes, checked as a whole.
fn resource(desired: Option<&pb::apply_request::Desired>) -> Result<Resource, Error> {
    match desired {
        None => Err(invalid("invalid field desired: a namespace, a flag or a segment must be set")),
        Some(pb::apply_request::Desired::Namespace(message)) => {
            let namespace = Namespace {
                key: message.key.clone(),
                name: message.name.clone(),
                description: message.description.clone(),
                ..Namespace::default()
            };
            resource::check_namespace(&namespace).map_err(invalid)?;
            Ok(Resource::Namespace(namespace))
        }
        Some(pb::apply_request::Desired::Flag(message)) => {
            let flag = convert::flag(message.clone(), &message.key);
            resource::check_flag(&flag).map_err(invalid)?;
            Ok(Resource::Flag(flag))
        }
        Some(pb::apply_request::Desired::Segment(message)) => {
            let segment = convert::segment(message.clone(), &message.key);
            resource::check_segment(segment).map_err(invalid).map(Resource::Segment)
        }
    }
}

fn adoption(number: i32) -> Result<Adoption, Error> {
    match pb::AdoptionPolicy::try_from(number) {
        Ok(pb::AdoptionPolicy::IfIdentical) => Ok(Adoption::IfIdentical),
        Ok(pb::AdoptionPolicy::Never) => Ok(Adoption::Never),
        Ok(pb::AdoptionPolicy::Force) => Ok(Adoption::Force),
        Err(_) => Err(invalid(format!("invalid field adoption: unknown policy {number}"))),
    }
}

fn drift(number: i32) -> Result<Drift, Error> {
    match pb::DriftPolicy::try_from(number) {
        Ok(pb::DriftPolicy::Enforce) => Ok(Drift::Enforce),
        Ok(pb::DriftPolicy::Report) => Ok(Drift::Report),
        Err(_) => Err(invalid(format!("invalid field drift: unknown policy {number}"))),
    }
}

const fn outcome(decision: Decision) -> pb::Outcome {
    match decision {
        Decision::Create => pb::Outcome::Created,
        Decision::Recreate => pb::Outcome::Recreated,
        Decision::Claim => pb::Outcome::Claimed,
        Decision::Adopt => pb::Outcome::Adopted,
        Decision::Nothing => pb::Outcome::Unchanged,
        Decision::Write => pb::Outcome::Updated,
        Decision::CorrectDrift => pb::Outcome::DriftCorrected,
        Decision::ReportDrift => pb::Outcome::DriftReported,
        Decision::NotAdopted => pb::Outcome::NotAdopted,
        Decision::Conflict => pb::Outcome::Conflict,
    }
}

fn override_message(state: OverrideState) -> pb::OverrideState {
    pb::OverrideState {
        enabled: state.enabled,
        owner_enabled: state.owner_enabled,
        user: state.user,
        reason: state.reason,
        until: Some(from_unix_micros(state.until)),
    }
}

fn managed_message(managed: Managed) -> pb::Managed {
    pb::Managed {
        kind: pb::ResourceKind::from(managed.name.kind).into(),
        namespace_key: namespace_message(&managed.name),
        key: managed.name.key,
        owner: Some(managed.owner.into()),
        generation: managed.generation,
        ui_editable: managed
            .editable
            .into_iter()
            .map(|field| pb::EditableField::from(field).into())
            .collect(),
        written_hash: managed.written_hash,
        content_hash: managed.content_hash,
        r#override: managed.held.map(override_message),
        claimed_at: Some(from_unix_micros(managed.claimed_at)),
        seen_at: Some(from_unix_micros(managed.seen_at)),
    }
}

pub(crate) async fn apply(api: &Api, request: &pb::ApplyRequest) -> Result<pb::ApplyResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let desired = Desired {
        resource: resource(request.desired.as_ref())?,
        namespace: request.namespace_key.clone(),
        owner: owner(request.owner.as_ref())?,
        generation: request.generation,
        editable: editable(&request.ui_editable)?,
        adoption: adoption(request.adoption)?,
        drift: drift(request.drift)?,
    };
    if desired.namespace.is_empty() != matches!(desired.resource, Resource::Namespace(_)) {
        return Err(invalid(
            "invalid field namespaceKey: must be set for flags and segments, and for nothing else",
        ));
    }
    api.require_writable()?;
    let (applied, version) = environment.apply_owned(&desired).await.or_refuse()?;
    Ok(pb::ApplyResponse {
        outcome: outcome(applied.decision).into(),
        revision: version.text(),
        content_hash: applied.content_hash,
        difference: applied.difference,
        owner: applied.other.map(pb::Owner::from),
        r#override: applied.held.map(override_message),
    })
}

pub(crate) async fn release(api: &Api, request: &pb::ReleaseRequest) -> Result<pb::ReleaseResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let name = ResourceName::new(kind(request.kind)?, &request.namespace_key, &request.key);
    let owner = owner(request.owner.as_ref())?;
    api.require_writable()?;
    let (released, version) = environment.release(&name, &owner, request.delete).await.or_refuse()?;
    Ok(pb::ReleaseResponse {
        released: released.released,
        deleted: released.deleted,
        revision: version.text(),
        used_by: released.used_by,
    })
}

pub(crate) async fn list_managed(
    api: &Api,
    request: &pb::ListManagedRequest,
) -> Result<pb::ListManagedResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let claims = Claims { cluster: &request.cluster, namespace: &request.namespace_key };
    let (managed, version) = environment.list_managed(claims).await.or_refuse()?;
    Ok(pb::ListManagedResponse {
        managed: managed.into_iter().map(managed_message).collect(),
        revision: version.text(),
    })
}

/// Waits for changes. A version that is ahead of this server's database may be that of a replica which is further on:
/// only if that does not change within the time that the caller waits, everything counts as changed.
pub(crate) async fn changes(api: &Api, request: &pb::ChangesRequest) -> Result<pb::ChangesResponse, Error> {
    let environment = api.environment(&request.environment_key)?;
    let wait = Duration::from_secs(u64::try_from(request.wait_seconds).unwrap_or_default()).min(LONGEST_WAIT);
    let end = tokio::time::Instant::now() + wait;
    let mut stopping = api.stopping.clone();
    // Before the first look, so that no change falls between.
    let mut revisions = environment.revisions();
    loop {
        revisions.mark_unchanged();
        let changed = environment.changes_since(&request.since).await.or_refuse()?;
        let is_over = tokio::time::Instant::now() >= end || *stopping.borrow();
        let waits = match changed.history {
            History::Known => changed.resources.is_empty(),
            History::Behind => true,
            History::Lost => false,
        };
        if !waits || is_over {
            let named = |name: ResourceName| pb::ChangedResource {
                kind: pb::ResourceKind::from(name.kind).into(),
                namespace_key: namespace_message(&name),
                key: name.key,
            };
            return Ok(pb::ChangesResponse {
                revision: changed.version.text(),
                changes: changed.resources.into_iter().map(named).collect(),
                reset: changed.history != History::Known,
            });
        }
        tokio::select! {
            _ = revisions.changed() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = tokio::time::sleep_until(end) => {}
        }
    }
}

/// Who calls, as far as the caller's credentials tell: an address, or else a name.
fn user(caller: &Caller) -> String {
    let Ok(authentication) = caller.require() else { return UNKNOWN_USER.to_owned() };
    let metadata = &authentication.metadata;
    let told = |wanted: &str| {
        let mut named = metadata.iter().filter(|(key, text)| key.ends_with(wanted) && !text.is_empty());
        named.next().map(|(_, text)| text.clone())
    };
    // Keys are those of the authentication methods: io.flipt.auth.oidc.email, io.flipt.auth.token.name and so on.
    let known = [".email", ".preferred_username", ".login", ".serviceaccount.name", ".name"]
        .into_iter()
        .find_map(told);
    known.unwrap_or_else(|| UNKNOWN_USER.to_owned()).chars().take(LONGEST_TEXT).collect()
}

/// The name of the flag that a request is about.
fn flag(namespace: &str, key: &str) -> Result<ResourceName, Error> {
    if key.is_empty() {
        return Err(invalid("invalid field key: must not be empty"));
    }
    Ok(ResourceName::new(ResourceKind::Flag, namespace, key))
}

pub(crate) async fn begin_override(
    api: &Api,
    caller: &Caller,
    request: &pb::OverrideRequest,
) -> Result<pb::Managed, Error> {
    let environment = api.environment(&request.environment_key)?;
    let flag = flag(&request.namespace_key, &request.key)?;
    let seconds = if request.duration_seconds == 0 { USUAL_OVERRIDE } else { request.duration_seconds };
    if !(1..=LONGEST_OVERRIDE).contains(&seconds) {
        return Err(invalid(format!(
            "invalid field durationSeconds: must be at most {LONGEST_OVERRIDE}, which are 72 hours; 0 stands for \
             four hours"
        )));
    }
    if request.reason.chars().count() > LONGEST_REASON {
        return Err(invalid(format!("invalid field reason: is longer than {LONGEST_REASON} characters")));
    }
    api.require_writable()?;
    let switch =
        Switch { enabled: request.enabled, user: user(caller), reason: request.reason.clone(), seconds };
    let managed = environment.begin_override(&flag, &switch).await.or_refuse()?;
    let until = managed.held.as_ref().map(|held| held.until).unwrap_or_default();
    tracing::info!(
        environment = request.environment_key,
        namespace = flag.namespace,
        flag = flag.key,
        user = switch.user,
        enabled = switch.enabled,
        reason = switch.reason,
        until = rfc3339(&from_unix_micros(until)),
        "override begun"
    );
    Ok(managed_message(managed))
}

pub(crate) async fn end_override(
    api: &Api,
    caller: &Caller,
    request: &pb::EndOverrideRequest,
) -> Result<pb::Managed, Error> {
    let environment = api.environment(&request.environment_key)?;
    let flag = flag(&request.namespace_key, &request.key)?;
    api.require_writable()?;
    let managed = environment.end_override(&flag).await.or_refuse()?;
    tracing::info!(
        environment = request.environment_key,
        namespace = flag.namespace,
        flag = flag.key,
        user = user(caller),
        "override ended by hand"
    );
    Ok(managed_message(managed))
}
