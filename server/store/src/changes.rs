//! The log of changes: what each revision changed, so that whoever follows reads that alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Changed, History, ResourceName, StoreError, Version,
    database::{Param, Transaction, params},
    live::{Change, Live, NamespaceVersion},
    place::Place,
    state::{self, Scope},
};

/// How many revisions are kept. Whoever is further behind reads the whole state.
const KEPT: u64 = 10_000;
/// How often old ones are removed, in revisions.
const REMOVED_EVERY: u64 = 500;
/// How many changes are read one by one. From here on reading everything is cheaper.
const FEW: usize = 500;

/// How many changes are named one by one.
const NAMED: usize = 10_000;

/// Something that a write changed, in an order that compiles segments before the flags that use them.
/// Namespaces are named by their stored keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touched {
    Namespace(String),
    Segment(String, String),
    Flag(String, String),
}

impl Touched {
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "namespace",
            Self::Segment(..) => "segment",
            Self::Flag(..) => "flag",
        }
    }

    const fn kind_order(&self) -> u8 {
        match self {
            Self::Namespace(_) => 0,
            Self::Segment(..) => 1,
            Self::Flag(..) => 2,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Namespace(key) | Self::Segment(key, _) | Self::Flag(key, _) => key,
        }
    }

    pub(crate) fn resource(&self) -> &str {
        match self {
            Self::Namespace(_) => "",
            Self::Segment(_, key) | Self::Flag(_, key) => key,
        }
    }

    pub(crate) fn read(kind: &str, namespace: String, resource: String) -> Option<Self> {
        match kind {
            "namespace" => Some(Self::Namespace(namespace)),
            "segment" => Some(Self::Segment(namespace, resource)),
            "flag" => Some(Self::Flag(namespace, resource)),
            _ => None,
        }
    }
}

/// What is touched, spelt as it is stored, on databases that find keys in any letter case. What is gone is spelt as
/// the state before had it.
pub(crate) async fn spelt_as_stored(
    transaction: &mut Transaction,
    place: &Place,
    before: &Live,
    touched: BTreeSet<Touched>,
) -> Result<BTreeSet<Touched>, StoreError> {
    if !transaction.ignores_letter_case() {
        return Ok(touched);
    }
    let mut spelt = BTreeSet::new();
    for touched in touched {
        let sql = r#"SELECT "key" FROM namespaces WHERE "key" = ?"#;
        let stored = transaction.fetch_optional(sql, params![touched.namespace()]).await?;
        let namespace = match stored {
            Some(row) => row.text(0)?,
            None => {
                let asked = place.namespace(touched.namespace());
                let known = before.namespaces.keys().find(|key| key.eq_ignore_ascii_case(asked));
                known.map_or_else(|| touched.namespace().to_owned(), |key| place.stored(key))
            }
        };
        let compiled = before.snapshot.namespace(place.namespace(&namespace));
        spelt.insert(match touched {
            Touched::Namespace(_) => Touched::Namespace(namespace),
            Touched::Flag(_, key) => {
                let sql = r#"SELECT "key" FROM flags WHERE namespace_key = ? AND "key" = ?"#;
                let stored = transaction.fetch_optional(sql, params![&namespace, &key]).await?;
                let known = || Some(compiled?.flag_ignoring_case(&key)?.key().to_owned());
                let spelling = stored.map(|row| row.text(0)).transpose()?.or_else(known).unwrap_or(key);
                Touched::Flag(namespace, spelling)
            }
            Touched::Segment(_, key) => {
                let sql = r#"SELECT "key" FROM segments WHERE namespace_key = ? AND "key" = ?"#;
                let stored = transaction.fetch_optional(sql, params![&namespace, &key]).await?;
                let known = || Some(compiled?.segment_ignoring_case(&key)?.to_owned());
                let spelling = stored.map(|row| row.text(0)).transpose()?.or_else(known).unwrap_or(key);
                Touched::Segment(namespace, spelling)
            }
        });
    }
    Ok(spelt)
}

/// The namespaces that are touched as wholes.
fn whole(touched: &BTreeSet<Touched>) -> BTreeSet<&str> {
    let whole = touched.iter().filter(|touched| matches!(touched, Touched::Namespace(_)));
    whole.map(Touched::namespace).collect()
}

/// What is touched, without what lies in a namespace that is touched as a whole.
pub(crate) fn outermost(touched: &BTreeSet<Touched>) -> Vec<&Touched> {
    let whole = whole(touched);
    touched
        .iter()
        .filter(|touched| matches!(touched, Touched::Namespace(_)) || !whole.contains(touched.namespace()))
        .collect()
}

const WRITE: &str = "write";
const DELETE: &str = "delete";

/// Reads what a write has led to, in the transaction that made it.
pub(crate) async fn read(
    transaction: &mut Transaction,
    place: &Place,
    touched: &BTreeSet<Touched>,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::with_capacity(touched.len());
    for touched in outermost(touched) {
        changes.push(load(transaction, place, touched).await?);
    }
    Ok(changes)
}

/// Adds what a revision changed to the log; `changes` is what [`read`] gave for it.
pub(crate) async fn record(
    transaction: &mut Transaction,
    place: &Place,
    revision: u64,
    (touched, changes): (&BTreeSet<Touched>, &[Change]),
    now: i64,
) -> Result<(), StoreError> {
    let number = |revision: u64| Param::Int(i64::try_from(revision).unwrap_or(i64::MAX));
    for ((position, touched), change) in (0_i64..).zip(outermost(touched)).zip(changes) {
        transaction
            .execute(
                "INSERT INTO changes
                   (environment_key, revision, position, kind, action, namespace_key, resource_key, changed_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                &[
                    place.row.as_str().into(),
                    number(revision),
                    position.into(),
                    touched.kind().into(),
                    (if change.is_deletion() { DELETE } else { WRITE }).into(),
                    touched.namespace().into(),
                    touched.resource().into(),
                    now.into(),
                ],
            )
            .await?;
    }
    if revision.is_multiple_of(REMOVED_EVERY) && revision > KEPT {
        let sql = "DELETE FROM changes WHERE environment_key = ? AND revision <= ?";
        transaction.execute(sql, &[place.row.as_str().into(), number(revision - KEPT)]).await?;
    }
    Ok(())
}

/// What the log tells of something that changed.
struct Logged {
    touched: Touched,
    /// Whether it was deleted at some point: it may have come back since, at another place of its list.
    deleted: bool,
    /// Where in the log it was first written since.
    first: usize,
}

/// What changed after one version up to another, in the order in which things were created; `None` if the log
/// does not tell, or tells too much.
async fn since(
    transaction: &mut Transaction,
    place: &Place,
    before: &Version,
    now: &Version,
) -> Result<Option<Vec<Logged>>, StoreError> {
    if before.epoch != now.epoch || before.revision > now.revision {
        return Ok(None);
    }
    let sql = format!(
        "SELECT revision, kind, action, namespace_key, resource_key FROM changes
         WHERE environment_key = ? AND revision > ? AND revision <= ? ORDER BY revision, position LIMIT {}",
        FEW + 1
    );
    let number = |revision: u64| i64::try_from(revision).unwrap_or(i64::MAX);
    let rows = transaction
        .fetch_all(&sql, params![&place.row, number(before.revision), number(now.revision)])
        .await?;
    if rows.len() > FEW {
        return Ok(None);
    }
    let mut found: BTreeMap<Touched, Logged> = BTreeMap::new();
    let mut revisions = BTreeSet::new();
    for (position, row) in rows.iter().enumerate() {
        revisions.insert(row.int(0)?);
        // Otherwise written by a newer program.
        let Some(touched) = Touched::read(&row.text(1)?, row.text(3)?, row.text(4)?) else { return Ok(None) };
        let logged =
            found.entry(touched.clone()).or_insert(Logged { touched, deleted: false, first: position });
        if row.text(2)? == DELETE {
            logged.deleted = true;
            logged.first = position + 1;
        }
    }
    // A revision without a line was made by a program that does not know the log.
    if revisions.len() as u64 != now.revision - before.revision {
        return Ok(None);
    }
    let mut logged: Vec<Logged> = found.into_values().collect();
    let whole: BTreeSet<String> = logged
        .iter()
        .filter(|logged| matches!(logged.touched, Touched::Namespace(_)))
        .map(|logged| logged.touched.namespace().to_owned())
        .collect();
    logged.retain(|logged| {
        matches!(logged.touched, Touched::Namespace(_)) || !whole.contains(logged.touched.namespace())
    });
    // Segments before the flags that use them.
    logged.sort_by_key(|logged| (logged.touched.kind_order(), logged.first));
    Ok(Some(logged))
}

/// What changed since a version, given as its text, with the version now; each resource once.
pub(crate) async fn named_since(
    transaction: &mut Transaction,
    place: &Place,
    since: &str,
) -> Result<Changed, StoreError> {
    let version = state::version(transaction, place).await?;
    let lost = |version| Changed { version, resources: Vec::new(), history: History::Lost };
    let Some(before) = version.revision_in(since) else { return Ok(lost(version)) };
    if before > version.revision {
        return Ok(Changed { version, resources: Vec::new(), history: History::Behind });
    }
    let sql = format!(
        "SELECT revision, kind, namespace_key, resource_key FROM changes
         WHERE environment_key = ? AND revision > ? AND revision <= ? ORDER BY revision, position LIMIT {}",
        NAMED + 1
    );
    let number = |revision: u64| i64::try_from(revision).unwrap_or(i64::MAX);
    let rows =
        transaction.fetch_all(&sql, params![&place.row, number(before), number(version.revision)]).await?;
    if rows.len() > NAMED {
        return Ok(lost(version));
    }
    let mut revisions = BTreeSet::new();
    let mut found = BTreeSet::new();
    for row in &rows {
        revisions.insert(row.int(0)?);
        let Some(touched) = Touched::read(&row.text(1)?, row.text(2)?, row.text(3)?) else {
            return Ok(lost(version));
        };
        found.insert(touched);
    }
    if revisions.len() as u64 != version.revision - before {
        return Ok(lost(version));
    }
    let resources = found.iter().map(|touched| ResourceName::of_touched(touched, place)).collect();
    Ok(Changed { version, resources, history: History::Known })
}

/// The compiled state at a version that the transaction sees, made from an earlier one: only what changed is
/// read and compiled, if the log tells.
pub(crate) async fn catch_up(
    transaction: &mut Transaction,
    place: &Place,
    before: &Live,
    version: Version,
) -> Result<Live, StoreError> {
    let Some(logged) = since(transaction, place, &before.version, &version).await? else {
        tracing::info!(from = before.version.revision, to = version.revision, "whole state read");
        return state::load_live(transaction, place, version).await;
    };
    let mut changes = Vec::with_capacity(logged.len());
    for Logged { touched, deleted, .. } in &logged {
        let change = load(transaction, place, touched).await?;
        if *deleted && !change.is_deletion() {
            changes.push(change.deletion());
        }
        changes.push(change);
    }
    let touched = logged.into_iter().map(|logged| logged.touched).collect();
    apply(transaction, place, before, (&touched, changes), version).await
}

/// The compiled state after these changes, which the transaction sees.
pub(crate) async fn apply(
    transaction: &mut Transaction,
    place: &Place,
    before: &Live,
    (touched, changes): (&BTreeSet<Touched>, Vec<Change>),
    version: Version,
) -> Result<Live, StoreError> {
    let namespaces: BTreeSet<&str> = touched.iter().map(Touched::namespace).collect();
    let mut versions: Vec<(String, Option<NamespaceVersion>)> = Vec::with_capacity(namespaces.len());
    for stored in namespaces {
        let version = state::namespace_version(transaction, stored).await?;
        versions.push((place.namespace(stored).to_owned(), version));
    }
    Ok(before.apply(changes, versions, version))
}

pub(crate) async fn load(
    transaction: &mut Transaction,
    place: &Place,
    touched: &Touched,
) -> Result<Change, StoreError> {
    Ok(match touched {
        Touched::Namespace(key) => {
            let mut state = state::load(transaction, place, &Scope::Namespace(key)).await?;
            Change::Namespace { content: state.namespaces.pop(), key: place.namespace(key).to_owned() }
        }
        Touched::Segment(namespace, key) => {
            let mut state = state::load(transaction, place, &Scope::Segment(namespace, key)).await?;
            let content = state.namespaces.pop().and_then(|mut loaded| loaded.segments.pop());
            Change::Segment { namespace: place.namespace(namespace).to_owned(), key: key.clone(), content }
        }
        Touched::Flag(namespace, key) => {
            let mut state = state::load(transaction, place, &Scope::Flag(namespace, key)).await?;
            let content = state.namespaces.pop().and_then(|mut loaded| loaded.flags.pop()).map(Box::new);
            Change::Flag { namespace: place.namespace(namespace).to_owned(), key: key.clone(), content }
        }
    })
}
