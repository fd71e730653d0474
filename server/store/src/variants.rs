//! Variants of a flag in the database.

use flipt_model::validation::{compact_json, go_quote};
use flipt_proto::{flipt as pb, from_unix_micros};

use crate::{
    StoreError,
    database::{Param, Row, Transaction, params},
    distributions, flags, names,
    place::in_default_environment,
    sql::new_id,
    writer::Writer,
};

const COLUMNS: &str =
    r#"id, flag_key, "key", name, description, attachment, namespace_key, created_at, updated_at"#;

/// A variant with its attachment as it is stored.
fn from_row(row: &Row) -> Result<pb::Variant, StoreError> {
    Ok(pb::Variant {
        id: row.text(0)?,
        flag_key: row.text(1)?,
        key: row.text(2)?,
        name: row.text(3)?,
        description: row.text(4)?,
        attachment: row.text(5)?,
        namespace_key: row.text(6)?,
        created_at: Some(from_unix_micros(row.time(7)?)),
        updated_at: Some(from_unix_micros(row.time(8)?)),
    })
}

/// A variant as everything but lists shows it: insignificant white space is taken out of the attachment.
fn compacted(variant: pb::Variant) -> pb::Variant {
    let attachment = compact_json(&variant.attachment).unwrap_or(variant.attachment);
    pb::Variant { attachment, ..variant }
}

pub(crate) async fn of_flag(
    transaction: &mut Transaction,
    namespace: &str,
    flag: &str,
) -> Result<Vec<pb::Variant>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM variants WHERE namespace_key = ? AND flag_key = ? ORDER BY created_at, id"
    );
    let rows = transaction.fetch_all(&sql, params![namespace, flag]).await?;
    rows.iter().map(|row| from_row(row).map(compacted)).collect()
}

/// Every variant of a namespace, attachments as they were given (api spec, section 10).
pub(crate) async fn of_namespace(
    transaction: &mut Transaction,
    namespace: &str,
) -> Result<Vec<pb::Variant>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM variants WHERE namespace_key = ? ORDER BY created_at, id");
    let rows = transaction.fetch_all(&sql, params![namespace]).await?;
    rows.iter().map(from_row).collect()
}

async fn find(transaction: &mut Transaction, id: &str) -> Result<pb::Variant, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM variants WHERE id = ?");
    let row = transaction
        .fetch_optional(&sql, params![id])
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("variant {}", go_quote(id))))?;
    from_row(&row).map(compacted)
}

pub(crate) fn stored_attachment(attachment: &str) -> Param {
    if attachment.is_empty() {
        return Param::Null;
    }
    Param::Json(attachment.to_owned())
}

async fn require_unique(
    writer: &mut Writer,
    namespace: &str,
    flag: &str,
    key: &str,
    except_id: &str,
) -> Result<(), StoreError> {
    let taken = writer
        .transaction
        .exists(
            r#"SELECT 1 FROM variants WHERE namespace_key = ? AND flag_key = ? AND "key" = ? AND id <> ?"#,
            params![namespace, flag, key, except_id],
        )
        .await?;
    if !taken {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "variant {} is not unique for flag {}",
        go_quote(key),
        names::cleaned(namespace, flag)
    )))
}

pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateVariantRequest,
) -> Result<pb::Variant, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    flags::require(&mut writer.transaction, namespace, &request.flag_key).await?;
    require_unique(writer, namespace, &request.flag_key, &request.key, "").await?;
    let id = insert(writer, namespace, request).await?;
    find(&mut writer.transaction, &id).await
}

/// Stores a variant whose parent exists and whose key is free, and gives its id.
pub(crate) async fn insert(
    writer: &mut Writer,
    namespace: &str,
    request: &pb::CreateVariantRequest,
) -> Result<String, StoreError> {
    let id = new_id();
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"INSERT INTO variants (id, namespace_key, flag_key, "key", name, description, attachment, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"#,
            &[
                (&id).into(),
                namespace.into(),
                (&request.flag_key).into(),
                (&request.key).into(),
                (&request.name).into(),
                (&request.description).into(),
                stored_attachment(&request.attachment),
                now.clone(),
                now,
            ],
        )
        .await?;
    writer.touch_flag(namespace, &request.flag_key);
    Ok(id)
}

pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateVariantRequest,
) -> Result<pb::Variant, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    require_unique(writer, namespace, &request.flag_key, &request.key, &request.id).await?;
    let now = Param::Time(writer.now());
    let changed = writer
        .transaction
        .execute(
            r#"UPDATE variants SET "key" = ?, name = ?, description = ?, attachment = ?, updated_at = ?
               WHERE id = ? AND flag_key = ? AND namespace_key = ?"#,
            &[
                (&request.key).into(),
                (&request.name).into(),
                (&request.description).into(),
                stored_attachment(&request.attachment),
                now,
                (&request.id).into(),
                (&request.flag_key).into(),
                namespace.into(),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(StoreError::NotFound(format!("variant {}", go_quote(&request.key))));
    }
    distributions::touch_users(writer, "v.id = ?", params![&request.id]).await?;
    writer.touch_flag(namespace, &request.flag_key);
    find(&mut writer.transaction, &request.id).await
}

pub(crate) async fn delete(
    writer: &mut Writer,
    request: &pb::DeleteVariantRequest,
) -> Result<(), StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let of_request = params![&request.id, &request.flag_key, namespace];
    distributions::touch_users(writer, "v.id = ? AND v.flag_key = ? AND v.namespace_key = ?", of_request)
        .await?;
    // MySQL before 9 does not enforce the reference from the flag: clear it here, for every database.
    writer
        .transaction
        .execute(
            r#"UPDATE flags SET default_variant_id = NULL
               WHERE namespace_key = ? AND "key" = ? AND default_variant_id = ?"#,
            params![namespace, &request.flag_key, &request.id],
        )
        .await?;
    let deleted = writer
        .transaction
        .execute("DELETE FROM variants WHERE id = ? AND flag_key = ? AND namespace_key = ?", of_request)
        .await?;
    if deleted > 0 {
        writer.touch_flag(namespace, &request.flag_key);
    }
    Ok(())
}
