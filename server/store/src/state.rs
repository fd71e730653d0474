//! Bulk reading of flag state, with its version.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Namespace, Rollout, RolloutRule,
    Rule, Segment, SegmentOperator, Snapshot, Variant,
};

use crate::{
    Database, Live, StoreError,
    database::{Param, Row, Transaction, params},
    live::NamespaceVersion,
    place::Place,
    writer::{looked_up, retried},
};

/// Version of an environment's whole state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Identity of the database instance; revisions of different epochs cannot be compared.
    pub epoch: String,
    /// Counts every write; never goes back within an epoch.
    pub revision: u64,
}

/// Digits of a version's text that stand for the epoch.
const EPOCH_DIGITS: usize = 8;

impl Version {
    /// The version as clients see it: 40 hexadecimal digits, like the commit ids that Flipt v2 has there.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:08x}{:032x}", crc32fast::hash(self.epoch.as_bytes()), self.revision)
    }

    /// The revision in a version's text, if that is one of this epoch.
    pub(crate) fn revision_in(&self, text: &str) -> Option<u64> {
        let own = self.text();
        if text.len() != own.len() || text.get(..EPOCH_DIGITS)?.to_lowercase() != own.get(..EPOCH_DIGITS)? {
            return None;
        }
        u64::from_str_radix(text.get(EPOCH_DIGITS..)?, 16).ok()
    }
}

/// Which part of the state to read. Namespaces are named by their stored keys.
pub(crate) enum Scope<'a> {
    All,
    /// Every namespace, without what is in it.
    Namespaces,
    Namespace(&'a str),
    Flag(&'a str, &'a str),
    Segment(&'a str, &'a str),
    /// Every flag of a namespace, without segments.
    Flags(&'a str),
    /// Every segment of a namespace, without flags.
    Segments(&'a str),
}

/// What stands behind `WHERE`, for tables that name the column in question.
type Filter = (String, Vec<Param>);

/// Everything of one environment, in tables that name the namespace.
const OF_ENVIRONMENT: &str = r#"t.namespace_key IN (SELECT "key" FROM namespaces WHERE environment_key = ?)"#;

impl Scope<'_> {
    fn namespaces(&self, place: &Place) -> Filter {
        match self {
            Self::All | Self::Namespaces => {
                ("n.environment_key = ?".to_owned(), vec![Param::from(place.row.as_str())])
            }
            Self::Namespace(key)
            | Self::Flag(key, _)
            | Self::Segment(key, _)
            | Self::Flags(key)
            | Self::Segments(key) => ("n.key = ?".to_owned(), vec![Param::from(*key)]),
        }
    }

    /// Filter for rows that belong to a flag, in a table or join with alias `t`; `None`: nothing wanted.
    fn of_flags(&self, place: &Place, flag_column: &str) -> Option<Filter> {
        match self {
            Self::All => Some((OF_ENVIRONMENT.to_owned(), vec![Param::from(place.row.as_str())])),
            Self::Namespace(key) | Self::Flags(key) => Some(of_namespace(key)),
            Self::Flag(namespace, key) => Some(of_resource(namespace, flag_column, key)),
            Self::Namespaces | Self::Segment(..) | Self::Segments(_) => None,
        }
    }

    fn of_segments(&self, place: &Place, segment_column: &str) -> Option<Filter> {
        match self {
            Self::All => Some((OF_ENVIRONMENT.to_owned(), vec![Param::from(place.row.as_str())])),
            Self::Namespace(key) | Self::Segments(key) => Some(of_namespace(key)),
            Self::Segment(namespace, key) => Some(of_resource(namespace, segment_column, key)),
            Self::Namespaces | Self::Flag(..) | Self::Flags(_) => None,
        }
    }
}

fn of_namespace(key: &str) -> Filter {
    ("t.namespace_key = ?".to_owned(), vec![Param::from(key)])
}

fn of_resource(namespace: &str, column: &str, key: &str) -> Filter {
    (format!("t.namespace_key = ? AND t.{column} = ?"), vec![Param::from(namespace), Param::from(key)])
}

const VERSION: &str = r#"SELECT epoch, revision FROM environments WHERE "key" = ?"#;

fn version_of(row: &Row) -> Result<Version, StoreError> {
    Ok(Version { epoch: row.text(0)?, revision: row.int(1)?.unsigned_abs() })
}

fn no_version(row: &str) -> StoreError {
    StoreError::Content(format!("table environments has no row for {row:?}"))
}

/// The version in a row, if there is such a row.
pub(crate) async fn find_version(
    transaction: &mut Transaction,
    row: &str,
) -> Result<Option<Version>, StoreError> {
    let found = transaction.fetch_optional(VERSION, params![row]).await?;
    found.as_ref().map(version_of).transpose()
}

/// The version recorded for an environment.
pub(crate) async fn version(transaction: &mut Transaction, place: &Place) -> Result<Version, StoreError> {
    find_version(transaction, &place.row).await?.ok_or_else(|| no_version(&place.row))
}

/// Every recorded version, by its row.
pub(crate) async fn versions(transaction: &mut Transaction) -> Result<HashMap<String, Version>, StoreError> {
    let rows = transaction.fetch_all(r#"SELECT epoch, revision, "key" FROM environments"#, &[]).await?;
    rows.iter().map(|row| Ok((row.text(2)?, version_of(row)?))).collect()
}

/// A row of versions, locked.
pub(crate) struct Locked {
    /// The version, which nobody else can move until the transaction ends.
    pub(crate) version: Version,
    /// The last instant that a write gave out.
    pub(crate) written_at: i64,
    /// How many claims the environment has.
    pub(crate) claims: i64,
}

/// Locks a row of versions.
pub(crate) async fn lock_row(transaction: &mut Transaction, row: &str) -> Result<Locked, StoreError> {
    let sql = format!(
        r#"SELECT epoch, revision, written_at, claims FROM environments WHERE "key" = ?{}"#,
        transaction.dialect().for_update()
    );
    let locked = transaction.fetch_optional(&sql, params![row]).await?.ok_or_else(|| no_version(row))?;
    Ok(Locked { version: version_of(&locked)?, written_at: locked.int(2)?, claims: locked.int(3)? })
}

/// Moves a version that is locked.
pub(crate) async fn set_revision(
    transaction: &mut Transaction,
    row: &str,
    revision: u64,
    now: i64,
) -> Result<(), StoreError> {
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    let sql = r#"UPDATE environments SET revision = ?, written_at = ? WHERE "key" = ?"#;
    transaction.execute(sql, params![revision, now, row]).await.map(drop)
}

/// Records that something in a namespace changed at this instant, or a little later if its last change seems
/// to be in the future: clocks of servers differ, and clients compare.
pub(crate) async fn touch(
    transaction: &mut Transaction,
    namespace: &str,
    now: i64,
    revision: u64,
) -> Result<(), StoreError> {
    let before = namespace_version(transaction, namespace).await?.and_then(|version| version.modified_at);
    let now = before.map_or(now, |before| now.max(before + 1));
    transaction
        .execute(
            r#"UPDATE namespaces SET state_modified_at = ?, state_revision = ? WHERE "key" = ?"#,
            &[Param::Time(now), i64::try_from(revision).unwrap_or(i64::MAX).into(), namespace.into()],
        )
        .await?;
    Ok(())
}

fn namespace_version_of(row: &Row) -> Result<NamespaceVersion, StoreError> {
    Ok(NamespaceVersion { modified_at: row.optional_time(0)?, revision: row.int(1)?.unsigned_abs() })
}

/// The version of a stored namespace, if it exists.
pub(crate) async fn namespace_version(
    transaction: &mut Transaction,
    stored: &str,
) -> Result<Option<NamespaceVersion>, StoreError> {
    let sql = r#"SELECT state_modified_at, state_revision FROM namespaces WHERE "key" = ?"#;
    let found = transaction.fetch_optional(sql, params![stored]).await?;
    found.as_ref().map(namespace_version_of).transpose()
}

/// Reads and compiles the whole state of an environment at the version that the transaction sees.
pub(crate) async fn load_live(
    transaction: &mut Transaction,
    place: &Place,
    version: Version,
) -> Result<Live, StoreError> {
    let state = load(transaction, place, &Scope::All).await?;
    let sql = r#"SELECT state_modified_at, state_revision, "key" FROM namespaces WHERE environment_key = ?"#;
    let rows = transaction.fetch_all(sql, params![&place.row]).await?;
    let namespaces: BTreeMap<String, NamespaceVersion> = rows
        .iter()
        .map(|row| Ok((place.namespace(&row.text(2)?).to_owned(), namespace_version_of(row)?)))
        .collect::<Result<_, StoreError>>()?;
    let mut snapshot = flipt_evaluation::Snapshot::compile(&state);
    if transaction.ignores_letter_case() {
        snapshot = snapshot.ignoring_letter_case();
    }
    Ok(Live { snapshot, version, namespaces: Arc::new(namespaces) })
}

/// Reads the whole state of the default environment of a migrated database, in one transaction, without
/// anything else being touched.
///
/// # Errors
/// [`StoreError`].
pub async fn read_snapshot(database: &Database) -> Result<Snapshot, StoreError> {
    let place = Place::of_default();
    looked_up!(database, |transaction| load(transaction, &place, &Scope::All))
}

/// Reads state with its version, in one transaction of its own.
pub(crate) async fn read(
    database: &Database,
    place: &Place,
    scope: &Scope<'_>,
) -> Result<(Snapshot, Version), StoreError> {
    retried!({
        let mut transaction = database.read().await?;
        let version = version(&mut transaction, place).await?;
        let snapshot = load(&mut transaction, place, scope).await?;
        Ok((snapshot, version))
    })
}

/// Reads state. Lists come in the order of the product: creation time, rank for rules and rollouts.
///
/// A rule or a segment rollout without any segment is left out, as relational Flipt does (evaluation
/// spec, section 12).
pub(crate) async fn load(
    transaction: &mut Transaction,
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Snapshot, StoreError> {
    let (filter, values) = scope.namespaces(place);
    let mut snapshot = Snapshot::default();
    let mut positions = HashMap::new();
    let sql = format!(
        "SELECT n.key, n.name, n.description FROM namespaces n WHERE {filter} ORDER BY n.created_at, n.key"
    );
    for row in transaction.fetch_all(&sql, &values).await? {
        let stored = row.text(0)?;
        let namespace = Namespace {
            key: place.namespace(&stored).to_owned(),
            name: row.text(1)?,
            description: row.text(2)?,
            ..Namespace::default()
        };
        positions.insert(transaction.comparable(stored), snapshot.namespaces.len());
        snapshot.namespaces.push(namespace);
    }
    for (namespace, segment) in load_segments(transaction, place, scope).await? {
        if let Some(owner) = positions.get(&namespace).and_then(|at| snapshot.namespaces.get_mut(*at)) {
            owner.segments.push(segment);
        }
    }
    for (namespace, flag) in load_flags(transaction, place, scope).await? {
        if let Some(owner) = positions.get(&namespace).and_then(|at| snapshot.namespaces.get_mut(*at)) {
            owner.flags.push(flag);
        }
    }
    Ok(snapshot)
}

/// Namespace and key that a row belongs to, to be compared with those of other rows.
fn owner_of(transaction: &Transaction, row: &Row) -> Result<(String, String), StoreError> {
    Ok((transaction.comparable(row.text(0)?), transaction.comparable(row.text(1)?)))
}

/// The key of a segment that rows with this alias refer to, as the segment itself spells it; and what must be joined
/// to know it.
fn segment_spelling(transaction: &Transaction, alias: &str) -> (String, String) {
    if !transaction.ignores_letter_case() {
        return (format!("{alias}.segment_key"), String::new());
    }
    let join = format!(
        r#"JOIN segments g ON g.namespace_key = {alias}.namespace_key AND g."key" = {alias}.segment_key"#
    );
    (r#"g."key""#.to_owned(), join)
}

async fn load_segments(
    transaction: &mut Transaction,
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Vec<(String, Segment)>, StoreError> {
    let Some((filter, values)) = scope.of_segments(place, "segment_key") else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT t.namespace_key, t.segment_key, t.type, t.property, t.operator, t.value, t.description
         FROM constraints t WHERE {filter} ORDER BY t.created_at, t.id"
    );
    let mut constraints: HashMap<(String, String), Vec<Constraint>> = HashMap::new();
    for row in transaction.fetch_all(&sql, &values).await? {
        constraints.entry(owner_of(transaction, &row)?).or_default().push(Constraint {
            constraint_type: ConstraintType::from_number(row.int32(2)?),
            property: row.text(3)?,
            operator: row.text(4)?,
            value: row.text(5)?,
            description: row.text(6)?,
        });
    }
    let (filter, values) = scope.of_segments(place, "key").unwrap_or_default();
    let sql = format!(
        "SELECT t.namespace_key, t.key, t.name, t.description, t.match_type
         FROM segments t WHERE {filter} ORDER BY t.created_at, t.key"
    );
    let mut segments = Vec::new();
    for row in transaction.fetch_all(&sql, &values).await? {
        let owner = owner_of(transaction, &row)?;
        let segment = Segment {
            key: row.text(1)?,
            name: row.text(2)?,
            description: row.text(3)?,
            match_type: MatchType::from_number(row.int32(4)?),
            constraints: constraints.remove(&owner).unwrap_or_default(),
        };
        segments.push((owner.0, segment));
    }
    Ok(segments)
}

async fn load_flags(
    transaction: &mut Transaction,
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Vec<(String, Flag)>, StoreError> {
    let Some((filter, values)) = scope.of_flags(place, "flag_key") else { return Ok(Vec::new()) };
    let mut variants: HashMap<(String, String), Vec<(String, Variant)>> = HashMap::new();
    let sql = format!(
        "SELECT t.namespace_key, t.flag_key, t.id, t.key, t.name, t.description, t.attachment
         FROM variants t WHERE {filter} ORDER BY t.created_at, t.id"
    );
    for row in transaction.fetch_all(&sql, &values).await? {
        let attachment = row.text(6)?;
        let variant = Variant {
            key: row.text(3)?,
            name: row.text(4)?,
            description: row.text(5)?,
            attachment: flipt_model::validation::compact_json(&attachment).unwrap_or(attachment),
        };
        variants.entry(owner_of(transaction, &row)?).or_default().push((row.text(2)?, variant));
    }

    let mut rules = load_rules(transaction, &filter, &values).await?;
    let mut rollouts = load_rollouts(transaction, &filter, &values).await?;

    let (filter, values) = scope.of_flags(place, "key").unwrap_or_default();
    let sql = format!(
        "SELECT t.namespace_key, t.key, t.name, t.description, t.enabled, t.type, t.metadata, t.default_variant_id
         FROM flags t WHERE {filter} ORDER BY t.created_at, t.key"
    );
    let mut flags = Vec::new();
    for row in transaction.fetch_all(&sql, &values).await? {
        let owner = owner_of(transaction, &row)?;
        let variants = variants.remove(&owner).unwrap_or_default();
        let default_id = row.text(7)?;
        let flag = Flag {
            key: row.text(1)?,
            name: row.text(2)?,
            description: row.text(3)?,
            enabled: row.bool(4)?,
            flag_type: FlagType::from_number(row.int32(5)?),
            metadata: metadata(&row.text(6)?, &owner)?,
            default_variant: variants.iter().find(|(id, _)| *id == default_id).map(|(_, v)| v.key.clone()),
            variants: variants.into_iter().map(|(_, variant)| variant).collect(),
            rules: rules.remove(&owner).unwrap_or_default(),
            rollouts: rollouts.remove(&owner).unwrap_or_default(),
        };
        flags.push((owner.0, flag));
    }
    Ok(flags)
}

fn metadata(text: &str, owner: &(String, String)) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
    if text.is_empty() || text == "null" {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(text)
        .map_err(|error| StoreError::Content(format!("metadata of flag {}/{}: {error}", owner.0, owner.1)))
}

async fn load_rules(
    transaction: &mut Transaction,
    filter: &str,
    values: &[Param],
) -> Result<HashMap<(String, String), Vec<Rule>>, StoreError> {
    let (spelling, join) = segment_spelling(transaction, "s");
    let sql = format!(
        "SELECT s.rule_id, {spelling} FROM rule_segments s JOIN rules t ON t.id = s.rule_id {join}
         WHERE {filter} ORDER BY s.position, s.segment_key"
    );
    let mut segments: HashMap<String, Vec<String>> = HashMap::new();
    for row in transaction.fetch_all(&sql, values).await? {
        segments.entry(row.text(0)?).or_default().push(row.text(1)?);
    }
    let sql = format!(
        "SELECT d.rule_id, v.key, d.rollout FROM distributions d
         JOIN rules t ON t.id = d.rule_id JOIN variants v ON v.id = d.variant_id
         WHERE {filter} ORDER BY d.created_at, d.id"
    );
    let mut distributions: HashMap<String, Vec<Distribution>> = HashMap::new();
    for row in transaction.fetch_all(&sql, values).await? {
        let distribution = Distribution { variant: row.text(1)?, rollout: row.percentage(2)? };
        distributions.entry(row.text(0)?).or_default().push(distribution);
    }
    let sql = format!(
        "SELECT t.namespace_key, t.flag_key, t.id, t.rank, t.segment_operator
         FROM rules t WHERE {filter} ORDER BY t.rank, t.created_at, t.id"
    );
    let mut rules: HashMap<(String, String), Vec<Rule>> = HashMap::new();
    for row in transaction.fetch_all(&sql, values).await? {
        let id = row.text(2)?;
        let Some(segments) = segments.remove(&id) else {
            tracing::warn!(
                namespace = row.text(0)?,
                flag = row.text(1)?,
                rule = id,
                "rule without segments left out"
            );
            continue;
        };
        rules.entry(owner_of(transaction, &row)?).or_default().push(Rule {
            rank: row.int32(3)?,
            segments,
            operator: SegmentOperator::from_number(row.int32(4)?),
            distributions: distributions.remove(&id).unwrap_or_default(),
        });
    }
    Ok(rules)
}

async fn load_rollouts(
    transaction: &mut Transaction,
    filter: &str,
    values: &[Param],
) -> Result<HashMap<(String, String), Vec<Rollout>>, StoreError> {
    let sql = format!(
        "SELECT p.rollout_id, p.percentage, p.value FROM rollout_thresholds p
         JOIN rollouts t ON t.id = p.rollout_id WHERE {filter}"
    );
    let mut rules: HashMap<String, RolloutRule> = HashMap::new();
    for row in transaction.fetch_all(&sql, values).await? {
        let rule = RolloutRule::Threshold { percentage: row.percentage(1)?, value: row.bool(2)? };
        rules.insert(row.text(0)?, rule);
    }
    let (spelling, join) = segment_spelling(transaction, "r");
    let sql = format!(
        "SELECT s.rollout_id, s.value, s.segment_operator, {spelling} FROM rollout_segments s
         JOIN rollouts t ON t.id = s.rollout_id
         JOIN rollout_segment_references r ON r.rollout_segment_id = s.id {join}
         WHERE {filter} ORDER BY r.position, r.segment_key"
    );
    for row in transaction.fetch_all(&sql, values).await? {
        let rule = rules.entry(row.text(0)?).or_insert_with(|| RolloutRule::Segment {
            segments: Vec::new(),
            operator: SegmentOperator::default(),
            value: false,
        });
        if let RolloutRule::Segment { segments, operator, value } = rule {
            segments.push(row.text(3)?);
            *value = row.bool(1)?;
            *operator = SegmentOperator::from_number(row.int32(2)?);
        }
    }
    let sql = format!(
        "SELECT t.namespace_key, t.flag_key, t.id, t.rank, t.description
         FROM rollouts t WHERE {filter} ORDER BY t.rank, t.created_at, t.id"
    );
    let mut rollouts: HashMap<(String, String), Vec<Rollout>> = HashMap::new();
    for row in transaction.fetch_all(&sql, values).await? {
        let Some(rule) = rules.remove(&row.text(2)?) else {
            tracing::warn!(
                namespace = row.text(0)?,
                flag = row.text(1)?,
                rollout = row.text(2)?,
                "rollout without a rule left out"
            );
            continue;
        };
        let rollout = Rollout { rank: row.int32(3)?, description: row.text(4)?, rule };
        rollouts.entry(owner_of(transaction, &row)?).or_default().push(rollout);
    }
    Ok(rollouts)
}
