//! Writing whole namespaces at once.

use std::collections::HashMap;

use flipt_model::{Flag, RolloutRule, Segment, validation::go_quote};
use serde_json::Value;

use crate::{
    StoreError,
    database::{Param, params},
    flags, names, namespaces, rollouts,
    rollouts::NewRule,
    rules, segments,
    sql::{Writer, new_id},
};

/// A namespace to be written.
#[derive(Debug, Clone)]
pub struct ImportedNamespace {
    /// What to write. Name and description count only if the namespace is created.
    pub content: flipt_model::Namespace,
    /// Whether a namespace that does not exist is created; otherwise it is an error.
    pub create: bool,
}

/// What happens to things that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// The import fails and changes nothing.
    FailOnExisting,
    /// Existing flags and segments stay as they are, with all that belongs to them.
    SkipExisting,
    /// All flag state is removed first; credentials stay.
    Replace,
}

pub(crate) async fn run(
    writer: &mut Writer,
    imported: &[ImportedNamespace],
    mode: ImportMode,
) -> Result<(), StoreError> {
    if mode == ImportMode::Replace {
        clear(writer).await?;
    }
    for namespace in imported {
        write_namespace(writer, namespace, mode).await?;
    }
    Ok(())
}

async fn clear(writer: &mut Writer) -> Result<(), StoreError> {
    let existing = writer.transaction.fetch_all(r#"SELECT "key" FROM namespaces"#, &[]).await?;
    for row in &existing {
        writer.touch_namespace(&row.text(0)?);
    }
    writer.transaction.execute("DELETE FROM flags", &[]).await?;
    writer.transaction.execute("DELETE FROM namespaces", &[]).await?;
    namespaces::insert(writer, flipt_model::DEFAULT_NAMESPACE, "Default", "Default namespace", true).await
}

async fn write_namespace(
    writer: &mut Writer,
    imported: &ImportedNamespace,
    mode: ImportMode,
) -> Result<(), StoreError> {
    let namespace = &imported.content;
    if !namespaces::exists(&mut writer.transaction, &namespace.key).await? {
        if !imported.create {
            return namespaces::require(&mut writer.transaction, &namespace.key).await;
        }
        namespaces::insert(writer, &namespace.key, &namespace.name, &namespace.description, false).await?;
    }
    let skip = mode == ImportMode::SkipExisting;
    let mut written = Vec::with_capacity(namespace.flags.len());
    for flag in &namespace.flags {
        if flags::exists(&mut writer.transaction, &namespace.key, &flag.key).await? {
            if skip {
                continue;
            }
            return Err(StoreError::Invalid(format!(
                "creating flag: flag {} is not unique",
                names::cleaned(&namespace.key, &flag.key)
            )));
        }
        let variants = write_flag(writer, &namespace.key, flag).await?;
        written.push((flag, variants));
    }
    for segment in &namespace.segments {
        if segments::exists(&mut writer.transaction, &namespace.key, &segment.key).await? {
            if skip {
                continue;
            }
            return Err(StoreError::Invalid(format!(
                "creating segment: segment {} is not unique",
                names::cleaned(&namespace.key, &segment.key)
            )));
        }
        write_segment(writer, &namespace.key, segment).await?;
    }
    for (flag, variants) in written {
        write_rules(writer, &namespace.key, flag, &variants).await?;
        write_rollouts(writer, &namespace.key, flag).await?;
    }
    writer.touch_namespace(&namespace.key);
    Ok(())
}

/// Writes a flag with its variants and gives the variants' ids by key.
async fn write_flag(
    writer: &mut Writer,
    namespace: &str,
    flag: &Flag,
) -> Result<HashMap<String, String>, StoreError> {
    let now = Param::Time(writer.now());
    let metadata = if flag.metadata.is_empty() {
        Param::Null
    } else {
        Param::Json(Value::Object(flag.metadata.clone().into_iter().collect()).to_string())
    };
    writer
        .transaction
        .execute(
            r#"INSERT INTO flags (namespace_key, "key", name, description, enabled, type, metadata, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"#,
            &[
                namespace.into(),
                (&flag.key).into(),
                (&flag.name).into(),
                (&flag.description).into(),
                flag.enabled.into(),
                flag.flag_type.number().into(),
                metadata,
                now.clone(),
                now,
            ],
        )
        .await?;
    let mut ids = HashMap::new();
    for variant in &flag.variants {
        let id = new_id();
        if ids.insert(variant.key.clone(), id.clone()).is_some() {
            return Err(StoreError::Invalid(format!(
                "creating variant: variant {} is not unique for flag {}",
                go_quote(&variant.key),
                names::cleaned(namespace, &flag.key)
            )));
        }
        let now = Param::Time(writer.now());
        let attachment = Some(&variant.attachment).filter(|attachment| !attachment.is_empty());
        writer
            .transaction
            .execute(
                r#"INSERT INTO variants (id, namespace_key, flag_key, "key", name, description, attachment, created_at, updated_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"#,
                &[
                    id.into(),
                    namespace.into(),
                    (&flag.key).into(),
                    (&variant.key).into(),
                    (&variant.name).into(),
                    (&variant.description).into(),
                    attachment.map(|text| Param::Json(text.clone())).into(),
                    now.clone(),
                    now,
                ],
            )
            .await?;
    }
    if let Some(id) = flag.default_variant.as_ref().and_then(|key| ids.get(key)) {
        writer
            .transaction
            .execute(
                r#"UPDATE flags SET default_variant_id = ? WHERE namespace_key = ? AND "key" = ?"#,
                params![id, namespace, &flag.key],
            )
            .await?;
    }
    Ok(ids)
}

async fn write_segment(writer: &mut Writer, namespace: &str, segment: &Segment) -> Result<(), StoreError> {
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"INSERT INTO segments (namespace_key, "key", name, description, match_type, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)"#,
            &[
                namespace.into(),
                (&segment.key).into(),
                (&segment.name).into(),
                (&segment.description).into(),
                segment.match_type.number().into(),
                now.clone(),
                now,
            ],
        )
        .await?;
    for constraint in &segment.constraints {
        let now = Param::Time(writer.now());
        writer
            .transaction
            .execute(
                "INSERT INTO constraints (id, namespace_key, segment_key, type, property, operator, value, description, created_at, updated_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                &[
                    new_id().into(),
                    namespace.into(),
                    (&segment.key).into(),
                    constraint.constraint_type.number().into(),
                    (&constraint.property).into(),
                    (&constraint.operator).into(),
                    (&constraint.value).into(),
                    (&constraint.description).into(),
                    now.clone(),
                    now,
                ],
            )
            .await?;
    }
    Ok(())
}

async fn write_rules(
    writer: &mut Writer,
    namespace: &str,
    flag: &Flag,
    variants: &HashMap<String, String>,
) -> Result<(), StoreError> {
    for rule in &flag.rules {
        if !segments::all_exist(&mut writer.transaction, namespace, &rule.segments).await? {
            let error = rules::missing_parts(namespace, &flag.key, single(&rule.segments));
            return Err(creating("rule", error));
        }
        let id =
            rules::insert(writer, namespace, &flag.key, rule.rank, rule.operator.number(), &rule.segments)
                .await?;
        for distribution in &rule.distributions {
            let variant = variants.get(&distribution.variant).ok_or_else(|| {
                StoreError::Invalid(format!("finding variant: {}; flag: {}", distribution.variant, flag.key))
            })?;
            crate::distributions::insert(writer, &id, variant, distribution.rollout).await?;
        }
    }
    Ok(())
}

async fn write_rollouts(writer: &mut Writer, namespace: &str, flag: &Flag) -> Result<(), StoreError> {
    for rollout in &flag.rollouts {
        let rule = match &rollout.rule {
            RolloutRule::None => {
                return Err(StoreError::Invalid("creating rollout: rollout rule is missing".to_owned()));
            }
            RolloutRule::Threshold { percentage, value } => {
                NewRule::Threshold { percentage: *percentage, value: *value }
            }
            RolloutRule::Segment { segments, operator, value } => {
                if !segments::all_exist(&mut writer.transaction, namespace, segments).await? {
                    let error = rollouts::missing_parts(namespace, &flag.key, single(segments));
                    return Err(creating("rollout", error));
                }
                NewRule::Segment { keys: segments.clone(), operator: operator.number(), value: *value }
            }
        };
        rollouts::insert(writer, namespace, &flag.key, rollout.rank, &rollout.description, &rule).await?;
    }
    Ok(())
}

/// The segment that an error names: none of several.
fn single(keys: &[String]) -> &str {
    match keys {
        [key] => key,
        _ => "",
    }
}

fn creating(kind: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound(what) => StoreError::NotFound(format!("creating {kind}: {what}")),
        other => other,
    }
}
