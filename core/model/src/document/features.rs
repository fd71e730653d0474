//! Feature files: from all files of a source to one snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};

use thiserror::Error;

use crate::document::import::{distinct_segments, named, rank_at, variant};
use crate::document::raw::{
    RawConstraint, RawDocument, RawFlag, RawRollout, RawRule, RawSegment, RawSegments,
};
use crate::document::{
    DocumentError, Encoding, Issue, Place, decode_text, extension, raw, read_nodes, schema,
};
use crate::validation::go_quote;
use crate::{
    Constraint, ConstraintType, DEFAULT_NAMESPACE, Distribution, Flag, FlagType, MatchType, Namespace,
    Rollout, RolloutRule, Rule, Segment, Snapshot,
};

/// Why a set of feature files makes no snapshot. The texts are the reference's.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file's name says neither YAML nor JSON.
    #[error("unexpected extension: {extension:?}")]
    Extension {
        /// Name of the file.
        file: String,
        /// The extension with its dot.
        extension: String,
    },
    /// The schema does not accept the file.
    #[error("{}", issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Name of the file.
        file: String,
        /// What it does not accept.
        issues: Vec<Issue>,
    },
    /// The file is not YAML or JSON, or holds a value no field can hold.
    #[error("{file}: {source}")]
    Document {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// A rule or rollout names a segment that no file defines.
    #[error("flag {namespace}/{flag} rule {rule} references unknown segment {}", go_quote(segment))]
    UnknownSegment {
        /// Name of the file.
        file: String,
        /// Where the rule or rollout stands.
        place: Place,
        /// Key of the namespace.
        namespace: String,
        /// Key of the flag.
        flag: String,
        /// Position of the rule or rollout, from 1.
        rule: usize,
        /// Key of the segment.
        segment: String,
    },
    /// A distribution names a variant its flag does not have.
    #[error("flag {namespace}/{flag} rule {rule} references unknown variant {}", go_quote(variant))]
    UnknownVariant {
        /// Name of the file.
        file: String,
        /// Where the distribution stands.
        place: Place,
        /// Key of the namespace.
        namespace: String,
        /// Key of the flag.
        flag: String,
        /// Position of the rule, from 1.
        rule: usize,
        /// Key of the variant.
        variant: String,
    },
}

impl LoadError {
    /// Name of the file, as given by the caller.
    #[must_use]
    pub fn file(&self) -> &str {
        match self {
            Self::Extension { file, .. }
            | Self::Invalid { file, .. }
            | Self::Document { file, .. }
            | Self::UnknownSegment { file, .. }
            | Self::UnknownVariant { file, .. } => file,
        }
    }

    /// Line of the first thing that is wrong, from 1; `None` if it is the file's name.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Extension { .. } => None,
            Self::Invalid { issues, .. } => issues.first().map(|issue| issue.line),
            Self::Document { source, .. } => Some(source.place().line),
            Self::UnknownSegment { place, .. } | Self::UnknownVariant { place, .. } => Some(place.line),
        }
    }
}

/// A snapshot, and what its files say beyond it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Namespaces, flags and segments in key order.
    pub snapshot: Snapshot,
    /// Keys of the namespaces that a document is for.
    pub documented: BTreeSet<String>,
    /// The rules whose segments are written as a list, be it of one.
    pub listed: BTreeSet<RulePosition>,
    /// Sentences for people about what works but should be looked at.
    pub warnings: Vec<String>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RulePosition {
    /// Key of the namespace.
    pub namespace: String,
    /// Key of the flag.
    pub flag: String,
    /// Position in the list of rules, from 0.
    pub index: usize,
}

/// The encoding of a feature file by its name; without an extension that is JSON.
///
/// # Errors
/// [`LoadError::Extension`]
pub fn feature_encoding(name: &str) -> Result<Encoding, LoadError> {
    match extension(name) {
        ".yml" | ".yaml" => Ok(Encoding::Yaml),
        ".json" | "" => Ok(Encoding::Json),
        other => Err(LoadError::Extension { file: name.to_owned(), extension: other.to_owned() }),
    }
}

/// Loads feature files, in the order given, into one snapshot.
///
/// # Errors
/// One bad file fails the whole load; see [`LoadError`].
pub fn load_features(files: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<Snapshot, LoadError> {
    load_features_with_warnings(files).map(|features| features.snapshot)
}

/// [`load_features`], with warnings.
///
/// # Guarantees
/// The namespace `default` always exists. Documents of one namespace add up, a later flag or segment replaces
/// an earlier one with the same key. Rules may use segments of any document of their namespace, read before
/// theirs or after.
///
/// # Errors
/// One bad file fails the whole load; see [`LoadError`].
pub fn load_features_with_warnings(
    files: &[(impl AsRef<str>, impl AsRef<[u8]>)],
) -> Result<Features, LoadError> {
    let mut load = Load::default();
    load.namespace(DEFAULT_NAMESPACE, "Default", "");
    for (name, text) in files {
        load.file(name.as_ref(), text.as_ref())?;
    }
    load.finish()
}

#[derive(Default)]
struct Load {
    namespaces: Vec<Loaded>,
    positions: HashMap<String, usize>,
    documented: BTreeSet<String>,
    warnings: Vec<String>,
}

/// A namespace while it is being loaded.
struct Loaded {
    namespace: Namespace,
    flags: HashMap<String, usize>,
    segments: HashMap<String, usize>,
    /// Where the flags come from, in their order.
    origins: Vec<Origin>,
}

/// Where the parts of a flag stand.
struct Origin {
    file: String,
    rules: Vec<RuleOrigin>,
    rollouts: Vec<Place>,
}

struct RuleOrigin {
    place: Place,
    /// Whether the segments are written as a list.
    is_listed: bool,
    distributions: Vec<Place>,
}

impl Load {
    /// The namespace with this key, made of name and description if there is none.
    fn namespace(&mut self, key: &str, name: &str, description: &str) -> usize {
        if let Some(position) = self.positions.get(key) {
            return *position;
        }
        self.namespaces.push(Loaded {
            namespace: Namespace {
                key: key.to_owned(),
                name: name.to_owned(),
                description: description.to_owned(),
                ..Namespace::default()
            },
            flags: HashMap::new(),
            segments: HashMap::new(),
            origins: Vec::new(),
        });
        let position = self.namespaces.len() - 1;
        self.positions.insert(key.to_owned(), position);
        position
    }

    fn file(&mut self, name: &str, text: &[u8]) -> Result<(), LoadError> {
        let encoding = feature_encoding(name)?;
        let failed = |source| LoadError::Document { file: name.to_owned(), source };
        let text = decode_text(text, encoding).map_err(failed)?;
        for (index, node) in read_nodes(&text, encoding).enumerate() {
            let node = node.map_err(failed)?;
            schema::one_object(index, &node, encoding).map_err(failed)?;
            let base = name.rsplit('/').next().unwrap_or(name);
            let issues = schema::check(&node, encoding, base).map_err(failed)?;
            if !issues.is_empty() {
                return Err(LoadError::Invalid { file: name.to_owned(), issues });
            }
            let document = raw::document(&node, encoding).map_err(failed)?;
            self.document(name, document).map_err(failed)?;
        }
        Ok(())
    }

    fn document(&mut self, file: &str, document: RawDocument) -> Result<(), DocumentError> {
        let named = document.namespace.unwrap_or_default();
        let key = crate::namespace_or_default(&named.key);
        let position = self.namespace(key, &named.name, &named.description);
        self.documented.insert(key.to_owned());
        for raw in document.segments {
            let segment = segment(raw, file, &mut self.warnings)?;
            let loaded = &mut self.namespaces[position];
            let segments = &mut loaded.namespace.segments;
            put(segments, &mut loaded.segments, segment.key.clone(), segment);
        }
        for raw in document.flags {
            let (flag, origin) = flag(raw, file)?;
            let loaded = &mut self.namespaces[position];
            let at = put(&mut loaded.namespace.flags, &mut loaded.flags, flag.key.clone(), flag);
            if at < loaded.origins.len() {
                loaded.origins[at] = origin;
            } else {
                loaded.origins.push(origin);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Features, LoadError> {
        let mut listed = BTreeSet::new();
        for loaded in &self.namespaces {
            let known: HashSet<&str> =
                loaded.namespace.segments.iter().map(|segment| segment.key.as_str()).collect();
            for (flag, origin) in loaded.namespace.flags.iter().zip(&loaded.origins) {
                check_references(&loaded.namespace.key, flag, origin, &known)?;
                listed.extend(origin.rules.iter().enumerate().filter(|(_, rule)| rule.is_listed).map(
                    |(index, _)| RulePosition {
                        namespace: loaded.namespace.key.clone(),
                        flag: flag.key.clone(),
                        index,
                    },
                ));
            }
        }
        let namespaces = self.namespaces.into_iter().map(|loaded| loaded.namespace).collect();
        let mut snapshot = Snapshot { namespaces };
        snapshot.sort_by_key();
        Ok(Features { snapshot, documented: self.documented, listed, warnings: self.warnings })
    }
}

/// Puts an item in the place of the one with the same key, or at the end.
fn put<T>(items: &mut Vec<T>, positions: &mut HashMap<String, usize>, key: String, item: T) -> usize {
    let position = *positions.entry(key).or_insert(items.len());
    match items.get_mut(position) {
        Some(place) => *place = item,
        None => items.push(item),
    }
    position
}

fn check_references(
    namespace: &str,
    flag: &Flag,
    origin: &Origin,
    known: &HashSet<&str>,
) -> Result<(), LoadError> {
    let unknown = |place: Place, index: usize, keys: &[String]| {
        let Some(segment) = keys.iter().find(|key| !known.contains(key.as_str())) else { return Ok(()) };
        Err(LoadError::UnknownSegment {
            file: origin.file.clone(),
            place,
            namespace: namespace.to_owned(),
            flag: flag.key.clone(),
            rule: index + 1,
            segment: segment.clone(),
        })
    };
    for (index, (rule, written)) in flag.rules.iter().zip(&origin.rules).enumerate() {
        unknown(written.place, index, &rule.segments)?;
        for (distribution, place) in rule.distributions.iter().zip(&written.distributions) {
            if flag.variant(&distribution.variant).is_none() {
                return Err(LoadError::UnknownVariant {
                    file: origin.file.clone(),
                    place: *place,
                    namespace: namespace.to_owned(),
                    flag: flag.key.clone(),
                    rule: index + 1,
                    variant: distribution.variant.clone(),
                });
            }
        }
    }
    for (index, (rollout, place)) in flag.rollouts.iter().zip(&origin.rollouts).enumerate() {
        if let RolloutRule::Segment { segments, .. } = &rollout.rule {
            unknown(*place, index, segments)?;
        }
    }
    Ok(())
}

fn flag(raw: RawFlag, file: &str) -> Result<(Flag, Origin), DocumentError> {
    let origin = Origin {
        file: file.to_owned(),
        rules: raw
            .rules
            .iter()
            .map(|rule| RuleOrigin {
                place: rule.place,
                is_listed: rule.segment.as_ref().is_some_and(|segment| segment.is_list),
                distributions: rule.distributions.iter().map(|item| item.place).collect(),
            })
            .collect(),
        rollouts: raw.rollouts.iter().map(|rollout| rollout.place).collect(),
    };
    let default_variant =
        raw.variants.iter().rfind(|variant| variant.default).map(|variant| variant.key.clone());
    let flag = Flag {
        key: raw.key,
        name: raw.name,
        description: raw.description,
        flag_type: named(&raw.flag_type, FlagType::from_name, FlagType::ALL)?,
        enabled: raw.enabled,
        metadata: raw.metadata,
        variants: raw.variants.into_iter().map(variant).collect(),
        default_variant,
        rules: raw.rules.into_iter().map(rule).collect::<Result<_, _>>()?,
        rollouts: raw.rollouts.into_iter().map(rollout).collect::<Result<_, _>>()?,
    };
    Ok((flag, origin))
}

/// The rank in the file does not count, the position does. The operator counts also with a single segment,
/// and with none it decides: all of no segments match everybody (evaluation spec, section 12).
fn rule(raw: RawRule) -> Result<Rule, DocumentError> {
    let (segments, operator) = raw.segment.map_or_else(|| Ok(Default::default()), distinct_segments)?;
    let distributions = raw
        .distributions
        .into_iter()
        .map(|raw| Distribution { variant: raw.variant, rollout: raw.rollout })
        .collect();
    Ok(Rule { rank: rank_at(raw.index), segments, operator, distributions })
}

fn rollout(raw: RawRollout) -> Result<Rollout, DocumentError> {
    let rule = match (raw.threshold, raw.segment) {
        (Some(threshold), _) => {
            RolloutRule::Threshold { percentage: threshold.percentage, value: threshold.value }
        }
        (None, Some(segment)) => {
            let keys = if segment.key.is_empty() { segment.keys } else { vec![segment.key] };
            let value = segment.value;
            let raw = RawSegments { keys, is_list: true, operator: segment.operator };
            let (segments, operator) = distinct_segments(raw)?;
            RolloutRule::Segment { segments, operator, value }
        }
        (None, None) => RolloutRule::None,
    };
    Ok(Rollout { rank: rank_at(raw.index), description: raw.description, rule })
}

fn segment(raw: RawSegment, file: &str, warnings: &mut Vec<String>) -> Result<Segment, DocumentError> {
    let mut constraints = Vec::with_capacity(raw.constraints.len());
    for item in raw.constraints {
        let constraint = constraint(item)?;
        if constraint.operator == "le" {
            warnings.push(format!(
                "{file}: segment {} property {}: operator \"le\" is read as \"lt\"",
                go_quote(&raw.key),
                go_quote(&constraint.property)
            ));
            constraints.push(Constraint { operator: "lt".to_owned(), ..constraint });
        } else {
            constraints.push(constraint);
        }
    }
    Ok(Segment {
        key: raw.key,
        name: raw.name,
        description: raw.description,
        match_type: named(&raw.match_type, MatchType::from_name, MatchType::ALL)?,
        constraints,
    })
}

fn constraint(raw: RawConstraint) -> Result<Constraint, DocumentError> {
    Ok(Constraint {
        constraint_type: named(&raw.constraint_type, ConstraintType::from_name, ConstraintType::ALL)?,
        property: raw.property,
        operator: raw.operator,
        value: raw.value,
        description: raw.description,
    })
}
