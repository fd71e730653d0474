//! From the document as written to the state it stands for, by the rules of import.

use crate::document::raw::{
    RawConstraint, RawDocument, RawFlag, RawName, RawRollout, RawRule, RawSegment, RawSegments, RawVariant,
};
use crate::document::{DocumentError, NamespaceRef, Version};
use crate::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Rollout, RolloutRule, Rule, Segment,
    SegmentOperator, Variant, namespace_or_default, validation,
};

/// One document of an import file, ready to be created: ranks given, attachments as JSON text, defaults filled
/// in, names checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportDocument {
    /// Version of the file.
    pub version: Version,
    /// The namespace the document names; `None` if it names none.
    pub namespace: Option<NamespaceRef>,
    /// Flags in the order of the document. Keys may repeat.
    pub flags: Vec<Flag>,
    /// Segments in the order of the document. Keys may repeat.
    pub segments: Vec<Segment>,
}

impl ImportDocument {
    /// Key of the namespace the document is for, if the caller does not say otherwise.
    #[must_use]
    pub fn namespace_key(&self) -> &str {
        namespace_or_default(self.namespace.as_ref().map_or("", |namespace| namespace.key.as_str()))
    }
}

/// Resolves a document of a file that declares `version`.
pub(crate) fn resolve(raw: RawDocument, version: Version) -> Result<ImportDocument, DocumentError> {
    let key = namespace_or_default(raw.namespace.as_ref().map_or("", |namespace| &namespace.key)).to_owned();
    let mut flags = Vec::with_capacity(raw.flags.len());
    let mut pending = Vec::with_capacity(raw.flags.len());
    // Flags, then segments, then rules and rollouts: the order in which import creates them, so that of
    // several errors in a document the same one is reported.
    for raw in raw.flags {
        let (flag, rules, rollouts) = flag(raw, version)?;
        flags.push(flag);
        pending.push((rules, rollouts));
    }
    let segments = raw.segments.into_iter().map(segment).collect::<Result<_, _>>()?;
    for (flag, (raw_rules, raw_rollouts)) in flags.iter_mut().zip(pending) {
        let place = Place { namespace: &key, version };
        flag.rules = rules(flag, raw_rules, &place)?;
        flag.rollouts = rollouts(flag, raw_rollouts, &place)?;
    }
    Ok(ImportDocument { version, namespace: raw.namespace, flags, segments })
}

/// What rules and rollouts need to know about the document they are in.
struct Place<'a> {
    namespace: &'a str,
    version: Version,
}

fn flag(raw: RawFlag, version: Version) -> Result<(Flag, Vec<RawRule>, Vec<RawRollout>), DocumentError> {
    if !raw.flag_type.name.is_empty() {
        version.require(Version::V1_1, "flag.type", raw.flag_type.place)?;
    }
    let mut flag = Flag {
        key: raw.key,
        name: raw.name,
        description: raw.description,
        flag_type: named(&raw.flag_type, FlagType::from_name, FlagType::ALL)?,
        enabled: raw.enabled,
        metadata: raw.metadata,
        ..Flag::default()
    };
    for raw in raw.variants {
        if raw.default {
            version.require(Version::V1_3, "variant.default", raw.place)?;
            flag.default_variant = Some(raw.key.clone());
        }
        flag.variants.push(variant(raw));
    }
    Ok((flag, raw.rules, raw.rollouts))
}

pub(crate) fn variant(raw: RawVariant) -> Variant {
    Variant { key: raw.key, name: raw.name, description: raw.description, attachment: raw.attachment }
}

fn rules(flag: &Flag, raw: Vec<RawRule>, document: &Place<'_>) -> Result<Vec<Rule>, DocumentError> {
    let mut rules = Vec::with_capacity(raw.len());
    for raw in raw {
        let rank =
            if raw.rank == 0 && document.version >= Version::V1_1 { rank_at(raw.index) } else { raw.rank };
        let Some(segment) = raw.segment.filter(|segment| !segment.keys.is_empty()) else {
            return Err(DocumentError::RuleWithoutSegment {
                place: raw.place,
                namespace: document.namespace.to_owned(),
                flag: flag.key.clone(),
                index: raw.index,
            });
        };
        let (segments, operator) = segments(segment)?;
        let mut distributions = Vec::with_capacity(raw.distributions.len());
        for raw in raw.distributions {
            if flag.variant(&raw.variant).is_none() {
                return Err(DocumentError::UnknownVariant {
                    place: raw.place,
                    variant: raw.variant,
                    flag: flag.key.clone(),
                });
            }
            distributions.push(Distribution { variant: raw.variant, rollout: raw.rollout });
        }
        rules.push(Rule { rank, segments, operator, distributions });
    }
    // Ranks are written by hand in old documents, and the list is in order of rank.
    rules.sort_by_key(|rule| rule.rank);
    Ok(rules)
}

fn rollouts(flag: &Flag, raw: Vec<RawRollout>, document: &Place<'_>) -> Result<Vec<Rollout>, DocumentError> {
    if let Some(first) = raw.first() {
        document.version.require(Version::V1_1, "flag.rollouts", first.place)?;
    }
    raw.into_iter().map(|raw| rollout(flag, raw, document)).collect()
}

fn rollout(flag: &Flag, raw: RawRollout, document: &Place<'_>) -> Result<Rollout, DocumentError> {
    let (place, index) = (raw.place, raw.index);
    let (namespace, key) = (document.namespace.to_owned(), flag.key.clone());
    let rule = match (raw.segment, raw.threshold) {
        (Some(_), Some(_)) => {
            return Err(DocumentError::RolloutWithBoth { place, namespace, flag: key, index });
        }
        (None, None) => return Err(DocumentError::RolloutWithNeither { place }),
        (None, Some(threshold)) => {
            RolloutRule::Threshold { percentage: threshold.percentage, value: threshold.value }
        }
        (Some(segment), None) => {
            let keys = if segment.keys.is_empty() {
                vec![segment.key]
            } else {
                document.version.require(Version::V1_2, "flag.rollouts[*].segment.keys", segment.place)?;
                if !segment.key.is_empty() {
                    return Err(DocumentError::RolloutWithKeyAndKeys { place, namespace, flag: key, index });
                }
                segment.keys
            };
            let value = segment.value;
            let (segments, operator) =
                segments(RawSegments { keys, is_list: true, operator: segment.operator })?;
            RolloutRule::Segment { segments, operator, value }
        }
    };
    Ok(Rollout { rank: rank_at(index), description: raw.description, rule })
}

/// The rank of what stands at a position of its list.
pub(crate) fn rank_at(index: usize) -> i32 {
    i32::try_from(index).map_or(i32::MAX, |index| index.saturating_add(1))
}

/// Every key once. With a single segment there is nothing to combine, and the operator is OR.
pub(crate) fn segments(raw: RawSegments) -> Result<(Vec<String>, SegmentOperator), DocumentError> {
    let (keys, operator) = distinct_segments(raw)?;
    Ok(if keys.len() > 1 { (keys, operator) } else { (keys, SegmentOperator::Or) })
}

/// Every key once, and the operator as written.
pub(crate) fn distinct_segments(raw: RawSegments) -> Result<(Vec<String>, SegmentOperator), DocumentError> {
    let operator = named(&raw.operator, SegmentOperator::from_name, SegmentOperator::ALL)?;
    let mut keys: Vec<String> = Vec::with_capacity(raw.keys.len());
    for key in raw.keys {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok((keys, operator))
}

fn segment(raw: RawSegment) -> Result<Segment, DocumentError> {
    Ok(Segment {
        key: raw.key,
        name: raw.name,
        description: raw.description,
        match_type: named(&raw.match_type, MatchType::from_name, MatchType::ALL)?,
        constraints: raw.constraints.into_iter().map(constraint).collect::<Result<_, _>>()?,
    })
}

fn constraint(raw: RawConstraint) -> Result<Constraint, DocumentError> {
    let operator = raw.operator.to_lowercase();
    let value = if validation::is_valueless(&operator) { String::new() } else { raw.value };
    Ok(Constraint {
        constraint_type: named(&raw.constraint_type, ConstraintType::from_name, ConstraintType::ALL)?,
        property: raw.property,
        operator,
        value,
        description: raw.description,
    })
}

/// The value with this name, the default if there is none. A name nobody knows is refused: the reference takes
/// it for the first value, and the mistake then shows in evaluations.
pub(crate) fn named<T: Copy + Default + std::fmt::Display>(
    raw: &RawName,
    from_name: impl Fn(&str) -> Option<T>,
    all: &[T],
) -> Result<T, DocumentError> {
    if raw.name.is_empty() {
        return Ok(T::default());
    }
    from_name(&raw.name).ok_or_else(|| {
        let known: Vec<String> = all.iter().map(|value| value.to_string()).collect();
        DocumentError::Type {
            place: raw.place,
            path: raw.path.clone(),
            detail: format!("{:?} is not one of {}", raw.name, known.join(", ")),
        }
    })
}
