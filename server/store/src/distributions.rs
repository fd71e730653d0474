//! Distributions of a rule in the database.

use flipt_model::validation::go_quote;
use flipt_proto::{flipt as pb, from_unix_micros};

use crate::{
    StoreError,
    database::{Param, Row, Transaction, params},
    place::in_default_environment,
    sql::new_id,
    writer::Writer,
};

const COLUMNS: &str = "d.id, d.rule_id, d.variant_id, d.rollout, d.created_at, d.updated_at";

fn from_row(row: &Row) -> Result<pb::Distribution, StoreError> {
    Ok(pb::Distribution {
        id: row.text(0)?,
        rule_id: row.text(1)?,
        variant_id: row.text(2)?,
        rollout: row.percentage(3)?,
        created_at: Some(from_unix_micros(row.time(4)?)),
        updated_at: Some(from_unix_micros(row.time(5)?)),
    })
}

pub(crate) async fn of_rule(
    transaction: &mut Transaction,
    rule: &str,
) -> Result<Vec<pb::Distribution>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM distributions d WHERE d.rule_id = ? ORDER BY d.created_at, d.id");
    let rows = transaction.fetch_all(&sql, params![rule]).await?;
    rows.iter().map(from_row).collect()
}

pub(crate) async fn of_flag(
    transaction: &mut Transaction,
    namespace: &str,
    flag: &str,
) -> Result<Vec<pb::Distribution>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM distributions d JOIN rules r ON r.id = d.rule_id
         WHERE r.namespace_key = ? AND r.flag_key = ? ORDER BY d.created_at, d.id"
    );
    let rows = transaction.fetch_all(&sql, params![namespace, flag]).await?;
    rows.iter().map(from_row).collect()
}

pub(crate) async fn of_namespace(
    transaction: &mut Transaction,
    namespace: &str,
) -> Result<Vec<pb::Distribution>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM distributions d JOIN rules r ON r.id = d.rule_id
         WHERE r.namespace_key = ? ORDER BY d.created_at, d.id"
    );
    let rows = transaction.fetch_all(&sql, params![namespace]).await?;
    rows.iter().map(from_row).collect()
}

async fn find(transaction: &mut Transaction, id: &str) -> Result<pb::Distribution, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM distributions d WHERE d.id = ?");
    let row = transaction.fetch_optional(&sql, params![id]).await?.ok_or_else(|| not_found(id))?;
    from_row(&row)
}

fn not_found(id: &str) -> StoreError {
    StoreError::NotFound(format!("distribution {}", go_quote(id)))
}

/// Fails unless the flag, the rule and the variant all exist in the namespace.
async fn require_parts(
    writer: &mut Writer,
    namespace: &str,
    flag: &str,
    rule: &str,
    variant: &str,
) -> Result<(), StoreError> {
    let known = writer
        .transaction
        .exists(
            r#"SELECT 1 FROM rules r
               JOIN variants v ON v.namespace_key = r.namespace_key
               JOIN flags f ON f.namespace_key = r.namespace_key
               WHERE r.namespace_key = ? AND r.id = ? AND v.id = ? AND f."key" = ?"#,
            params![namespace, rule, variant, flag],
        )
        .await?;
    if known {
        return Ok(());
    }
    Err(StoreError::NotFound(format!(
        "variant {}, rule {}, flag {} in namespace {}",
        go_quote(variant),
        go_quote(rule),
        go_quote(flag),
        go_quote(namespace)
    )))
}

/// Marks the flag that owns a rule as changed: the one the evaluation reads, whatever the request names.
async fn touch_owner(writer: &mut Writer, rule: &str) -> Result<(), StoreError> {
    let owner = writer
        .transaction
        .fetch_optional("SELECT namespace_key, flag_key FROM rules WHERE id = ?", params![rule])
        .await?;
    if let Some(owner) = owner {
        writer.touch_flag(&owner.text(0)?, &owner.text(1)?);
    }
    Ok(())
}

/// Marks every flag as changed that gives out one of these variants: a rule may name a variant of another
/// flag of its namespace. `filter` is on `variants v`.
pub(crate) async fn touch_users(
    writer: &mut Writer,
    filter: &str,
    values: &[Param],
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT DISTINCT r.namespace_key, r.flag_key FROM distributions d
         JOIN rules r ON r.id = d.rule_id JOIN variants v ON v.id = d.variant_id WHERE {filter}"
    );
    for row in writer.transaction.fetch_all(&sql, values).await? {
        writer.touch_flag(&row.text(0)?, &row.text(1)?);
    }
    Ok(())
}

pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateDistributionRequest,
) -> Result<pb::Distribution, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    require_parts(writer, namespace, &request.flag_key, &request.rule_id, &request.variant_id).await?;
    let id = insert(writer, &request.rule_id, &request.variant_id, request.rollout).await?;
    touch_owner(writer, &request.rule_id).await?;
    find(&mut writer.transaction, &id).await
}

pub(crate) async fn insert(
    writer: &mut Writer,
    rule: &str,
    variant: &str,
    rollout: f32,
) -> Result<String, StoreError> {
    let id = new_id();
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            "INSERT INTO distributions (id, rule_id, variant_id, rollout, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?)",
            &[(&id).into(), rule.into(), variant.into(), rollout.into(), now.clone(), now],
        )
        .await?;
    Ok(id)
}

pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateDistributionRequest,
) -> Result<pb::Distribution, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    require_parts(writer, namespace, &request.flag_key, &request.rule_id, &request.variant_id).await?;
    let now = Param::Time(writer.now());
    let changed = writer
        .transaction
        .execute(
            "UPDATE distributions SET rollout = ?, variant_id = ?, updated_at = ? WHERE id = ? AND rule_id = ?",
            &[
                request.rollout.into(),
                (&request.variant_id).into(),
                now,
                (&request.id).into(),
                (&request.rule_id).into(),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(not_found(&request.id));
    }
    touch_owner(writer, &request.rule_id).await?;
    find(&mut writer.transaction, &request.id).await
}

pub(crate) async fn delete(
    writer: &mut Writer,
    request: &pb::DeleteDistributionRequest,
) -> Result<(), StoreError> {
    let deleted = writer
        .transaction
        .execute(
            "DELETE FROM distributions WHERE id = ? AND rule_id = ? AND variant_id = ?",
            params![&request.id, &request.rule_id, &request.variant_id],
        )
        .await?;
    if deleted > 0 {
        touch_owner(writer, &request.rule_id).await?;
    }
    Ok(())
}
