//! The guard of owned resources: nobody but the owner changes them. It looks at every write when it is complete,
//! so that no way of writing can forget it.
//!
//! # Expected flow
//! 1. A write in an environment without claims is not looked at.
//! 2. A write that touches nothing owned costs one query for each thing that it touches.
//! 3. A write that touches something owned is taken back, and made again after the state before it was read.
//! 4. Then both states are compared, without what the owner leaves to the UI.

use std::collections::BTreeSet;

use flipt_model::ownership::Resource;

use super::{Past, ResourceName, claims};
use crate::{
    StoreError,
    changes::{self, Touched},
    database::Transaction,
    live::Change,
    place::Place,
};

/// What the guard says to a write.
pub(crate) enum Verdict {
    /// Indicates that everything owned is as its owner wrote it, or was changed where the owner allows it.
    Allowed,
    /// Indicates that it takes the state of these before the write to tell.
    Unknown(BTreeSet<Touched>),
}

/// Looks at what a write touched, with what it led to and what is known of the state before.
///
/// # Errors
/// [`StoreError::Managed`].
pub(crate) async fn check(
    transaction: &mut Transaction,
    place: &Place,
    touched: &BTreeSet<Touched>,
    after: &[Change],
    before: &Past,
) -> Result<Verdict, StoreError> {
    let mut unknown = BTreeSet::new();
    for (touched, after) in changes::outermost(touched).into_iter().zip(after) {
        let held = claims::within(transaction, touched).await?;
        if held.is_empty() {
            continue;
        }
        let Some(before) = before.get(touched) else {
            unknown.insert(touched.clone());
            continue;
        };
        for held in held {
            let key = transaction.comparable(held.name.resource().to_owned());
            let hash = |change: &Change| {
                let found = find(change, &held.name, |other| transaction.comparable(other.to_owned()) == key);
                found.map(|resource| resource.content_hash(&held.claim.editable))
            };
            if hash(before) != hash(after) {
                let name = ResourceName::of_touched(&held.name, place);
                let emergency = match held.name {
                    Touched::Flag(..) => "; in an emergency, override the flag",
                    Touched::Namespace(_) | Touched::Segment(..) => "",
                };
                return Err(StoreError::Managed(format!(
                    "managed by kubernetes {}: change the object, or name the field in its uiEditable{emergency} \
                     ({name})",
                    held.claim.owner,
                )));
            }
        }
    }
    Ok(if unknown.is_empty() { Verdict::Allowed } else { Verdict::Unknown(unknown) })
}

/// A resource in what a write replaces.
fn find(change: &Change, name: &Touched, is: impl Fn(&str) -> bool) -> Option<Resource> {
    match (change, name) {
        (Change::Namespace { content, .. }, Touched::Namespace(_)) => {
            let content = content.as_ref()?;
            Some(Resource::Namespace(flipt_model::Namespace {
                key: content.key.clone(),
                name: content.name.clone(),
                description: content.description.clone(),
                ..Default::default()
            }))
        }
        (Change::Namespace { content, .. }, Touched::Flag(..)) => {
            content.as_ref()?.flags.iter().find(|flag| is(&flag.key)).cloned().map(Resource::Flag)
        }
        (Change::Namespace { content, .. }, Touched::Segment(..)) => {
            content.as_ref()?.segments.iter().find(|segment| is(&segment.key)).cloned().map(Resource::Segment)
        }
        (Change::Flag { content, .. }, Touched::Flag(..)) => {
            content.as_ref().map(|flag| Resource::Flag((**flag).clone()))
        }
        (Change::Segment { content, .. }, Touched::Segment(..)) => content.clone().map(Resource::Segment),
        _ => None,
    }
}
