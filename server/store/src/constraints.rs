//! Constraints of a segment in the database.

use flipt_model::validation::go_quote;
use flipt_proto::{flipt as pb, from_unix_micros};

use crate::{
    StoreError,
    database::{Param, Row, Transaction, params},
    place::in_default_environment,
    segments,
    sql::new_id,
    writer::Writer,
};

const COLUMNS: &str =
    "id, segment_key, type, property, operator, value, description, namespace_key, created_at, updated_at";

fn from_row(row: &Row) -> Result<pb::Constraint, StoreError> {
    Ok(pb::Constraint {
        id: row.text(0)?,
        segment_key: row.text(1)?,
        r#type: row.int32(2)?,
        property: row.text(3)?,
        operator: row.text(4)?,
        value: row.text(5)?,
        description: row.text(6)?,
        namespace_key: row.text(7)?,
        created_at: Some(from_unix_micros(row.time(8)?)),
        updated_at: Some(from_unix_micros(row.time(9)?)),
    })
}

pub(crate) async fn of_segment(
    transaction: &mut Transaction,
    namespace: &str,
    segment: &str,
) -> Result<Vec<pb::Constraint>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM constraints WHERE namespace_key = ? AND segment_key = ? ORDER BY created_at, id"
    );
    let rows = transaction.fetch_all(&sql, params![namespace, segment]).await?;
    rows.iter().map(from_row).collect()
}

pub(crate) async fn of_namespace(
    transaction: &mut Transaction,
    namespace: &str,
) -> Result<Vec<pb::Constraint>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM constraints WHERE namespace_key = ? ORDER BY created_at, id");
    let rows = transaction.fetch_all(&sql, params![namespace]).await?;
    rows.iter().map(from_row).collect()
}

fn not_found(id: &str) -> StoreError {
    StoreError::NotFound(format!("constraint {}", go_quote(id)))
}

async fn find(transaction: &mut Transaction, id: &str) -> Result<pb::Constraint, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM constraints WHERE id = ?");
    let row = transaction.fetch_optional(&sql, params![id]).await?.ok_or_else(|| not_found(id))?;
    from_row(&row)
}

/// Stores a constraint whose operator and value are normalised already.
pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateConstraintRequest,
) -> Result<pb::Constraint, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    segments::require(&mut writer.transaction, namespace, &request.segment_key).await?;
    let id = insert(writer, namespace, request).await?;
    find(&mut writer.transaction, &id).await
}

/// Stores a constraint of a segment that exists, and gives its id.
pub(crate) async fn insert(
    writer: &mut Writer,
    namespace: &str,
    request: &pb::CreateConstraintRequest,
) -> Result<String, StoreError> {
    let id = new_id();
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            "INSERT INTO constraints (id, namespace_key, segment_key, type, property, operator, value, description, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                (&id).into(),
                namespace.into(),
                (&request.segment_key).into(),
                request.r#type.into(),
                (&request.property).into(),
                (&request.operator).into(),
                (&request.value).into(),
                (&request.description).into(),
                now.clone(),
                now,
            ],
        )
        .await?;
    writer.touch_segment(namespace, &request.segment_key);
    Ok(id)
}

/// Replaces a constraint; operator and value are normalised already.
pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateConstraintRequest,
) -> Result<pb::Constraint, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let now = Param::Time(writer.now());
    let changed = writer
        .transaction
        .execute(
            "UPDATE constraints SET type = ?, property = ?, operator = ?, value = ?, description = ?, updated_at = ?
             WHERE id = ? AND segment_key = ? AND namespace_key = ?",
            &[
                request.r#type.into(),
                (&request.property).into(),
                (&request.operator).into(),
                (&request.value).into(),
                (&request.description).into(),
                now,
                (&request.id).into(),
                (&request.segment_key).into(),
                namespace.into(),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(not_found(&request.id));
    }
    writer.touch_segment(namespace, &request.segment_key);
    find(&mut writer.transaction, &request.id).await
}

pub(crate) async fn delete(
    writer: &mut Writer,
    request: &pb::DeleteConstraintRequest,
) -> Result<(), StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let deleted = writer
        .transaction
        .execute(
            "DELETE FROM constraints WHERE id = ? AND segment_key = ? AND namespace_key = ?",
            params![&request.id, &request.segment_key, namespace],
        )
        .await?;
    if deleted > 0 {
        writer.touch_segment(namespace, &request.segment_key);
    }
    Ok(())
}
