//! Giving up a claim.

use flipt_model::{DEFAULT_NAMESPACE, ownership::Owner};

use super::{Released, ResourceName, claims};
use crate::{
    Edit, StoreError,
    changes::Touched,
    database::{Param, params},
    resources,
    writer::Writer,
};

/// How many users of a resource are named.
const NAMED: usize = 20;

/// Gives up the claim of an owner, or of the object that it took the place of, and deletes the resource if asked to.
/// The default namespace is never deleted.
pub(super) async fn release(
    writer: &mut Writer,
    named: &ResourceName,
    owner: &Owner,
    delete: bool,
) -> Result<Released, StoreError> {
    writer.force();
    let name = named.touched(writer.place());
    let known = claims::find(&mut writer.transaction, &name).await?;
    let Some(known) = known.filter(|known| known.claim.owner.is(owner)) else {
        return Ok(Released::default());
    };
    let name = known.name;
    let delete = delete && !(matches!(name, Touched::Namespace(_)) && named.key == DEFAULT_NAMESPACE);
    if delete {
        let used_by = users(writer, &name).await?;
        if !used_by.is_empty() {
            return Ok(Released { used_by, ..Released::default() });
        }
    }
    claims::remove(writer, &name).await?;
    let mut deleted = false;
    if delete {
        deleted = super::apply::load(writer, &name).await?.is_some();
        let (namespace, key) = (named.namespace.clone(), named.key.clone());
        let edit = match &name {
            Touched::Namespace(_) => Edit::DeleteNamespace(key),
            Touched::Flag(..) => Edit::DeleteFlag(namespace, key),
            Touched::Segment(..) => Edit::DeleteSegment(namespace, key),
        };
        resources::apply(writer, &edit, "").await?;
    }
    writer.touch(name);
    Ok(Released { released: true, deleted, used_by: Vec::new() })
}

/// What uses a resource, or is in it, so that it cannot be deleted.
async fn users(writer: &mut Writer, name: &Touched) -> Result<Vec<String>, StoreError> {
    let (sql, values): (&str, Vec<Param>) = match name {
        Touched::Flag(..) => return Ok(Vec::new()),
        Touched::Segment(namespace, key) => (
            "SELECT DISTINCT 'flag', t.flag_key FROM rule_segments r JOIN rules t ON t.id = r.rule_id
             WHERE r.namespace_key = ? AND r.segment_key = ?
             UNION
             SELECT DISTINCT 'flag', t.flag_key FROM rollout_segment_references r
             JOIN rollout_segments s ON s.id = r.rollout_segment_id JOIN rollouts t ON t.id = s.rollout_id
             WHERE r.namespace_key = ? AND r.segment_key = ? ORDER BY 2",
            params![namespace, key, namespace, key].to_vec(),
        ),
        Touched::Namespace(namespace) => (
            r#"SELECT 'flag', "key" FROM flags WHERE namespace_key = ?
               UNION ALL SELECT 'segment', "key" FROM segments WHERE namespace_key = ? ORDER BY 1, 2"#,
            params![namespace, namespace].to_vec(),
        ),
    };
    let namespace = writer.place().namespace(name.namespace()).to_owned();
    let rows = writer.transaction.fetch_all(sql, &values).await?;
    let more = rows.len().saturating_sub(NAMED);
    let named = rows.iter().take(NAMED);
    let mut users = named
        .map(|row| Ok(format!("{} {namespace}/{}", row.text(0)?, row.text(1)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    if more > 0 {
        users.push(format!("and {more} more"));
    }
    Ok(users)
}
