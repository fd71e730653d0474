//! Writing whole namespaces at once.

use std::collections::HashMap;

use flipt_model::{Flag, RolloutRule, Segment, validation::go_quote};
use flipt_proto::{flipt as pb, json_to_struct};

use crate::{
    StoreError, constraints,
    database::params,
    distributions, flags, names, namespaces,
    rollouts::{self, NewRule},
    rules, segments, variants,
    writer::Writer,
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
    writer.force();
    if mode == ImportMode::Replace {
        clear(writer).await?;
    }
    for namespace in imported {
        write_namespace(writer, namespace, mode).await?;
    }
    Ok(())
}

async fn clear(writer: &mut Writer) -> Result<(), StoreError> {
    let environment = [writer.place().row.as_str().into()];
    let sql = r#"SELECT "key" FROM namespaces WHERE environment_key = ?"#;
    for row in &writer.transaction.fetch_all(sql, &environment).await? {
        namespaces::remove(writer, &row.text(0)?).await?;
    }
    let default = writer.place().stored(flipt_model::DEFAULT_NAMESPACE);
    namespaces::insert(writer, &default, "Default", "Default namespace", true).await
}

async fn write_namespace(
    writer: &mut Writer,
    imported: &ImportedNamespace,
    mode: ImportMode,
) -> Result<(), StoreError> {
    let namespace = &imported.content;
    let stored = writer.place().stored(&namespace.key);
    if !namespaces::exists(&mut writer.transaction, &stored).await? {
        if !imported.create {
            return namespaces::require(&mut writer.transaction, &stored).await;
        }
        namespaces::insert(writer, &stored, &namespace.name, &namespace.description, false).await?;
    }
    let skip = mode == ImportMode::SkipExisting;
    let mut written = Vec::with_capacity(namespace.flags.len());
    for flag in &namespace.flags {
        if flags::exists(&mut writer.transaction, &stored, &flag.key).await? {
            if skip {
                continue;
            }
            return Err(StoreError::Invalid(format!(
                "creating flag: flag {} is not unique",
                names::cleaned(&stored, &flag.key)
            )));
        }
        let variants = write_flag(writer, &stored, flag).await?;
        written.push((flag, variants));
    }
    for segment in &namespace.segments {
        if segments::exists(&mut writer.transaction, &stored, &segment.key).await? {
            if skip {
                continue;
            }
            return Err(StoreError::Invalid(format!(
                "creating segment: segment {} is not unique",
                names::cleaned(&stored, &segment.key)
            )));
        }
        write_segment(writer, &stored, segment).await?;
    }
    for (flag, variants) in written {
        write_rules(writer, &stored, flag, &variants).await?;
        write_rollouts(writer, &stored, flag).await?;
    }
    writer.touch_namespace(&stored);
    Ok(())
}

/// Writes a flag with its variants and gives the variants' ids by key.
async fn write_flag(
    writer: &mut Writer,
    namespace: &str,
    flag: &Flag,
) -> Result<HashMap<String, String>, StoreError> {
    let request = pb::CreateFlagRequest {
        key: flag.key.clone(),
        name: flag.name.clone(),
        description: flag.description.clone(),
        enabled: flag.enabled,
        r#type: flag.flag_type.number(),
        metadata: (!flag.metadata.is_empty()).then(|| json_to_struct(&flag.metadata)),
        ..Default::default()
    };
    flags::insert(writer, namespace, &request).await?;
    let mut ids = HashMap::new();
    for variant in &flag.variants {
        if ids.contains_key(&variant.key) {
            return Err(StoreError::Invalid(format!(
                "creating variant: variant {} is not unique for flag {}",
                go_quote(&variant.key),
                names::cleaned(namespace, &flag.key)
            )));
        }
        let request = pb::CreateVariantRequest {
            flag_key: flag.key.clone(),
            key: variant.key.clone(),
            name: variant.name.clone(),
            description: variant.description.clone(),
            attachment: variant.attachment.clone(),
            ..Default::default()
        };
        let id = variants::insert(writer, namespace, &request).await?;
        ids.insert(variant.key.clone(), id);
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

/// Writes a flag that does not exist yet, with everything in it.
pub(crate) async fn write_whole_flag(
    writer: &mut Writer,
    namespace: &str,
    flag: &Flag,
) -> Result<(), StoreError> {
    let variants = write_flag(writer, namespace, flag).await?;
    write_rules(writer, namespace, flag, &variants).await?;
    write_rollouts(writer, namespace, flag).await
}

/// Writes a segment that does not exist yet, with its constraints.
pub(crate) async fn write_segment(
    writer: &mut Writer,
    namespace: &str,
    segment: &Segment,
) -> Result<(), StoreError> {
    let request = pb::CreateSegmentRequest {
        key: segment.key.clone(),
        name: segment.name.clone(),
        description: segment.description.clone(),
        match_type: segment.match_type.number(),
        ..Default::default()
    };
    segments::insert(writer, namespace, &request).await?;
    write_constraints(writer, namespace, segment).await
}

/// Writes the constraints of a segment that has none.
pub(crate) async fn write_constraints(
    writer: &mut Writer,
    namespace: &str,
    segment: &Segment,
) -> Result<(), StoreError> {
    for constraint in &segment.constraints {
        let request = pb::CreateConstraintRequest {
            segment_key: segment.key.clone(),
            r#type: constraint.constraint_type.number(),
            property: constraint.property.clone(),
            operator: constraint.operator.clone(),
            value: constraint.value.clone(),
            description: constraint.description.clone(),
            ..Default::default()
        };
        constraints::insert(writer, namespace, &request).await?;
    }
    Ok(())
}

/// Writes the rules of a flag that has none. The variants' ids are given by key.
pub(crate) async fn write_rules(
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
            distributions::insert(writer, &id, variant, distribution.rollout).await?;
        }
    }
    Ok(())
}

/// Writes the rollouts of a flag that has none.
pub(crate) async fn write_rollouts(
    writer: &mut Writer,
    namespace: &str,
    flag: &Flag,
) -> Result<(), StoreError> {
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
