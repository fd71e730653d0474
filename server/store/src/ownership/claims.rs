//! Claims in the database.

use flipt_model::ownership::{Claim, Editable, EditableField, Owner};

use super::OverrideState;
use crate::{
    StoreError,
    changes::Touched,
    database::{Param, Row, Transaction, params},
    place::Place,
    writer::Writer,
};

/// A claim with what the database keeps beside it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) name: Touched,
    pub(super) claim: Claim,
    pub(super) generation: i64,
    pub(super) held: Option<OverrideState>,
    pub(super) claimed_at: i64,
    pub(super) seen_at: i64,
}

const COLUMNS: &str = "kind, namespace_key, resource_key, owner_cluster, owner_namespace, owner_name, owner_uid,
  generation, written_hash, ui_editable, override_enabled, override_owner_enabled, override_user, override_reason,
  override_until, claimed_at, seen_at";

/// Separates fields in a column.
const SEPARATOR: char = ',';

fn from_row(row: &Row) -> Result<Held, StoreError> {
    let kind = row.text(0)?;
    let name = Touched::read(&kind, row.text(1)?, row.text(2)?)
        .ok_or_else(|| StoreError::Content(format!("table resource_owners: unknown kind {kind:?}")))?;
    let until = row.int(14)?;
    let held = (until > 0).then_some(OverrideState {
        enabled: row.bool(10)?,
        owner_enabled: row.bool(11)?,
        user: row.text(12)?,
        reason: row.text(13)?,
        until,
    });
    Ok(Held {
        name,
        claim: Claim {
            owner: Owner {
                cluster: row.text(3)?,
                namespace: row.text(4)?,
                name: row.text(5)?,
                uid: row.text(6)?,
            },
            written_hash: row.text(8)?,
            // What a newer program adds is not editable here.
            editable: row.text(9)?.split(SEPARATOR).filter_map(EditableField::parse).collect(),
        },
        generation: row.int(7)?,
        held,
        claimed_at: row.int(15)?,
        seen_at: row.int(16)?,
    })
}

async fn fetch(
    transaction: &mut Transaction,
    filter: &str,
    values: &[Param],
) -> Result<Vec<Held>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resource_owners WHERE {filter} ORDER BY namespace_key, kind, resource_key"
    );
    transaction.fetch_all(&sql, values).await?.iter().map(from_row).collect()
}

const ONE: &str = "namespace_key = ? AND kind = ? AND resource_key = ?";

/// The claim of a resource.
pub(super) async fn find(transaction: &mut Transaction, name: &Touched) -> Result<Option<Held>, StoreError> {
    let values = params![name.namespace(), name.kind(), name.resource()];
    Ok(fetch(transaction, ONE, values).await?.pop())
}

/// The claims of a resource and of all that is in it.
pub(super) async fn within(transaction: &mut Transaction, name: &Touched) -> Result<Vec<Held>, StoreError> {
    match name {
        Touched::Namespace(stored) => fetch(transaction, "namespace_key = ?", params![stored]).await,
        Touched::Flag(..) | Touched::Segment(..) => Ok(find(transaction, name).await?.into_iter().collect()),
    }
}

/// Every claim of an environment.
pub(super) async fn of_environment(
    transaction: &mut Transaction,
    place: &Place,
    cluster: &str,
    namespace: &str,
) -> Result<Vec<Held>, StoreError> {
    let mut filter = "environment_key = ?".to_owned();
    let mut values = vec![Param::from(place.row.as_str())];
    if !cluster.is_empty() {
        filter.push_str(" AND owner_cluster = ?");
        values.push(cluster.into());
    }
    if !namespace.is_empty() {
        filter.push_str(" AND namespace_key = ?");
        values.push(place.stored(namespace).into());
    }
    fetch(transaction, &filter, &values).await
}

/// The claims of flags whose override should have ended at an instant.
pub(super) async fn expired(
    transaction: &mut Transaction,
    place: &Place,
    now: i64,
) -> Result<Vec<Held>, StoreError> {
    let filter = "environment_key = ? AND override_until > 0 AND override_until <= ?";
    fetch(transaction, filter, params![&place.row, now]).await
}

/// When the next override of an environment ends, if one is in force.
pub(super) async fn next_end(
    transaction: &mut Transaction,
    place: &Place,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT COALESCE(MIN(override_until), 0) FROM resource_owners
               WHERE environment_key = ? AND override_until > 0";
    let until = transaction.count(sql, params![&place.row]).await?;
    Ok((until > 0).then_some(until))
}

fn editable_text(editable: &Editable) -> String {
    let fields: Vec<&str> = editable.iter().map(|field| field.as_str()).collect();
    fields.join(&SEPARATOR.to_string())
}

/// Records a claim, in place of the one that there was if it `is_known`.
pub(super) async fn put(writer: &mut Writer, held: &Held, is_known: bool) -> Result<(), StoreError> {
    let Held { name, claim: Claim { owner, written_hash, editable }, .. } = held;
    let none = OverrideState {
        enabled: false,
        owner_enabled: false,
        user: String::new(),
        reason: String::new(),
        until: 0,
    };
    let over = held.held.as_ref().unwrap_or(&none);
    let mut values: Vec<Param> = vec![
        (&owner.cluster).into(),
        (&owner.namespace).into(),
        (&owner.name).into(),
        (&owner.uid).into(),
        held.generation.into(),
        written_hash.into(),
        editable_text(editable).into(),
        over.enabled.into(),
        over.owner_enabled.into(),
        (&over.user).into(),
        (&over.reason).into(),
        over.until.into(),
        held.claimed_at.into(),
        held.seen_at.into(),
        name.namespace().into(),
        name.kind().into(),
        name.resource().into(),
    ];
    if is_known {
        let sql = format!(
            "UPDATE resource_owners SET owner_cluster = ?, owner_namespace = ?, owner_name = ?, owner_uid = ?,
               generation = ?, written_hash = ?, ui_editable = ?, override_enabled = ?, override_owner_enabled = ?,
               override_user = ?, override_reason = ?, override_until = ?, claimed_at = ?, seen_at = ?
             WHERE {ONE}"
        );
        return writer.transaction.execute(&sql, &values).await.map(drop);
    }
    values.push(writer.place().row.as_str().into());
    let sql = "INSERT INTO resource_owners
                 (owner_cluster, owner_namespace, owner_name, owner_uid, generation, written_hash, ui_editable,
                  override_enabled, override_owner_enabled, override_user, override_reason, override_until,
                  claimed_at, seen_at, namespace_key, kind, resource_key, environment_key)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    writer.transaction.execute(sql, &values).await?;
    count(writer, 1).await
}

/// Forgets a claim.
pub(super) async fn remove(writer: &mut Writer, name: &Touched) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM resource_owners WHERE {ONE}");
    let values = params![name.namespace(), name.kind(), name.resource()];
    let removed = writer.transaction.execute(&sql, values).await?;
    count(writer, -i64::try_from(removed).unwrap_or_default()).await
}

/// Records that an owner was heard of. No part of the state: no revision tells of it.
pub(super) async fn see(
    writer: &mut Writer,
    name: &Touched,
    generation: i64,
    now: i64,
) -> Result<(), StoreError> {
    let sql = format!("UPDATE resource_owners SET generation = ?, seen_at = ? WHERE {ONE}");
    let values = params![generation, now, name.namespace(), name.kind(), name.resource()];
    writer.transaction.execute(&sql, values).await.map(drop)
}

async fn count(writer: &mut Writer, more: i64) -> Result<(), StoreError> {
    let row = writer.place().row.clone();
    let sql = r#"UPDATE environments SET claims = claims + ? WHERE "key" = ?"#;
    writer.transaction.execute(sql, params![more, row]).await.map(drop)
}
