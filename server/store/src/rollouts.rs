//! Rollouts of a boolean flag in the database.

use std::collections::HashMap;

use flipt_proto::{
    flipt::{self as pb, create_rollout_request, rollout, update_rollout_request},
    from_unix_micros,
};

use crate::{
    StoreError,
    database::{Param, Row, Transaction, params},
    flags, names,
    paging::{self, Page},
    place::in_default_environment,
    rules, segments,
    sql::new_id,
    writer::Writer,
};

const COLUMNS: &str = r#"id, namespace_key, flag_key, type, "rank", description, created_at, updated_at"#;

/// What a rollout to be stored tests.
pub(crate) enum NewRule {
    Threshold { percentage: f32, value: bool },
    Segment { keys: Vec<String>, operator: i32, value: bool },
}

impl NewRule {
    const fn number(&self) -> i32 {
        match self {
            Self::Segment { .. } => pb::RolloutType::SegmentRolloutType as i32,
            Self::Threshold { .. } => pb::RolloutType::ThresholdRolloutType as i32,
        }
    }

    fn from_segment(segment: &pb::RolloutSegment) -> Self {
        #[allow(deprecated)]
        let single = &segment.segment_key;
        let (keys, operator) =
            rules::requested_segments(single, &segment.segment_keys, segment.segment_operator);
        Self::Segment { keys, operator, value: segment.value }
    }

    const fn from_threshold(threshold: &pb::RolloutThreshold) -> Self {
        Self::Threshold { percentage: threshold.percentage, value: threshold.value }
    }
}

fn type_name(number: i32) -> String {
    pb::RolloutType::try_from(number)
        .map_or_else(|_| number.to_string(), |known| known.as_str_name().to_owned())
}

fn from_row(row: &Row) -> Result<pb::Rollout, StoreError> {
    Ok(pb::Rollout {
        id: row.text(0)?,
        namespace_key: row.text(1)?,
        flag_key: row.text(2)?,
        r#type: row.int32(3)?,
        rank: row.int32(4)?,
        description: row.text(5)?,
        created_at: Some(from_unix_micros(row.time(6)?)),
        updated_at: Some(from_unix_micros(row.time(7)?)),
        rule: None,
    })
}

fn not_found(namespace: &str, id: &str) -> StoreError {
    StoreError::NotFound(format!("rollout {}", names::joined(namespace, id)))
}

/// A rollout's flag, or one of its segments, does not exist: one pair of quotes around both, as Flipt writes
/// it (api spec, section 3.4).
pub(crate) fn missing_parts(namespace: &str, flag: &str, segment: &str) -> StoreError {
    let text = format!("{namespace}/{flag} or segment {segment}");
    StoreError::NotFound(format!("flag {}", flipt_model::validation::go_quote(&text)))
}

/// The rules of all rollouts that a filter on `rollouts t` selects, by rollout id.
async fn stored_rules(
    transaction: &mut Transaction,
    filter: &str,
    values: &[Param],
) -> Result<HashMap<String, rollout::Rule>, StoreError> {
    let mut found = HashMap::new();
    let sql = format!(
        "SELECT p.rollout_id, p.percentage, p.value FROM rollout_thresholds p
         JOIN rollouts t ON t.id = p.rollout_id WHERE {filter}"
    );
    for row in transaction.fetch_all(&sql, values).await? {
        let threshold = pb::RolloutThreshold { percentage: row.percentage(1)?, value: row.bool(2)? };
        found.insert(row.text(0)?, rollout::Rule::Threshold(threshold));
    }
    let mut keys: HashMap<String, Vec<String>> = HashMap::new();
    let sql = format!(
        "SELECT r.rollout_segment_id, r.segment_key FROM rollout_segment_references r
         JOIN rollout_segments s ON s.id = r.rollout_segment_id
         JOIN rollouts t ON t.id = s.rollout_id WHERE {filter} ORDER BY r.position, r.segment_key"
    );
    for row in transaction.fetch_all(&sql, values).await? {
        keys.entry(row.text(0)?).or_default().push(row.text(1)?);
    }
    let sql = format!(
        "SELECT s.rollout_id, s.id, s.value, s.segment_operator FROM rollout_segments s
         JOIN rollouts t ON t.id = s.rollout_id WHERE {filter}"
    );
    for row in transaction.fetch_all(&sql, values).await? {
        let keys = keys.remove(&row.text(1)?).unwrap_or_default();
        let (segment_key, segment_keys) = rules::report_segments(keys);
        #[allow(deprecated)]
        let segment = pb::RolloutSegment {
            segment_key,
            segment_keys,
            value: row.bool(2)?,
            segment_operator: row.int32(3)?,
        };
        found.insert(row.text(0)?, rollout::Rule::Segment(segment));
    }
    Ok(found)
}

pub(crate) async fn get(
    transaction: &mut Transaction,
    request: &pb::GetRolloutRequest,
) -> Result<pb::Rollout, StoreError> {
    find(transaction, in_default_environment(&request.namespace_key), &request.id).await
}

async fn find(transaction: &mut Transaction, namespace: &str, id: &str) -> Result<pb::Rollout, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE namespace_key = ? AND id = ?");
    let row = transaction
        .fetch_optional(&sql, params![namespace, id])
        .await?
        .ok_or_else(|| not_found(namespace, id))?;
    let rule = stored_rules(transaction, "t.id = ?", params![id]).await?.remove(id);
    Ok(pb::Rollout { rule, ..from_row(&row)? })
}

pub(crate) async fn list(
    transaction: &mut Transaction,
    request: &pb::ListRolloutRequest,
) -> Result<pb::RolloutList, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let page = Page::from_request(request.limit, 0, &request.page_token)?;
    let flag = params![namespace, &request.flag_key];
    let total = transaction
        .count("SELECT COUNT(*) FROM rollouts WHERE namespace_key = ? AND flag_key = ?", flag)
        .await?;
    let sql = format!(
        r#"SELECT {COLUMNS} FROM rollouts WHERE namespace_key = ? AND flag_key = ?
           ORDER BY "rank", created_at, id{}"#,
        page.sql()
    );
    let rows = transaction.fetch_all(&sql, flag).await?;
    let mut rollouts = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    let next_page_token = page.cut(&mut rollouts, |rollout| &rollout.id);
    let mut stored = stored_rules(transaction, "t.namespace_key = ? AND t.flag_key = ?", flag).await?;
    for rollout in &mut rollouts {
        rollout.rule = stored.remove(&rollout.id);
    }
    Ok(pb::RolloutList { rules: rollouts, next_page_token, total_count: paging::total(total) })
}

/// Every rollout of a namespace in order of rank, its segments all in the plural field.
pub(crate) async fn of_namespace(
    transaction: &mut Transaction,
    namespace: &str,
) -> Result<Vec<pb::Rollout>, StoreError> {
    let sql =
        format!(r#"SELECT {COLUMNS} FROM rollouts WHERE namespace_key = ? ORDER BY "rank", created_at, id"#);
    let rows = transaction.fetch_all(&sql, params![namespace]).await?;
    let mut rollouts = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    let mut stored = stored_rules(transaction, "t.namespace_key = ?", params![namespace]).await?;
    for rollout in &mut rollouts {
        rollout.rule = stored.remove(&rollout.id).map(|rule| match rule {
            #[allow(deprecated)]
            rollout::Rule::Segment(mut segment) if !segment.segment_key.is_empty() => {
                segment.segment_keys = vec![std::mem::take(&mut segment.segment_key)];
                rollout::Rule::Segment(segment)
            }
            other => other,
        });
    }
    Ok(rollouts)
}

pub(crate) async fn create(
    writer: &mut Writer,
    request: &pb::CreateRolloutRequest,
) -> Result<pb::Rollout, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let flag = &request.flag_key;
    let taken = writer
        .transaction
        .exists(
            r#"SELECT 1 FROM rollouts WHERE namespace_key = ? AND flag_key = ? AND "rank" = ?"#,
            params![namespace, flag, request.rank],
        )
        .await?;
    if taken {
        return Err(StoreError::Invalid(format!("rank number: {} already exists", request.rank)));
    }
    let rule = match &request.rule {
        None => return Err(StoreError::Invalid("rollout rule is missing".to_owned())),
        Some(create_rollout_request::Rule::Threshold(threshold)) => {
            flags::require(&mut writer.transaction, namespace, flag).await?;
            NewRule::from_threshold(threshold)
        }
        Some(create_rollout_request::Rule::Segment(segment)) => {
            let rule = NewRule::from_segment(segment);
            let known = flags::exists(&mut writer.transaction, namespace, flag).await?
                && match &rule {
                    NewRule::Segment { keys, .. } => {
                        segments::all_exist(&mut writer.transaction, namespace, keys).await?
                    }
                    NewRule::Threshold { .. } => true,
                };
            if !known {
                #[allow(deprecated)]
                return Err(missing_parts(namespace, flag, &segment.segment_key));
            }
            rule
        }
    };
    let id = insert(writer, namespace, flag, request.rank, &request.description, &rule).await?;
    find(&mut writer.transaction, namespace, &id).await
}

pub(crate) async fn insert(
    writer: &mut Writer,
    namespace: &str,
    flag: &str,
    rank: i32,
    description: &str,
    rule: &NewRule,
) -> Result<String, StoreError> {
    let id = new_id();
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"INSERT INTO rollouts (id, namespace_key, flag_key, type, "rank", description, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)"#,
            &[
                (&id).into(),
                namespace.into(),
                flag.into(),
                rule.number().into(),
                rank.into(),
                description.into(),
                now.clone(),
                now,
            ],
        )
        .await?;
    insert_rule(writer, namespace, &id, rule).await?;
    writer.touch_flag(namespace, flag);
    Ok(id)
}

async fn insert_rule(
    writer: &mut Writer,
    namespace: &str,
    rollout: &str,
    rule: &NewRule,
) -> Result<(), StoreError> {
    match rule {
        NewRule::Threshold { percentage, value } => {
            writer
                .transaction
                .execute(
                    "INSERT INTO rollout_thresholds (id, namespace_key, rollout_id, percentage, value)
                     VALUES (?, ?, ?, ?, ?)",
                    params![new_id(), namespace, rollout, *percentage, *value],
                )
                .await?;
        }
        NewRule::Segment { keys, operator, value } => {
            let id = new_id();
            writer
                .transaction
                .execute(
                    "INSERT INTO rollout_segments (id, rollout_id, value, segment_operator) VALUES (?, ?, ?, ?)",
                    params![&id, rollout, *value, *operator],
                )
                .await?;
            for (position, key) in (0_i64..).zip(keys) {
                writer
                    .transaction
                    .execute(
                        "INSERT INTO rollout_segment_references (rollout_segment_id, namespace_key, segment_key, position)
                         VALUES (?, ?, ?, ?)",
                        params![&id, namespace, key, position],
                    )
                    .await?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn update(
    writer: &mut Writer,
    request: &pb::UpdateRolloutRequest,
) -> Result<pb::Rollout, StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    let stored = find(&mut writer.transaction, namespace, &request.id).await?;
    if stored.flag_key != request.flag_key {
        return Err(not_found(namespace, &request.id));
    }
    let rule = match &request.rule {
        None => return Err(StoreError::Invalid("invalid field rule: invalid rollout rule type".to_owned())),
        Some(update_rollout_request::Rule::Threshold(threshold)) => NewRule::from_threshold(threshold),
        Some(update_rollout_request::Rule::Segment(segment)) => NewRule::from_segment(segment),
    };
    if rule.number() != stored.r#type {
        return Err(StoreError::Invalid(format!(
            "cannot change type of rollout: have {:?} attempted {:?}",
            type_name(stored.r#type),
            type_name(rule.number())
        )));
    }
    if let NewRule::Segment { keys, .. } = &rule
        && !segments::all_exist(&mut writer.transaction, namespace, keys).await?
    {
        return Err(not_found(namespace, &request.id));
    }
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            "UPDATE rollouts SET description = ?, updated_at = ? WHERE id = ?",
            &[(&request.description).into(), now, (&request.id).into()],
        )
        .await?;
    for table in ["rollout_thresholds", "rollout_segments"] {
        let sql = format!("DELETE FROM {table} WHERE rollout_id = ?");
        writer.transaction.execute(&sql, params![&request.id]).await?;
    }
    insert_rule(writer, namespace, &request.id, &rule).await?;
    writer.touch_flag(namespace, &request.flag_key);
    find(&mut writer.transaction, namespace, &request.id).await
}

pub(crate) async fn order(writer: &mut Writer, request: &pb::OrderRolloutsRequest) -> Result<(), StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    rules::rank_in_order(writer, "rollouts", namespace, &request.flag_key, &request.rollout_ids).await
}

pub(crate) async fn delete(
    writer: &mut Writer,
    request: &pb::DeleteRolloutRequest,
) -> Result<(), StoreError> {
    let namespace = in_default_environment(&request.namespace_key);
    rules::delete_ranked(writer, "rollouts", namespace, &request.flag_key, &request.id).await
}
