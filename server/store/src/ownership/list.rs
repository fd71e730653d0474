//! The list of claims.

use std::collections::HashMap;

use flipt_model::ownership::{Resource, ResourceKind};
use flipt_proto::convert::as_sent;

use super::{
    Claims, Managed, ResourceName,
    apply::without_override,
    claims::{self, Held},
};
use crate::{
    StoreError, Version,
    database::Transaction,
    place::Place,
    state::{self, Scope},
};

/// Lists claims with hashes of what is stored, read at one instant.
pub(super) async fn list(
    transaction: &mut Transaction,
    place: &Place,
    wanted: Claims<'_>,
) -> Result<(Vec<Managed>, Version), StoreError> {
    let version = state::version(transaction, place).await?;
    let held = claims::of_environment(transaction, place, wanted.cluster, wanted.namespace).await?;
    if held.is_empty() {
        return Ok((Vec::new(), version));
    }
    let stored = place.stored(wanted.namespace);
    let scope = if wanted.namespace.is_empty() { Scope::All } else { Scope::Namespace(&stored) };
    let state = state::load(transaction, place, &scope).await?;
    let mut resources = HashMap::new();
    for mut namespace in state.namespaces {
        let of = transaction.comparable(namespace.key.clone());
        for flag in std::mem::take(&mut namespace.flags) {
            let key = transaction.comparable(flag.key.clone());
            resources.insert((ResourceKind::Flag, of.clone(), key), Resource::Flag(flag));
        }
        for segment in std::mem::take(&mut namespace.segments) {
            let key = transaction.comparable(segment.key.clone());
            resources.insert((ResourceKind::Segment, of.clone(), key), Resource::Segment(segment));
        }
        resources.insert((ResourceKind::Namespace, of.clone(), of), Resource::Namespace(namespace));
    }
    let listed = held.into_iter().map(|held| {
        let name = ResourceName::of_touched(&held.name, place);
        let of = transaction.comparable(name.namespace.clone());
        let key = transaction.comparable(name.key.clone());
        let resource = resources.remove(&(name.kind, of, key));
        managed(name, held, resource.as_ref())
    });
    Ok((listed.collect(), version))
}

/// A claim as others see it, with what is stored of its resource.
pub(super) fn managed(name: ResourceName, held: Held, actual: Option<&Resource>) -> Managed {
    let hash = |actual: &Resource| {
        without_override(&as_sent(actual), held.held.as_ref()).content_hash(&held.claim.editable)
    };
    Managed {
        name,
        content_hash: actual.map(hash).unwrap_or_default(),
        owner: held.claim.owner,
        generation: held.generation,
        editable: held.claim.editable,
        written_hash: held.claim.written_hash,
        held: held.held,
        claimed_at: held.claimed_at,
        seen_at: held.seen_at,
    }
}
