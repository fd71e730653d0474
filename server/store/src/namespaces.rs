//! Namespaces in the database.

use flipt_model::{DEFAULT_ENVIRONMENT, validation::go_quote};
use flipt_proto::{flipt as pb, from_unix_micros};

use crate::{
    StoreError,
    database::{Param, Row, Transaction, params},
    paging::{self, Page},
    place::in_default_environment,
    writer::Writer,
};

const COLUMNS: &str = r#""key", name, description, protected, created_at, updated_at"#;

fn from_row(row: &Row) -> Result<pb::Namespace, StoreError> {
    Ok(pb::Namespace {
        key: row.text(0)?,
        name: row.text(1)?,
        description: row.text(2)?,
        protected: row.bool(3)?,
        created_at: Some(from_unix_micros(row.time(4)?)),
        updated_at: Some(from_unix_micros(row.time(5)?)),
    })
}

fn not_found(key: &str) -> StoreError {
    StoreError::NotFound(format!("namespace {}", go_quote(key)))
}

pub(crate) async fn get(
    transaction: &mut Transaction,
    request: &pb::GetNamespaceRequest,
) -> Result<pb::Namespace, StoreError> {
    find(transaction, in_default_environment(&request.key)).await
}

async fn find(transaction: &mut Transaction, key: &str) -> Result<pb::Namespace, StoreError> {
    let sql = format!(r#"SELECT {COLUMNS} FROM namespaces WHERE "key" = ?"#);
    let row = transaction.fetch_optional(&sql, params![key]).await?.ok_or_else(|| not_found(key))?;
    from_row(&row)
}

/// Fails with the text that create requests give for a missing namespace.
pub(crate) async fn require(transaction: &mut Transaction, key: &str) -> Result<(), StoreError> {
    if exists(transaction, key).await? { Ok(()) } else { Err(not_found(key)) }
}

pub(crate) async fn exists(transaction: &mut Transaction, key: &str) -> Result<bool, StoreError> {
    transaction.exists(r#"SELECT 1 FROM namespaces WHERE "key" = ?"#, params![key]).await
}

pub(crate) async fn list(
    transaction: &mut Transaction,
    request: &pb::ListNamespaceRequest,
) -> Result<pb::NamespaceList, StoreError> {
    #[allow(deprecated)]
    let page = Page::from_request(request.limit, request.offset, &request.page_token)?;
    let here = params![DEFAULT_ENVIRONMENT];
    let total = transaction.count("SELECT COUNT(*) FROM namespaces WHERE environment_key = ?", here).await?;
    let sql = format!(
        r#"SELECT {COLUMNS} FROM namespaces WHERE environment_key = ? ORDER BY created_at, "key"{}"#,
        page.sql()
    );
    let rows = transaction.fetch_all(&sql, here).await?;
    let mut namespaces = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    let next_page_token = page.cut(&mut namespaces, |namespace| &namespace.key);
    Ok(pb::NamespaceList { namespaces, next_page_token, total_count: paging::total(total) })
}

pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateNamespaceRequest,
) -> Result<pb::Namespace, StoreError> {
    insert(writer, &request.key, &request.name, &request.description, false).await?;
    find(&mut writer.transaction, &request.key).await
}

pub(crate) async fn insert(
    writer: &mut Writer,
    key: &str,
    name: &str,
    description: &str,
    protected: bool,
) -> Result<(), StoreError> {
    if exists(&mut writer.transaction, key).await? {
        return Err(StoreError::Invalid(format!("namespace {} is not unique", go_quote(key))));
    }
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"INSERT INTO namespaces ("key", environment_key, name, description, protected, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)"#,
            &[
                key.into(),
                writer.place().row.as_str().into(),
                name.into(),
                description.into(),
                protected.into(),
                now.clone(),
                now,
            ],
        )
        .await?;
    writer.touch_namespace(key);
    Ok(())
}

pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateNamespaceRequest,
) -> Result<pb::Namespace, StoreError> {
    let now = Param::Time(writer.now());
    let changed = writer
        .transaction
        .execute(
            r#"UPDATE namespaces SET name = ?, description = ?, updated_at = ? WHERE "key" = ?"#,
            &[
                (&request.name).into(),
                (&request.description).into(),
                now,
                in_default_environment(&request.key).into(),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(not_found(&request.key));
    }
    writer.touch_namespace(&request.key);
    find(&mut writer.transaction, &request.key).await
}

pub(crate) async fn delete(
    writer: &mut Writer,
    request: &pb::DeleteNamespaceRequest,
) -> Result<(), StoreError> {
    let key = in_default_environment(&request.key);
    let namespace = find(&mut writer.transaction, key).await?;
    let flags = "SELECT 1 FROM flags WHERE namespace_key = ?";
    let has_flags = !request.force && writer.transaction.exists(flags, params![key]).await?;
    check_deletion(request, namespace.protected, has_flags)?;
    remove(writer, key).await
}

/// Whether a namespace that exists may be deleted.
///
/// # Errors
/// [`StoreError::Invalid`] if it is protected or has flags, unless the request forces it.
pub fn check_deletion(
    request: &pb::DeleteNamespaceRequest,
    is_protected: bool,
    has_flags: bool,
) -> Result<(), StoreError> {
    let quoted = go_quote(&request.key);
    match (request.force, is_protected, has_flags) {
        (false, true, _) => Err(StoreError::Invalid(format!("namespace {quoted} is protected"))),
        (false, _, true) => Err(StoreError::Invalid(format!(
            "namespace {quoted} cannot be deleted; flags must be deleted first"
        ))),
        _ => Ok(()),
    }
}

/// Deletes a namespace with everything in it.
pub(crate) async fn remove(writer: &mut Writer, key: &str) -> Result<(), StoreError> {
    // Rules and flags first: rules and rollouts hold the segments that the namespace takes along.
    for table in ["rules", "flags"] {
        let sql = format!("DELETE FROM {table} WHERE namespace_key = ?");
        writer.transaction.execute(&sql, params![key]).await?;
    }
    writer.transaction.execute(r#"DELETE FROM namespaces WHERE "key" = ?"#, params![key]).await?;
    writer.touch_namespace(key);
    Ok(())
}
