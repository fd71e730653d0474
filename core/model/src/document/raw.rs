//! The document as it stands in the file: fields by their names, nothing resolved.

use std::collections::BTreeMap;

use crate::document::attachment;
use crate::document::decode::{At, Fields, Path};
use crate::document::node::{Content, Node};
use crate::document::{DocumentError, Encoding, NamespaceRef, Place};

pub(crate) struct RawDocument {
    /// Empty if missing.
    pub(crate) version: (String, Place),
    pub(crate) namespace: Option<NamespaceRef>,
    pub(crate) flags: Vec<RawFlag>,
    pub(crate) segments: Vec<RawSegment>,
}

/// A name out of a fixed set, empty if missing.
pub(crate) struct RawName {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) path: String,
}

pub(crate) struct RawFlag {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) flag_type: RawName,
    pub(crate) enabled: bool,
    pub(crate) metadata: BTreeMap<String, serde_json::Value>,
    pub(crate) variants: Vec<RawVariant>,
    pub(crate) rules: Vec<RawRule>,
    pub(crate) rollouts: Vec<RawRollout>,
}

pub(crate) struct RawVariant {
    pub(crate) place: Place,
    pub(crate) default: bool,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) attachment: String,
}

pub(crate) struct RawRule {
    pub(crate) place: Place,
    /// Position in the list as written, from 0.
    pub(crate) index: usize,
    /// `None` if missing.
    pub(crate) segment: Option<RawSegments>,
    pub(crate) rank: i32,
    pub(crate) distributions: Vec<RawDistribution>,
}

pub(crate) struct RawSegments {
    pub(crate) keys: Vec<String>,
    /// Whether the keys stand in a list, be it of one.
    pub(crate) is_list: bool,
    pub(crate) operator: RawName,
}

pub(crate) struct RawDistribution {
    pub(crate) place: Place,
    pub(crate) variant: String,
    pub(crate) rollout: f32,
}

pub(crate) struct RawRollout {
    pub(crate) place: Place,
    pub(crate) index: usize,
    pub(crate) description: String,
    pub(crate) segment: Option<RawRolloutSegment>,
    pub(crate) threshold: Option<RawThreshold>,
}

pub(crate) struct RawRolloutSegment {
    pub(crate) place: Place,
    pub(crate) key: String,
    pub(crate) keys: Vec<String>,
    pub(crate) operator: RawName,
    pub(crate) value: bool,
}

pub(crate) struct RawThreshold {
    pub(crate) percentage: f32,
    pub(crate) value: bool,
}

pub(crate) struct RawSegment {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) match_type: RawName,
    pub(crate) constraints: Vec<RawConstraint>,
}

pub(crate) struct RawConstraint {
    pub(crate) constraint_type: RawName,
    pub(crate) property: String,
    pub(crate) operator: String,
    pub(crate) value: String,
    pub(crate) description: String,
}

/// Reads the top of a document; null is a document without anything in it.
pub(crate) fn document(node: &Node, encoding: Encoding) -> Result<RawDocument, DocumentError> {
    let path = Path::Top;
    let at = At { node, path, encoding };
    let fields = at.fields()?;
    let version = match fields.get(&path, "version") {
        Some(version) => (version.text()?, version.node.place),
        None => (String::new(), node.place),
    };
    let namespace = fields.get(&path, "namespace").map(namespace).transpose()?;
    let flags = list(&fields, &path, "flags", flag)?;
    let segments = list(&fields, &path, "segments", segment)?;
    Ok(RawDocument { version, namespace, flags, segments })
}

/// Reads every item of a list but those that are null.
fn list<T>(
    fields: &Fields<'_>,
    path: &Path<'_>,
    name: &str,
    read: impl Fn(At<'_, '_>, usize) -> Result<T, DocumentError>,
) -> Result<Vec<T>, DocumentError> {
    let Some(list) = fields.get(path, name) else { return Ok(Vec::new()) };
    list.items()?
        .filter(|(_, node)| !node.is_null())
        .map(|(index, node)| {
            read(At { node, path: Path::Index(&list.path, index), encoding: list.encoding }, index)
        })
        .collect()
}

fn name(
    fields: &Fields<'_>,
    path: &Path<'_>,
    name: &str,
    otherwise: Place,
) -> Result<RawName, DocumentError> {
    let at = fields.get(path, name);
    Ok(RawName {
        name: fields.text(path, name)?,
        place: at.map_or(otherwise, |at| at.node.place),
        path: Path::Key(path, name).to_string(),
    })
}

fn namespace(at: At<'_, '_>) -> Result<NamespaceRef, DocumentError> {
    match &at.node.content {
        Content::List(_) => Err(DocumentError::TextOrMap { place: at.node.place, alternative: "namespace" }),
        Content::Map(_) => {
            let fields = at.fields()?;
            Ok(NamespaceRef {
                key: fields.text(&at.path, "key")?,
                name: fields.text(&at.path, "name")?,
                description: fields.text(&at.path, "description")?,
            })
        }
        Content::Scalar(_) => {
            let key = at
                .text()
                .map_err(|_| DocumentError::TextOrMap { place: at.node.place, alternative: "namespace" })?;
            Ok(NamespaceRef { name: key.clone(), key, description: String::new() })
        }
    }
}

fn flag(at: At<'_, '_>, _: usize) -> Result<RawFlag, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawFlag {
        key: fields.text(path, "key")?,
        name: fields.text(path, "name")?,
        flag_type: name(&fields, path, "type", at.node.place)?,
        description: fields.text(path, "description")?,
        enabled: fields.boolean(path, "enabled")?,
        metadata: fields.get(path, "metadata").map_or_else(|| Ok(BTreeMap::new()), attachment::metadata)?,
        variants: list(&fields, path, "variants", variant)?,
        rules: list(&fields, path, "rules", rule)?,
        rollouts: rollouts(&fields, path)?,
    })
}

fn variant(at: At<'_, '_>, _: usize) -> Result<RawVariant, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawVariant {
        place: at.node.place,
        default: fields.boolean(path, "default")?,
        key: fields.text(path, "key")?,
        name: fields.text(path, "name")?,
        description: fields.text(path, "description")?,
        attachment: fields
            .get(path, "attachment")
            .map_or_else(|| Ok(String::new()), attachment::attachment)?,
    })
}

fn rule(at: At<'_, '_>, index: usize) -> Result<RawRule, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawRule {
        place: at.node.place,
        index,
        segment: fields.get(path, "segment").map(segments).transpose()?,
        rank: fields.get(path, "rank").map_or(Ok(0), |at| at.rank())?,
        distributions: list(&fields, path, "distributions", distribution)?,
    })
}

/// The segments of a rule: one key as text, or a map with several.
fn segments(at: At<'_, '_>) -> Result<RawSegments, DocumentError> {
    let refused = DocumentError::TextOrMap { place: at.node.place, alternative: "segmentKeys" };
    match &at.node.content {
        Content::List(_) => Err(refused),
        Content::Map(_) => {
            let (fields, path) = (at.fields()?, &at.path);
            Ok(RawSegments {
                keys: fields.get(path, "keys").map_or(Ok(Vec::new()), |keys| keys.texts())?,
                is_list: true,
                operator: name(&fields, path, "operator", at.node.place)?,
            })
        }
        Content::Scalar(_) => {
            let key = at.text().map_err(|_| refused)?;
            let operator = RawName { name: String::new(), place: at.node.place, path: at.path.to_string() };
            let keys = if key.is_empty() { Vec::new() } else { vec![key] };
            Ok(RawSegments { keys, is_list: false, operator })
        }
    }
}

fn distribution(at: At<'_, '_>, _: usize) -> Result<RawDistribution, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawDistribution {
        place: at.node.place,
        variant: fields.text(path, "variant")?,
        rollout: fields.number(path, "rollout")?,
    })
}

/// Null is refused here: the reference crashes on it.
fn rollouts(fields: &Fields<'_>, path: &Path<'_>) -> Result<Vec<RawRollout>, DocumentError> {
    let Some(list) = fields.get(path, "rollouts") else { return Ok(Vec::new()) };
    list.items()?
        .map(|(index, node)| {
            let at = At { node, path: Path::Index(&list.path, index), encoding: list.encoding };
            if node.is_null() { Err(at.refuse("a rollout must not be null")) } else { rollout(at, index) }
        })
        .collect()
}

fn rollout(at: At<'_, '_>, index: usize) -> Result<RawRollout, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawRollout {
        place: at.node.place,
        index,
        description: fields.text(path, "description")?,
        segment: fields.get(path, "segment").map(rollout_segment).transpose()?,
        threshold: fields.get(path, "threshold").map(threshold).transpose()?,
    })
}

fn rollout_segment(at: At<'_, '_>) -> Result<RawRolloutSegment, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawRolloutSegment {
        place: at.node.place,
        key: fields.text(path, "key")?,
        keys: fields.get(path, "keys").map_or(Ok(Vec::new()), |keys| keys.texts())?,
        operator: name(&fields, path, "operator", at.node.place)?,
        value: fields.boolean(path, "value")?,
    })
}

fn threshold(at: At<'_, '_>) -> Result<RawThreshold, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawThreshold { percentage: fields.number(path, "percentage")?, value: fields.boolean(path, "value")? })
}

fn segment(at: At<'_, '_>, _: usize) -> Result<RawSegment, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawSegment {
        key: fields.text(path, "key")?,
        name: fields.text(path, "name")?,
        description: fields.text(path, "description")?,
        constraints: list(&fields, path, "constraints", constraint)?,
        match_type: name(&fields, path, "match_type", at.node.place)?,
    })
}

fn constraint(at: At<'_, '_>, _: usize) -> Result<RawConstraint, DocumentError> {
    let (fields, path) = (at.fields()?, &at.path);
    Ok(RawConstraint {
        constraint_type: name(&fields, path, "type", at.node.place)?,
        property: fields.text(path, "property")?,
        operator: fields.text(path, "operator")?,
        value: fields.text(path, "value")?,
        description: fields.text(path, "description")?,
    })
}
