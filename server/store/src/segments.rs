//! Segments in the database.

use std::collections::HashMap;

use flipt_proto::{flipt as pb, from_unix_micros};

use crate::{
    StoreError, constraints,
    database::{Param, Row, Transaction, params},
    names, namespaces,
    paging::{self, Page},
    place::in_default_environment,
    writer::Writer,
};

const COLUMNS: &str = r#"namespace_key, "key", name, description, match_type, created_at, updated_at"#;

fn from_row(row: &Row) -> Result<pb::Segment, StoreError> {
    Ok(pb::Segment {
        namespace_key: row.text(0)?,
        key: row.text(1)?,
        name: row.text(2)?,
        description: row.text(3)?,
        match_type: row.int32(4)?,
        created_at: Some(from_unix_micros(row.time(5)?)),
        updated_at: Some(from_unix_micros(row.time(6)?)),
        constraints: Vec::new(),
    })
}

fn not_found(namespace: &str, key: &str) -> StoreError {
    StoreError::NotFound(format!("segment {}", names::cleaned(namespace, key)))
}

pub(crate) async fn get(
    transaction: &mut Transaction,
    request: &pb::GetSegmentRequest,
) -> Result<pb::Segment, StoreError> {
    find(transaction, in_default_environment(&request.namespace_key), &request.key).await
}

async fn find(transaction: &mut Transaction, namespace: &str, key: &str) -> Result<pb::Segment, StoreError> {
    let sql = format!(r#"SELECT {COLUMNS} FROM segments WHERE namespace_key = ? AND "key" = ?"#);
    let row = transaction
        .fetch_optional(&sql, params![namespace, key])
        .await?
        .ok_or_else(|| not_found(namespace, key))?;
    let constraints = constraints::of_segment(transaction, namespace, key).await?;
    Ok(pb::Segment { constraints, ..from_row(&row)? })
}

pub(crate) async fn exists(
    transaction: &mut Transaction,
    namespace: &str,
    key: &str,
) -> Result<bool, StoreError> {
    transaction
        .exists(r#"SELECT 1 FROM segments WHERE namespace_key = ? AND "key" = ?"#, params![namespace, key])
        .await
}

/// Fails with the text that create requests give for a missing segment.
pub(crate) async fn require(
    transaction: &mut Transaction,
    namespace: &str,
    key: &str,
) -> Result<(), StoreError> {
    if exists(transaction, namespace, key).await? { Ok(()) } else { Err(not_found(namespace, key)) }
}

/// Whether every one of these segments exists.
pub(crate) async fn all_exist(
    transaction: &mut Transaction,
    namespace: &str,
    keys: &[String],
) -> Result<bool, StoreError> {
    for key in keys {
        if !exists(transaction, namespace, key).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) async fn list(
    transaction: &mut Transaction,
    request: &pb::ListSegmentRequest,
) -> Result<pb::SegmentList, StoreError> {
    #[allow(deprecated)]
    let page = Page::from_request(request.limit, request.offset, &request.page_token)?;
    list_page(transaction, in_default_environment(&request.namespace_key), page).await
}

/// A page of the segments of a stored namespace.
pub(crate) async fn list_page(
    transaction: &mut Transaction,
    namespace: &str,
    page: Page,
) -> Result<pb::SegmentList, StoreError> {
    let total = transaction
        .count("SELECT COUNT(*) FROM segments WHERE namespace_key = ?", params![namespace])
        .await?;
    let sql = format!(
        r#"SELECT {COLUMNS} FROM segments WHERE namespace_key = ? ORDER BY created_at, "key"{}"#,
        page.sql()
    );
    let rows = transaction.fetch_all(&sql, params![namespace]).await?;
    let mut segments = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    let next_page_token = page.cut(&mut segments, |segment| &segment.key);
    let mut constraints: HashMap<String, Vec<pb::Constraint>> = HashMap::new();
    for constraint in constraints::of_namespace(transaction, namespace).await? {
        constraints.entry(constraint.segment_key.clone()).or_default().push(constraint);
    }
    for segment in &mut segments {
        segment.constraints = constraints.remove(&segment.key).unwrap_or_default();
    }
    Ok(pb::SegmentList { segments, next_page_token, total_count: paging::total(total) })
}

pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateSegmentRequest,
) -> Result<pb::Segment, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    namespaces::require(&mut writer.transaction, namespace).await?;
    if exists(&mut writer.transaction, namespace, &request.key).await? {
        return Err(StoreError::Invalid(format!(
            "segment {} is not unique",
            names::cleaned(namespace, &request.key)
        )));
    }
    insert(writer, namespace, request).await?;
    find(&mut writer.transaction, namespace, &request.key).await
}

/// Stores a segment whose parent exists and whose key is free.
pub(crate) async fn insert(
    writer: &mut Writer,
    namespace: &str,
    request: &pb::CreateSegmentRequest,
) -> Result<(), StoreError> {
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"INSERT INTO segments (namespace_key, "key", name, description, match_type, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)"#,
            &[
                namespace.into(),
                (&request.key).into(),
                (&request.name).into(),
                (&request.description).into(),
                request.match_type.into(),
                now.clone(),
                now,
            ],
        )
        .await?;
    writer.touch_segment(namespace, &request.key);
    Ok(())
}

pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateSegmentRequest,
) -> Result<pb::Segment, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let now = Param::Time(writer.now());
    let changed = writer
        .transaction
        .execute(
            r#"UPDATE segments SET name = ?, description = ?, match_type = ?, updated_at = ?
               WHERE namespace_key = ? AND "key" = ?"#,
            &[
                (&request.name).into(),
                (&request.description).into(),
                request.match_type.into(),
                now,
                namespace.into(),
                (&request.key).into(),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(not_found(namespace, &request.key));
    }
    writer.touch_segment(namespace, &request.key);
    find(&mut writer.transaction, namespace, &request.key).await
}

pub(crate) async fn delete(
    writer: &mut Writer,
    request: &pb::DeleteSegmentRequest,
) -> Result<(), StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    for table in ["rule_segments", "rollout_segment_references"] {
        let sql = format!("SELECT 1 FROM {table} WHERE namespace_key = ? AND segment_key = ?");
        if writer.transaction.exists(&sql, params![namespace, &request.key]).await? {
            return Err(StoreError::Invalid(format!(
                "segment {} is in use",
                names::cleaned(namespace, &request.key)
            )));
        }
    }
    let deleted = writer
        .transaction
        .execute(
            r#"DELETE FROM segments WHERE namespace_key = ? AND "key" = ?"#,
            params![namespace, &request.key],
        )
        .await?;
    if deleted > 0 {
        writer.touch_segment(namespace, &request.key);
    }
    Ok(())
}
