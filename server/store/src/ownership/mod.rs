//! Who owns which namespaces, flags and segments (kubernetes design, section 4.3): the claims of objects of clusters.
//!
//! A claim is about a resource, not part of it: it outlives a deletion of the resource by force, which its owner is
//! to notice, and imports.

mod apply;
mod claims;
mod guard;
mod list;
mod overrides;
mod release;

use std::collections::BTreeMap;

use async_trait::async_trait;
use flipt_model::ownership::{Adoption, Decision, Drift, Editable, Owner, Resource, ResourceKind};

use crate::{
    SqlStore, StoreError, Version, changes,
    changes::Touched,
    live::Change,
    place::Place,
    writer::{looked_up, written},
};

pub(crate) use guard::{Verdict, check};

/// What was there before a write, by what the write touched.
pub(crate) type Past = BTreeMap<Touched, Change>;

/// The name of a resource in its environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceName {
    /// What it is.
    pub kind: ResourceKind,
    /// Key of the namespace that it is in; that of a namespace is its own.
    pub namespace: String,
    /// Its key.
    pub key: String,
}

impl ResourceName {
    /// The name of a resource of this namespace.
    #[must_use]
    pub fn of(resource: &Resource, namespace: &str) -> Self {
        match resource {
            Resource::Namespace(own) => Self::new(ResourceKind::Namespace, &own.key, &own.key),
            Resource::Flag(flag) => Self::new(ResourceKind::Flag, namespace, &flag.key),
            Resource::Segment(segment) => Self::new(ResourceKind::Segment, namespace, &segment.key),
        }
    }

    /// The name of a resource of this kind.
    #[must_use]
    pub fn new(kind: ResourceKind, namespace: &str, key: &str) -> Self {
        let namespace = if kind == ResourceKind::Namespace { key } else { namespace };
        Self { kind, namespace: namespace.to_owned(), key: key.to_owned() }
    }

    fn touched(&self, place: &Place) -> Touched {
        let stored = place.stored(&self.namespace);
        match self.kind {
            ResourceKind::Namespace => Touched::Namespace(stored),
            ResourceKind::Flag => Touched::Flag(stored, self.key.clone()),
            ResourceKind::Segment => Touched::Segment(stored, self.key.clone()),
        }
    }

    pub(crate) fn of_touched(touched: &Touched, place: &Place) -> Self {
        let namespace = place.namespace(touched.namespace());
        match touched {
            Touched::Namespace(_) => Self::new(ResourceKind::Namespace, namespace, namespace),
            Touched::Flag(_, key) => Self::new(ResourceKind::Flag, namespace, key),
            Touched::Segment(_, key) => Self::new(ResourceKind::Segment, namespace, key),
        }
    }
}

/// Kind, namespace and key: `flag shop/banner`.
impl std::fmt::Display for ResourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            ResourceKind::Namespace => write!(f, "namespace {}", self.key),
            kind => write!(f, "{} {}/{}", kind.as_str(), self.namespace, self.key),
        }
    }
}

/// What an owner wants a resource to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The resource, checked as whole resources are.
    pub resource: Resource,
    /// Key of the namespace that a flag or segment is in.
    pub namespace: String,
    /// Who wants it.
    pub owner: Owner,
    /// Generation of the object.
    pub generation: i64,
    /// What is left to the UI.
    pub editable: Editable,
    /// What happens if it exists and nobody owns it.
    pub adoption: Adoption,
    /// What happens if it was changed.
    pub drift: Drift,
}

/// What an owner's wish led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What was done.
    pub decision: Decision,
    /// Hash of what is stored now, without what is left to the UI and without an override; empty if there is nothing.
    pub content_hash: String,
    /// How what is stored differs from what is wanted, if it was left as it is although it differs.
    pub difference: String,
    /// The other object that owns it.
    pub other: Option<Owner>,
    /// The override in force.
    pub held: Option<OverrideState>,
}

/// What a release led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Whether there was a claim of this owner.
    pub released: bool,
    /// Whether the resource was deleted.
    pub deleted: bool,
    /// What still uses the resource, so that nothing was done.
    pub used_by: Vec<String>,
}

/// An owned flag that somebody has switched, against what its owner wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideState {
    /// The value in force.
    pub enabled: bool,
    /// The value that the owner wants.
    pub owner_enabled: bool,
    /// Who switched.
    pub user: String,
    /// Why.
    pub reason: String,
    /// When it ends, in microseconds since the Unix epoch.
    pub until: i64,
}

/// The wish to switch an owned flag for a limited time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The value.
    pub enabled: bool,
    /// Who switches.
    pub user: String,
    /// Why.
    pub reason: String,
    /// How long, in seconds.
    pub seconds: i64,
}

/// A resource that is owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Its name.
    pub name: ResourceName,
    /// Who owns it.
    pub owner: Owner,
    /// Generation of the owner that was heard of last.
    pub generation: i64,
    /// What is left to the UI.
    pub editable: Editable,
    /// Hash of what the owner wrote last.
    pub written_hash: String,
    /// Hash of what is stored; empty if it is gone. Without what is left to the UI, and without an override.
    pub content_hash: String,
    /// The override in force.
    pub held: Option<OverrideState>,
    /// When it was claimed, in microseconds since the Unix epoch.
    pub claimed_at: i64,
    /// When its owner was heard of last, to about ten minutes.
    pub seen_at: i64,
}

/// Which claims to list. Empty texts do not restrict.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a> {
    /// Only those of objects of this cluster.
    pub cluster: &'a str,
    /// Only those in this namespace, and that of it.
    pub namespace: &'a str,
}

/// What has changed in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The version that the changes lead to.
    pub version: Version,
    /// What was written, deleted, claimed or released. A namespace stands for everything in it.
    pub resources: Vec<ResourceName>,
    /// How they relate to the version that was asked about.
    pub history: History,
}

/// How a version relates to the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Indicates that everything since is known.
    Known,
    /// Indicates a version that this database has not reached: a replica that lags behind, or an old backup.
    Behind,
    /// Indicates that what happened since is not known any more, or that the version is none of this database.
    Lost,
}

/// Claims of an environment, and what their owners do.
///
/// # Guarantees
/// - Each method is one transaction, and takes effect as every other write does, or not at all.
/// - Nobody else changes what is owned, but for what its owner leaves to the UI: such a write fails with
///   [`StoreError::Managed`]. Imports of whole namespaces are the exception: they are force.
///
/// # Errors
/// Every method fails with [`StoreError`].
#[async_trait]
pub trait Ownership: Send + Sync {
    /// Makes a resource what its owner wants it to be, and claims it, as [`flipt_model::ownership::decide`] decides. If
    /// that is to do nothing, the version stays; the owner counts as seen.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without the namespace, [`StoreError::Precondition`] without a segment that a flag uses.
    async fn apply_owned(&self, desired: &Desired) -> Result<(Applied, Version), StoreError>;

    /// Gives up a claim, and deletes the resource if asked to. An override in force becomes a value as any other.
    async fn release(
        &self,
        name: &ResourceName,
        owner: &Owner,
        delete: bool,
    ) -> Result<(Released, Version), StoreError>;

    /// The claims that there are.
    async fn list_managed(&self, claims: Claims<'_>) -> Result<(Vec<Managed>, Version), StoreError>;

    /// What has changed since a version, given as its text. Asks the database itself, not this process's memory.
    async fn changes_since(&self, since: &str) -> Result<Changed, StoreError>;

    /// Switches an owned flag for a limited time, or changes the override that is in force.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without the flag, [`StoreError::Precondition`] if nobody owns it, or if its switch is
    /// left to the UI.
    async fn begin_override(&self, flag: &ResourceName, switch: &Switch) -> Result<Managed, StoreError>;

    /// Ends an override, if one is in force: the flag gets the value that its owner wants.
    ///
    /// # Errors
    /// [`StoreError::Precondition`] if nobody owns the flag.
    async fn end_override(&self, flag: &ResourceName) -> Result<Managed, StoreError>;
}

#[async_trait]
impl Ownership for SqlStore {
    async fn apply_owned(&self, desired: &Desired) -> Result<(Applied, Version), StoreError> {
        written!(self, |writer| apply::apply(writer, desired))
    }

    async fn release(
        &self,
        name: &ResourceName,
        owner: &Owner,
        delete: bool,
    ) -> Result<(Released, Version), StoreError> {
        written!(self, |writer| release::release(writer, name, owner, delete))
    }

    async fn list_managed(&self, claims: Claims<'_>) -> Result<(Vec<Managed>, Version), StoreError> {
        looked_up!(self.database, |transaction| list::list(transaction, self.place(), claims))
    }

    async fn changes_since(&self, since: &str) -> Result<Changed, StoreError> {
        looked_up!(self.database, |transaction| changes::named_since(transaction, self.place(), since))
    }

    async fn begin_override(&self, flag: &ResourceName, switch: &Switch) -> Result<Managed, StoreError> {
        written!(self, |writer| overrides::begin(writer, flag, switch)).map(|(managed, _)| managed)
    }

    async fn end_override(&self, flag: &ResourceName) -> Result<Managed, StoreError> {
        written!(self, |writer| overrides::end(writer, flag)).map(|(managed, _)| managed)
    }
}
