//! Flags in the database.

use std::collections::HashMap;

use flipt_proto::{flipt as pb, from_unix_micros, json_to_struct, struct_to_json};
use prost_types::Struct;
use serde_json::{Map, Value};

use crate::{
    StoreError,
    database::{Param, Row, Transaction, params},
    distributions, names, namespaces,
    paging::{self, Page},
    place::in_default_environment,
    variants,
    writer::Writer,
};

const COLUMNS: &str = r#"namespace_key, "key", name, description, enabled, type, metadata, default_variant_id, created_at, updated_at"#;

/// A flag without its variants, with the id of its default variant.
struct Bare {
    flag: pb::Flag,
    default_variant_id: String,
}

fn from_row(row: &Row) -> Result<Bare, StoreError> {
    let metadata = row.optional_text(6)?.map(|text| read_metadata(&text)).transpose()?.flatten();
    Ok(Bare {
        flag: pb::Flag {
            namespace_key: row.text(0)?,
            key: row.text(1)?,
            name: row.text(2)?,
            description: row.text(3)?,
            enabled: row.bool(4)?,
            r#type: row.int32(5)?,
            metadata,
            created_at: Some(from_unix_micros(row.time(8)?)),
            updated_at: Some(from_unix_micros(row.time(9)?)),
            ..pb::Flag::default()
        },
        default_variant_id: row.text(7)?,
    })
}

fn read_metadata(text: &str) -> Result<Option<Struct>, StoreError> {
    let json: Option<Map<String, Value>> = serde_json::from_str(text)
        .map_err(|error| StoreError::Content(format!("flag metadata is not a JSON object: {error}")))?;
    Ok(json.as_ref().map(json_to_struct))
}

/// Metadata as everything but lists shows them: without entries, there are none.
fn without_empty_metadata(flag: pb::Flag) -> pb::Flag {
    let metadata = flag.metadata.filter(|metadata| !metadata.fields.is_empty());
    pb::Flag { metadata, ..flag }
}

pub(crate) fn write_metadata(metadata: &Struct) -> Param {
    Param::Json(Value::Object(struct_to_json(metadata)).to_string())
}

impl Bare {
    fn with_variants(mut self, variants: Vec<pb::Variant>) -> pb::Flag {
        self.flag.default_variant = variants.iter().find(|v| v.id == self.default_variant_id).cloned();
        self.flag.variants = variants;
        self.flag
    }
}

fn not_found(namespace: &str, key: &str) -> StoreError {
    StoreError::NotFound(format!("flag {}", names::cleaned(namespace, key)))
}

pub(crate) async fn get(
    transaction: &mut Transaction,
    request: &pb::GetFlagRequest,
) -> Result<pb::Flag, StoreError> {
    find(transaction, in_default_environment(&request.namespace_key), &request.key).await
}

async fn find(transaction: &mut Transaction, namespace: &str, key: &str) -> Result<pb::Flag, StoreError> {
    let sql = format!(r#"SELECT {COLUMNS} FROM flags WHERE namespace_key = ? AND "key" = ?"#);
    let row = transaction
        .fetch_optional(&sql, params![namespace, key])
        .await?
        .ok_or_else(|| not_found(namespace, key))?;
    let variants = variants::of_flag(transaction, namespace, key).await?;
    Ok(without_empty_metadata(from_row(&row)?.with_variants(variants)))
}

pub(crate) async fn exists(
    transaction: &mut Transaction,
    namespace: &str,
    key: &str,
) -> Result<bool, StoreError> {
    transaction
        .exists(r#"SELECT 1 FROM flags WHERE namespace_key = ? AND "key" = ?"#, params![namespace, key])
        .await
}

/// Fails with the text that create requests give for a missing flag.
pub(crate) async fn require(
    transaction: &mut Transaction,
    namespace: &str,
    key: &str,
) -> Result<(), StoreError> {
    if exists(transaction, namespace, key).await? { Ok(()) } else { Err(not_found(namespace, key)) }
}

pub(crate) async fn list(
    transaction: &mut Transaction,
    request: &pb::ListFlagRequest,
) -> Result<pb::FlagList, StoreError> {
    #[allow(deprecated)]
    let page = Page::from_request(request.limit, request.offset, &request.page_token)?;
    list_page(transaction, in_default_environment(&request.namespace_key), page).await
}

/// A page of the flags of a stored namespace.
pub(crate) async fn list_page(
    transaction: &mut Transaction,
    namespace: &str,
    page: Page,
) -> Result<pb::FlagList, StoreError> {
    let total =
        transaction.count("SELECT COUNT(*) FROM flags WHERE namespace_key = ?", params![namespace]).await?;
    let sql = format!(
        r#"SELECT {COLUMNS} FROM flags WHERE namespace_key = ? ORDER BY created_at, "key"{}"#,
        page.sql()
    );
    let rows = transaction.fetch_all(&sql, params![namespace]).await?;
    let mut bare = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    let next_page_token = page.cut(&mut bare, |bare| &bare.flag.key);
    let mut variants: HashMap<String, Vec<pb::Variant>> = HashMap::new();
    for variant in variants::of_namespace(transaction, namespace).await? {
        variants.entry(variant.flag_key.clone()).or_default().push(variant);
    }
    let flags = bare
        .into_iter()
        .map(|bare| {
            let variants = variants.remove(&bare.flag.key).unwrap_or_default();
            let mut flag = bare.with_variants(variants);
            // Lists show them even if there are none (api spec, section 10).
            flag.metadata.get_or_insert_default();
            flag
        })
        .collect();
    Ok(pb::FlagList { flags, next_page_token, total_count: paging::total(total) })
}

pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateFlagRequest,
) -> Result<pb::Flag, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    namespaces::require(&mut writer.transaction, namespace).await?;
    if exists(&mut writer.transaction, namespace, &request.key).await? {
        return Err(StoreError::Invalid(format!(
            "flag {} is not unique",
            names::cleaned(namespace, &request.key)
        )));
    }
    insert(writer, namespace, request).await?;
    let flag = find(&mut writer.transaction, namespace, &request.key).await?;
    // The answer repeats the metadata that were given, also empty ones.
    Ok(pb::Flag { metadata: flag.metadata.or_else(|| request.metadata.clone()), ..flag })
}

/// Stores a flag whose parent exists and whose key is free.
pub(crate) async fn insert(
    writer: &mut Writer,
    namespace: &str,
    request: &pb::CreateFlagRequest,
) -> Result<(), StoreError> {
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"INSERT INTO flags (namespace_key, "key", name, description, enabled, type, metadata, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"#,
            &[
                namespace.into(),
                (&request.key).into(),
                (&request.name).into(),
                (&request.description).into(),
                request.enabled.into(),
                request.r#type.into(),
                request.metadata.as_ref().map(write_metadata).into(),
                now.clone(),
                now,
            ],
        )
        .await?;
    writer.touch_flag(namespace, &request.key);
    Ok(())
}

pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateFlagRequest,
) -> Result<pb::Flag, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let default_variant = (!request.default_variant_id.is_empty()).then_some(&request.default_variant_id);
    if let Some(id) = default_variant {
        let known = writer
            .transaction
            .exists(
                "SELECT 1 FROM variants WHERE id = ? AND namespace_key = ? AND flag_key = ?",
                params![id, namespace, &request.key],
            )
            .await?;
        if !known {
            return Err(StoreError::Invalid(format!(
                "variant {} not found for flag {}",
                flipt_model::validation::go_quote(id),
                names::cleaned(namespace, &request.key)
            )));
        }
    }
    let now = Param::Time(writer.now());
    let changed = writer
        .transaction
        .execute(
            r#"UPDATE flags SET name = ?, description = ?, enabled = ?, default_variant_id = ?, updated_at = ?
               WHERE namespace_key = ? AND "key" = ?"#,
            &[
                (&request.name).into(),
                (&request.description).into(),
                request.enabled.into(),
                default_variant.into(),
                now,
                namespace.into(),
                (&request.key).into(),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(not_found(namespace, &request.key));
    }
    // Absent metadata stays as it is: importers set default variants by updates that do not carry it.
    if let Some(metadata) = &request.metadata {
        let metadata = if metadata.fields.is_empty() { Param::Null } else { write_metadata(metadata) };
        writer
            .transaction
            .execute(
                r#"UPDATE flags SET metadata = ? WHERE namespace_key = ? AND "key" = ?"#,
                &[metadata, namespace.into(), (&request.key).into()],
            )
            .await?;
    }
    writer.touch_flag(namespace, &request.key);
    find(&mut writer.transaction, namespace, &request.key).await
}

pub(crate) async fn delete(writer: &mut Writer, request: &pb::DeleteFlagRequest) -> Result<(), StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    remove(writer, namespace, &request.key).await
}

/// Deletes a flag of a stored namespace with everything in it; one that does not exist is deleted already.
pub(crate) async fn remove(writer: &mut Writer, namespace: &str, key: &str) -> Result<(), StoreError> {
    // In tables that Flipt made on CockroachDB rules do not refer to their flag (storage spec, section 4).
    let of_flag = params![namespace, key];
    distributions::touch_users(writer, "v.namespace_key = ? AND v.flag_key = ?", of_flag).await?;
    writer.transaction.execute("DELETE FROM rules WHERE namespace_key = ? AND flag_key = ?", of_flag).await?;
    let sql = r#"DELETE FROM flags WHERE namespace_key = ? AND "key" = ?"#;
    if writer.transaction.execute(sql, of_flag).await? > 0 {
        writer.touch_flag(namespace, key);
    }
    Ok(())
}
