//! What an owner's wish does.

use flipt_model::{
    Namespace, RolloutRule,
    ownership::{Claim, Decision, Resource, Stored, Wish, decide},
    validation::go_quote,
};
use flipt_proto::convert::as_sent;

use super::{
    Applied, Desired, OverrideState, ResourceName,
    claims::{self, Held},
};
use crate::{
    Edit, StoreError, WriteMode,
    changes::Touched,
    database::{Transaction, params},
    import, resources,
    writer::Writer,
};

/// How old what is known of an owner may be before it is renewed, in microseconds.
const SEEN: i64 = 10 * 60 * 1_000_000;

/// Makes a resource what its owner wants it to be, as far as that is for the owner to say.
pub(super) async fn apply(writer: &mut Writer, desired: &Desired) -> Result<Applied, StoreError> {
    writer.force();
    let named = ResourceName::of(&desired.resource, &desired.namespace);
    let name = named.touched(writer.place());
    if !matches!(name, Touched::Namespace(_)) {
        resources::in_namespace(writer, &desired.namespace).await?;
    }
    let known = claims::find(&mut writer.transaction, &name).await?;
    let actual = load(writer, &name).await?;
    let mut wanted = as_sent(&desired.resource);
    spell_as_stored(&mut writer.transaction, &name, actual.as_ref(), &mut wanted).await?;
    let held = known.as_ref().and_then(|known| known.held.clone());
    let current = actual.as_ref().map(|actual| without_override(actual, held.as_ref()));

    let hash = wanted.content_hash(&desired.editable);
    let hashes = current.as_ref().map(|current| {
        let now = current.content_hash(&desired.editable);
        let claimed = known.as_ref().map_or_else(
            || now.clone(),
            |known| {
                if known.claim.editable == desired.editable {
                    now.clone()
                } else {
                    current.content_hash(&known.claim.editable)
                }
            },
        );
        (now, claimed)
    });
    let stored = hashes.as_ref().map(|(now, claimed)| Stored { hash: now, claimed_hash: claimed });
    let wish = Wish {
        owner: &desired.owner,
        editable: &desired.editable,
        hash: &hash,
        adoption: desired.adoption,
        drift: desired.drift,
    };
    let decision = decide(&wish, stored, known.as_ref().map(|known| &known.claim));

    let now = writer.now();
    if decision.is_idle() {
        let is_ours = !matches!(decision, Decision::Conflict);
        if let Some(known) = known.as_ref().filter(|_| is_ours)
            && (known.generation != desired.generation || known.seen_at + SEEN < now)
        {
            claims::see(writer, &name, desired.generation, now).await?;
        }
        let reported = matches!(decision, Decision::NotAdopted | Decision::ReportDrift);
        let difference = match &current {
            _ if !reported => String::new(),
            Some(current) => current.difference(&wanted, &desired.editable),
            None => "it was deleted".to_owned(),
        };
        let other = known.filter(|_| decision == Decision::Conflict).map(|known| known.claim.owner);
        let content_hash = hashes.map(|(now, _)| now).unwrap_or_default();
        return Ok(Applied { decision, content_hash, difference, other, held });
    }

    let mut target = wanted;
    if let Some(current) = &current {
        target.keep(current, &desired.editable);
    }
    let held = match &target {
        Resource::Flag(flag) => held.map(|held| OverrideState { owner_enabled: flag.enabled, ..held }),
        Resource::Namespace(_) | Resource::Segment(_) => None,
    };
    if let (Resource::Flag(flag), Some(held)) = (&mut target, &held) {
        flag.enabled = held.enabled;
    }
    if decision != Decision::Claim {
        write(writer, &name, &target, actual).await?;
    }
    let claim = Held {
        name: name.clone(),
        claim: Claim {
            owner: desired.owner.clone(),
            written_hash: hash.clone(),
            editable: desired.editable.clone(),
        },
        generation: desired.generation,
        held: held.clone(),
        claimed_at: known.as_ref().map_or(now, |known| known.claimed_at),
        seen_at: now,
    };
    claims::put(writer, &claim, known.is_some()).await?;
    // A claim without a write is a change too, which other servers and owners are to see.
    writer.touch(name);
    Ok(Applied { decision, content_hash: hash, difference: String::new(), other: None, held })
}

/// What is stored of a resource, in the form to compare.
pub(super) async fn load(writer: &mut Writer, name: &Touched) -> Result<Option<Resource>, StoreError> {
    Ok(match name {
        Touched::Namespace(stored) => {
            let key = writer.place().namespace(stored).to_owned();
            let sql = r#"SELECT name, description FROM namespaces WHERE "key" = ?"#;
            let row = writer.transaction.fetch_optional(sql, params![stored]).await?;
            let namespace = row.map(|row| -> Result<Namespace, StoreError> {
                Ok(Namespace { key, name: row.text(0)?, description: row.text(1)?, ..Namespace::default() })
            });
            namespace.transpose()?.map(Resource::Namespace)
        }
        Touched::Flag(stored, key) => {
            let flag = resources::load_flag(writer, stored, key).await?;
            flag.map(|flag| as_sent(&Resource::Flag(flag)))
        }
        Touched::Segment(stored, key) => {
            let segment = resources::load_segment(writer, stored, key).await?;
            segment.map(|segment| as_sent(&Resource::Segment(segment)))
        }
    })
}

/// A resource as it would be without the override in force.
pub(super) fn without_override(resource: &Resource, held: Option<&OverrideState>) -> Resource {
    let mut resource = resource.clone();
    if let (Resource::Flag(flag), Some(held)) = (&mut resource, held) {
        flag.enabled = held.owner_enabled;
    }
    resource
}

/// The segments that a flag uses, each with the place that names it.
fn segments(resource: &mut Resource) -> Vec<(&'static str, usize, &mut String)> {
    let Resource::Flag(flag) = resource else { return Vec::new() };
    let rules = flag.rules.iter_mut().map(|rule| &mut rule.segments);
    let rules = rules.enumerate().map(|(at, keys)| ("rule", at, keys));
    let rollouts = flag.rollouts.iter_mut().enumerate().filter_map(|(at, rollout)| match &mut rollout.rule {
        RolloutRule::Segment { segments, .. } => Some(("rollout", at, segments)),
        RolloutRule::Threshold { .. } | RolloutRule::None => None,
    });
    let named = rules.chain(rollouts);
    named.flat_map(|(what, at, keys)| keys.iter_mut().map(move |key| (what, at + 1, key))).collect()
}

/// Spells keys as they are stored, on databases that find them in any letter case: a wish that spells them otherwise
/// would never be fulfilled.
async fn spell_as_stored(
    transaction: &mut Transaction,
    name: &Touched,
    actual: Option<&Resource>,
    wanted: &mut Resource,
) -> Result<(), StoreError> {
    if !transaction.ignores_letter_case() {
        return Ok(());
    }
    if let Some(actual) = actual {
        let spelling = actual.key().to_owned();
        match wanted {
            Resource::Namespace(namespace) => namespace.key = spelling,
            Resource::Flag(flag) => flag.key = spelling,
            Resource::Segment(segment) => segment.key = spelling,
        }
    }
    for (_, _, key) in segments(wanted) {
        let sql = r#"SELECT "key" FROM segments WHERE namespace_key = ? AND "key" = ?"#;
        if let Some(row) = transaction.fetch_optional(sql, params![name.namespace(), &*key]).await? {
            *key = row.text(0)?;
        }
    }
    Ok(())
}

/// Writes a resource, in place of what is there.
async fn write(
    writer: &mut Writer,
    name: &Touched,
    target: &Resource,
    actual: Option<Resource>,
) -> Result<(), StoreError> {
    let stored = name.namespace();
    match (target, actual) {
        (Resource::Namespace(namespace), actual) => {
            let mode = if actual.is_some() { WriteMode::Update } else { WriteMode::Create };
            resources::apply(writer, &Edit::WriteNamespace(namespace.clone(), mode), "").await
        }
        (Resource::Flag(flag), actual) => {
            require_segments(writer, stored, target).await?;
            let flag = resources::ranked(flag);
            match actual {
                Some(Resource::Flag(actual)) => resources::replace_flag(writer, stored, &actual, &flag).await,
                _ => import::write_whole_flag(writer, stored, &flag).await,
            }
        }
        (Resource::Segment(segment), Some(Resource::Segment(actual))) => {
            resources::replace_segment(writer, stored, &actual, segment).await
        }
        (Resource::Segment(segment), _) => import::write_segment(writer, stored, segment).await,
    }
}

/// Refuses a flag with segments that its namespace does not have. The beginning of the text is part of the contract.
async fn require_segments(writer: &mut Writer, stored: &str, target: &Resource) -> Result<(), StoreError> {
    let named = ResourceName::of(target, writer.place().namespace(stored));
    for (what, number, key) in segments(&mut target.clone()) {
        if !crate::segments::exists(&mut writer.transaction, stored, key).await? {
            return Err(StoreError::Precondition(format!(
                "references unknown segment {} ({named}, {what} {number})",
                go_quote(key)
            )));
        }
    }
    Ok(())
}
