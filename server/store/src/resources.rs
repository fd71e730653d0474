//! Whole resources: written in one step, with every part of them, at an expected revision
//! (v2 spec, section 4.1).

use std::collections::HashMap;

use flipt_model::{DEFAULT_NAMESPACE, Flag, Namespace, RolloutRule, Segment, Variant, validation::go_quote};
use flipt_proto::{flipt as pb, json_to_struct};

use crate::{
    StoreError,
    database::{Param, params},
    distributions, flags, import, namespaces,
    state::{self, Scope},
    variants,
    writer::Writer,
};

/// What a write does with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Creates it; fails if it exists.
    Create,
    /// Replaces it as a whole; fails if it does not exist.
    Update,
}

/// One change of one resource. Namespaces are named by their key in the environment.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Writes key, name and description of a namespace.
    WriteNamespace(Namespace, WriteMode),
    /// Deletes a namespace with everything in it.
    DeleteNamespace(String),
    /// Writes a flag of this namespace. Ranks of rules and rollouts are those of their lists.
    WriteFlag(String, Flag, WriteMode),
    /// Deletes a flag of this namespace.
    DeleteFlag(String, String),
    /// Writes a segment of this namespace.
    WriteSegment(String, Segment, WriteMode),
    /// Deletes a segment of this namespace.
    DeleteSegment(String, String),
}

/// Resource type of flags in texts.
const FLAG: &str = "flipt.core.Flag";
/// Resource type of segments in texts.
const SEGMENT: &str = "flipt.core.Segment";

impl Edit {
    /// Type of the resource, which errors begin with; namespaces have none.
    fn resource_type(&self) -> Option<&'static str> {
        match self {
            Self::WriteNamespace(..) | Self::DeleteNamespace(_) => None,
            Self::WriteFlag(..) | Self::DeleteFlag(..) => Some(FLAG),
            Self::WriteSegment(..) | Self::DeleteSegment(..) => Some(SEGMENT),
        }
    }
}

/// Performs an edit if the resource has not changed since the expected revision.
pub(crate) async fn apply(writer: &mut Writer, edit: &Edit, expected: &str) -> Result<(), StoreError> {
    check_revision(writer, edit, expected).await?;
    match edit {
        Edit::WriteNamespace(namespace, mode) => write_namespace(writer, namespace, *mode).await,
        Edit::DeleteNamespace(key) => delete_namespace(writer, key).await,
        Edit::WriteFlag(namespace, flag, mode) => {
            let stored = in_namespace(writer, namespace).await?;
            require_segments(writer, namespace, &stored, flag).await?;
            let current = load_flag(writer, &stored, &flag.key).await?;
            check_existence(FLAG, namespace, &flag.key, *mode, current.is_some())?;
            let flag = ranked(flag);
            match current {
                None => import::write_whole_flag(writer, &stored, &flag).await,
                Some(current) => replace_flag(writer, &stored, &current, &flag).await,
            }
        }
        Edit::DeleteFlag(namespace, key) => {
            let stored = writer.place().stored(namespace);
            flags::remove(writer, &stored, key).await
        }
        Edit::WriteSegment(namespace, segment, mode) => {
            let stored = in_namespace(writer, namespace).await?;
            let current = load_segment(writer, &stored, &segment.key).await?;
            check_existence(SEGMENT, namespace, &segment.key, *mode, current.is_some())?;
            match current {
                None => import::write_segment(writer, &stored, segment).await,
                Some(current) => replace_segment(writer, &stored, &current, segment).await,
            }
        }
        Edit::DeleteSegment(namespace, key) => {
            let stored = writer.place().stored(namespace);
            require_unused(writer, &stored, key).await?;
            delete_segment(writer, &stored, key).await
        }
    }
}

/// Ranks as the order of the lists has them.
pub(crate) fn ranked(flag: &Flag) -> Flag {
    let mut flag = flag.clone();
    for (rank, rule) in (1..).zip(&mut flag.rules) {
        rule.rank = rank;
    }
    for (rank, rollout) in (1..).zip(&mut flag.rollouts) {
        rollout.rank = rank;
    }
    flag
}

/// Refuses an edit of something that changed after the revision its author has seen.
///
/// Flipt v2 compares with the head of the whole environment, so that editors of different flags are in each
/// other's way; here only a change of the same resource is a conflict.
async fn check_revision(writer: &mut Writer, edit: &Edit, expected: &str) -> Result<(), StoreError> {
    let unchecked =
        expected.bytes().all(|byte| byte == b'0') || !expected.bytes().all(|byte| byte.is_ascii_hexdigit());
    if unchecked {
        return Ok(());
    }
    let changed = last_change(writer, edit).await?;
    let head = writer.head();
    let is_current = head.revision_in(expected).is_some_and(|seen| seen >= changed && seen <= head.revision);
    if is_current {
        return Ok(());
    }
    let prefix = edit.resource_type().map(|kind| format!("resource type {}: ", go_quote(kind)));
    Err(StoreError::Conflict(format!(
        "{}expected head revision {} has changed (now {})",
        prefix.unwrap_or_default(),
        go_quote(expected),
        go_quote(&head.text())
    )))
}

/// The revision at which the resource of an edit changed last; 0 if it does not exist.
async fn last_change(writer: &mut Writer, edit: &Edit) -> Result<u64, StoreError> {
    let stored = |namespace: &str| writer.place().stored(namespace);
    let one = |table: &str| format!(r#"SELECT revision FROM {table} WHERE namespace_key = ? AND "key" = ?"#);
    let (sql, values): (String, Vec<Param>) = match edit {
        Edit::WriteNamespace(namespace, _) => (
            r#"SELECT revision FROM namespaces WHERE "key" = ?"#.to_owned(),
            vec![stored(&namespace.key).into()],
        ),
        // Deleting takes everything along, so every change in it counts.
        Edit::DeleteNamespace(key) => {
            let stored = stored(key);
            (
                r#"SELECT COALESCE(MAX(revision), 0) FROM (
                     SELECT revision FROM namespaces WHERE "key" = ?
                     UNION ALL SELECT revision FROM flags WHERE namespace_key = ?
                     UNION ALL SELECT revision FROM segments WHERE namespace_key = ?) AS parts"#
                    .to_owned(),
                vec![stored.clone().into(), stored.clone().into(), stored.into()],
            )
        }
        Edit::WriteFlag(namespace, Flag { key, .. }, _) | Edit::DeleteFlag(namespace, key) => {
            (one("flags"), vec![stored(namespace).into(), key.into()])
        }
        Edit::WriteSegment(namespace, Segment { key, .. }, _) | Edit::DeleteSegment(namespace, key) => {
            (one("segments"), vec![stored(namespace).into(), key.into()])
        }
    };
    let row = writer.transaction.fetch_optional(&sql, &values).await?;
    let revision = row.map(|row| row.int(0)).transpose()?;
    Ok(revision.unwrap_or_default().unsigned_abs())
}

fn check_existence(
    kind: &'static str,
    namespace: &str,
    key: &str,
    mode: WriteMode,
    exists: bool,
) -> Result<(), StoreError> {
    let verb = match (mode, exists) {
        (WriteMode::Create, false) | (WriteMode::Update, true) => return Ok(()),
        (WriteMode::Create, true) => "create",
        (WriteMode::Update, false) => "update",
    };
    let what = format!(
        "resource type {}: {verb} resource {}",
        go_quote(kind),
        go_quote(&format!("{kind}/{namespace}/{key}"))
    );
    if exists {
        return Err(StoreError::Exists(what));
    }
    let name = if kind == FLAG { "flag" } else { "segment" };
    Err(StoreError::NotFound(format!("{what}: {name} {namespace}/{key}")))
}

async fn write_namespace(
    writer: &mut Writer,
    namespace: &Namespace,
    mode: WriteMode,
) -> Result<(), StoreError> {
    let stored = writer.place().stored(&namespace.key);
    let key = go_quote(&namespace.key);
    match (mode, namespaces::exists(&mut writer.transaction, &stored).await?) {
        (WriteMode::Create, true) => Err(StoreError::Exists(format!("create namespace {key}"))),
        (WriteMode::Update, false) => {
            Err(StoreError::NotFound(format!("update namespace {key}: namespace {key}")))
        }
        (WriteMode::Create, false) => {
            namespaces::insert(writer, &stored, &namespace.name, &namespace.description, false).await
        }
        (WriteMode::Update, true) => {
            let now = Param::Time(writer.now());
            writer
                .transaction
                .execute(
                    r#"UPDATE namespaces SET name = ?, description = ?, updated_at = ? WHERE "key" = ?"#,
                    &[(&namespace.name).into(), (&namespace.description).into(), now, (&stored).into()],
                )
                .await?;
            writer.touch_namespace(&stored);
            Ok(())
        }
    }
}

async fn delete_namespace(writer: &mut Writer, key: &str) -> Result<(), StoreError> {
    if key == DEFAULT_NAMESPACE {
        return Err(StoreError::Invalid(format!("namespace {} is protected", go_quote(key))));
    }
    let stored = writer.place().stored(key);
    if namespaces::exists(&mut writer.transaction, &stored).await? {
        namespaces::remove(writer, &stored).await?;
    }
    Ok(())
}

/// The stored key of a namespace that must exist.
pub(crate) async fn in_namespace(writer: &mut Writer, namespace: &str) -> Result<String, StoreError> {
    let stored = writer.place().stored(namespace);
    if namespaces::exists(&mut writer.transaction, &stored).await? {
        return Ok(stored);
    }
    Err(StoreError::NotFound(format!("namespace {}", go_quote(namespace))))
}

pub(crate) async fn load_flag(
    writer: &mut Writer,
    stored: &str,
    key: &str,
) -> Result<Option<Flag>, StoreError> {
    let place = writer.place().clone();
    let mut loaded = state::load(&mut writer.transaction, &place, &Scope::Flag(stored, key)).await?;
    Ok(loaded.namespaces.pop().and_then(|mut namespace| namespace.flags.pop()))
}

pub(crate) async fn load_segment(
    writer: &mut Writer,
    stored: &str,
    key: &str,
) -> Result<Option<Segment>, StoreError> {
    let place = writer.place().clone();
    let mut loaded = state::load(&mut writer.transaction, &place, &Scope::Segment(stored, key)).await?;
    Ok(loaded.namespaces.pop().and_then(|mut namespace| namespace.segments.pop()))
}

/// Refuses rules and rollouts on segments that the namespace does not have.
async fn require_segments(
    writer: &mut Writer,
    namespace: &str,
    stored: &str,
    flag: &Flag,
) -> Result<(), StoreError> {
    let rules = flag.rules.iter().map(|rule| rule.segments.as_slice());
    let rollouts = flag.rollouts.iter().map(|rollout| match &rollout.rule {
        RolloutRule::Segment { segments, .. } => segments.as_slice(),
        RolloutRule::Threshold { .. } | RolloutRule::None => &[],
    });
    let named = (1..).zip(rules).map(|(n, keys)| ("rule", n, keys));
    let named = named.chain((1..).zip(rollouts).map(|(n, keys)| ("rollout", n, keys)));
    for (what, number, keys) in named {
        for key in keys {
            if !crate::segments::exists(&mut writer.transaction, stored, key).await? {
                return Err(StoreError::Invalid(format!(
                    "flag {namespace}/{} {what} {number} references unknown segment {}",
                    flag.key,
                    go_quote(key)
                )));
            }
        }
    }
    Ok(())
}

/// Refuses to delete a segment that a flag uses, naming the place.
async fn require_unused(writer: &mut Writer, stored: &str, segment: &str) -> Result<(), StoreError> {
    let uses = [
        (
            "rule",
            r#"SELECT t.flag_key, t."rank" FROM rule_segments r JOIN rules t ON t.id = r.rule_id
               WHERE r.namespace_key = ? AND r.segment_key = ? ORDER BY t.flag_key, t."rank""#,
        ),
        (
            "rollout",
            r#"SELECT t.flag_key, t."rank" FROM rollout_segment_references r
               JOIN rollout_segments s ON s.id = r.rollout_segment_id JOIN rollouts t ON t.id = s.rollout_id
               WHERE r.namespace_key = ? AND r.segment_key = ? ORDER BY t.flag_key, t."rank""#,
        ),
    ];
    for (what, sql) in uses {
        if let Some(row) = writer.transaction.fetch_all(sql, params![stored, segment]).await?.first() {
            return Err(StoreError::Invalid(format!(
                "segment {} is in use by flag {} {what} {}",
                go_quote(segment),
                go_quote(&row.text(0)?),
                row.int(1)?
            )));
        }
    }
    Ok(())
}

/// Deletes a segment; one that does not exist is deleted already.
async fn delete_segment(writer: &mut Writer, stored: &str, key: &str) -> Result<(), StoreError> {
    let sql = r#"DELETE FROM segments WHERE namespace_key = ? AND "key" = ?"#;
    if writer.transaction.execute(sql, params![stored, key]).await? > 0 {
        writer.touch_segment(stored, key);
    }
    Ok(())
}

/// Makes a stored flag equal to another. Parts that stay as they are keep their identifiers and times.
pub(crate) async fn replace_flag(
    writer: &mut Writer,
    stored: &str,
    current: &Flag,
    wanted: &Flag,
) -> Result<(), StoreError> {
    let same_variants = current.variants == wanted.variants;
    let same_rules = same_variants && current.rules == wanted.rules;
    let same_rollouts = current.rollouts == wanted.rollouts;
    let of_flag = params![stored, &wanted.key];
    if !same_rules {
        writer
            .transaction
            .execute("DELETE FROM rules WHERE namespace_key = ? AND flag_key = ?", of_flag)
            .await?;
    }
    if !same_rollouts {
        let sql = "DELETE FROM rollouts WHERE namespace_key = ? AND flag_key = ?";
        writer.transaction.execute(sql, of_flag).await?;
    }
    let ids = replace_variants(writer, stored, current, wanted).await?;
    let default = wanted.default_variant.as_ref().and_then(|key| ids.get(key));
    let metadata = if wanted.metadata.is_empty() {
        Param::Null
    } else {
        crate::flags::write_metadata(&json_to_struct(&wanted.metadata))
    };
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"UPDATE flags SET name = ?, description = ?, enabled = ?, type = ?, metadata = ?,
                 default_variant_id = ?, updated_at = ?
               WHERE namespace_key = ? AND "key" = ?"#,
            &[
                (&wanted.name).into(),
                (&wanted.description).into(),
                wanted.enabled.into(),
                wanted.flag_type.number().into(),
                metadata,
                default.map_or(Param::Null, Param::from),
                now,
                stored.into(),
                (&wanted.key).into(),
            ],
        )
        .await?;
    writer.touch_flag(stored, &wanted.key);
    if !same_rules {
        import::write_rules(writer, stored, wanted, &ids).await?;
    }
    if !same_rollouts {
        import::write_rollouts(writer, stored, wanted).await?;
    }
    Ok(())
}

/// Brings the variants of a flag into the wanted state and gives their ids by key. A variant keeps its id as
/// long as its key stays.
async fn replace_variants(
    writer: &mut Writer,
    stored: &str,
    current: &Flag,
    wanted: &Flag,
) -> Result<HashMap<String, String>, StoreError> {
    let mut ids = HashMap::new();
    for variant in variants::of_flag(&mut writer.transaction, stored, &wanted.key).await? {
        if wanted.variant(&variant.key).is_some() {
            ids.insert(variant.key, variant.id);
        } else {
            // Rules of other flags may give it out.
            distributions::touch_users(writer, "v.id = ?", params![&variant.id]).await?;
            let sql = "DELETE FROM variants WHERE id = ?";
            writer.transaction.execute(sql, params![&variant.id]).await?;
        }
    }
    let mut kept = current
        .variants
        .iter()
        .filter(|variant| ids.contains_key(&variant.key))
        .collect::<Vec<_>>()
        .into_iter();
    // List order is creation order: after the first departure from it, everything is stamped anew.
    let mut in_order = true;
    for variant in &wanted.variants {
        let Some(id) = ids.get(&variant.key).cloned() else {
            let id = variants::insert(writer, stored, &creation(&wanted.key, variant)).await?;
            ids.insert(variant.key.clone(), id);
            in_order = false;
            continue;
        };
        let before = kept.next();
        in_order = in_order && before.is_some_and(|before| before.key == variant.key);
        if in_order && before == Some(variant) {
            continue;
        }
        let now = Param::Time(writer.now());
        let attachment = variants::stored_attachment(&variant.attachment);
        writer
            .transaction
            .execute(
                "UPDATE variants SET name = ?, description = ?, attachment = ?, updated_at = ? WHERE id = ?",
                &[
                    (&variant.name).into(),
                    (&variant.description).into(),
                    attachment,
                    now.clone(),
                    (&id).into(),
                ],
            )
            .await?;
        if !in_order {
            let sql = "UPDATE variants SET created_at = ? WHERE id = ?";
            writer.transaction.execute(sql, &[now, (&id).into()]).await?;
        }
    }
    Ok(ids)
}

fn creation(flag: &str, variant: &Variant) -> pb::CreateVariantRequest {
    pb::CreateVariantRequest {
        flag_key: flag.to_owned(),
        key: variant.key.clone(),
        name: variant.name.clone(),
        description: variant.description.clone(),
        attachment: variant.attachment.clone(),
        ..Default::default()
    }
}

/// Makes a stored segment equal to another.
pub(crate) async fn replace_segment(
    writer: &mut Writer,
    stored: &str,
    current: &Segment,
    wanted: &Segment,
) -> Result<(), StoreError> {
    let now = Param::Time(writer.now());
    writer
        .transaction
        .execute(
            r#"UPDATE segments SET name = ?, description = ?, match_type = ?, updated_at = ?
               WHERE namespace_key = ? AND "key" = ?"#,
            &[
                (&wanted.name).into(),
                (&wanted.description).into(),
                wanted.match_type.number().into(),
                now,
                stored.into(),
                (&wanted.key).into(),
            ],
        )
        .await?;
    writer.touch_segment(stored, &wanted.key);
    if current.constraints != wanted.constraints {
        let sql = "DELETE FROM constraints WHERE namespace_key = ? AND segment_key = ?";
        writer.transaction.execute(sql, params![stored, &wanted.key]).await?;
        import::write_constraints(writer, stored, wanted).await?;
    }
    Ok(())
}
