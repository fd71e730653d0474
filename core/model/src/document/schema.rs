//! The schema of feature files: which shapes are accepted, and in which words the others are refused.

use thiserror::Error;

use crate::document::decode::{At, Path, key_text};
use crate::document::node::{Content, Node, Value};
use crate::document::{DocumentError, Encoding, Place, Version, decode_text, read_nodes};
use crate::validation::{go_quote, is_key};
use crate::{ConstraintType, FlagType, MatchType, SegmentOperator};

/// Something in a feature file that the schema does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message} ({file} {line})")]
pub struct Issue {
    /// Path and reason, as the validate command prints them.
    pub message: String,
    /// Keys and list positions (from 0) from the top of the document to the value, joined with dots.
    pub path: String,
    /// Name of the file, as given by the caller.
    pub file: String,
    /// Line, from 1. What is missing is located at the map it is missing from.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// Checks a feature file against the schema. Checking stops after the first document with issues; all issues
/// of that document are listed, in the order of the document.
///
/// Where the reference is in error we are not: lines are those of the file, and constraints may use `lt`.
///
/// # Errors
/// The file is not YAML or JSON, repeats a key, or is a JSON file with more than one object.
pub fn validate_features(
    text: &[u8],
    encoding: Encoding,
    file_name: &str,
) -> Result<Vec<Issue>, DocumentError> {
    let text = decode_text(text, encoding)?;
    for (index, node) in read_nodes(&text, encoding).enumerate() {
        let node = node?;
        one_object(index, &node, encoding)?;
        let issues = check(&node, encoding, file_name)?;
        if !issues.is_empty() {
            return Ok(issues);
        }
    }
    Ok(Vec::new())
}

/// Refuses a second object in a JSON feature file.
pub(crate) fn one_object(index: usize, node: &Node, encoding: Encoding) -> Result<(), DocumentError> {
    if index > 0 && encoding == Encoding::Json {
        let detail = "a feature file holds one JSON object".to_owned();
        return Err(DocumentError::syntax(encoding, node.place, detail));
    }
    Ok(())
}

/// Checks one document.
pub(crate) fn check(node: &Node, encoding: Encoding, file: &str) -> Result<Vec<Issue>, DocumentError> {
    let mut schema = Schema { file, version: Version::default(), issues: Vec::new() };
    if !node.is_null() {
        schema.document(At { node, path: Path::Top, encoding })?;
    }
    schema.issues.sort_by_key(|issue| (issue.line, issue.column));
    Ok(schema.issues)
}

const KEY: &str = r#"=~"^[-_,A-Za-z0-9]+$""#;
const NAME: &str = r#"=~"^.+$""#;

type Checked = Result<(), DocumentError>;

struct Schema<'a> {
    file: &'a str,
    version: Version,
    issues: Vec<Issue>,
}

/// The members of a map that have not been asked for.
struct Members<'n> {
    at: Place,
    members: Vec<(&'n str, &'n Node, &'n Node)>,
    encoding: Encoding,
}

impl<'n> Members<'n> {
    fn take<'p>(&mut self, path: &'p Path<'p>, name: &'p str) -> Option<At<'n, 'p>> {
        let position = self.members.iter().position(|(key, _, _)| *key == name)?;
        let (_, _, node) = self.members.remove(position);
        Some(At { node, path: Path::Key(path, name), encoding: self.encoding })
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _, _)| *key == name)
    }
}

impl Schema<'_> {
    fn issue(&mut self, place: Place, path: &Path<'_>, reason: &str) {
        let path = path.to_string();
        let message = if path.is_empty() { reason.to_owned() } else { format!("{path}: {reason}") };
        self.issues.push(Issue {
            message,
            path,
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
        });
    }

    fn missing(&mut self, map: Place, path: &Path<'_>, name: &str, constraint: &str) {
        self.issue(map, &Path::Key(path, name), &format!("incomplete value {constraint}"));
    }

    fn out_of_bound(&mut self, at: At<'_, '_>, bound: &str) {
        let reason = format!("invalid value {} (out of bound {bound})", spell(at.node));
        self.issue(at.node.place, &at.path, &reason);
    }

    fn mismatch(&mut self, at: At<'_, '_>, wanted: &str, kind: &str) {
        let reason = format!(
            "conflicting values {} and {wanted} (mismatched types {} and {kind})",
            spell(at.node),
            cue_type(at.node)
        );
        self.issue(at.node.place, &at.path, &reason);
    }

    /// The members of a map; `None`, with an issue, if the value is none.
    fn members<'n>(
        &mut self,
        at: At<'n, '_>,
        definition: &str,
    ) -> Result<Option<Members<'n>>, DocumentError> {
        if !matches!(at.node.content, Content::Map(_)) {
            self.mismatch(at, definition, "struct");
            return Ok(None);
        }
        let members = at
            .entries()?
            .into_iter()
            .map(|(key, value)| (key_text(key).unwrap_or("{…}"), key, value))
            .collect();
        Ok(Some(Members { at: at.node.place, members, encoding: at.encoding }))
    }

    /// Everything that is left is not allowed.
    fn close(&mut self, members: &Members<'_>, path: &Path<'_>) {
        for (name, key, _) in &members.members {
            self.issue(key.place, &Path::Key(path, name), "field not allowed");
        }
    }

    fn list(
        &mut self,
        at: Option<At<'_, '_>>,
        definition: &str,
        mut item: impl FnMut(&mut Self, At<'_, '_>) -> Checked,
    ) -> Checked {
        let Some(at) = at else { return Ok(()) };
        if !matches!(at.node.content, Content::List(_)) {
            self.mismatch(at, &format!("[...{definition}]"), "list");
            return Ok(());
        }
        for (index, node) in at.items()? {
            item(self, At { node, path: Path::Index(&at.path, index), encoding: at.encoding })?;
        }
        Ok(())
    }

    fn string<'n>(&mut self, at: At<'n, '_>) -> Option<&'n str> {
        match &at.node.content {
            Content::Scalar(scalar) if cue_type(at.node) == "string" => Some(&scalar.text),
            _ => {
                self.mismatch(at, "string", "string");
                None
            }
        }
    }

    fn optional_string(&mut self, at: Option<At<'_, '_>>) {
        if let Some(at) = at {
            self.string(at);
        }
    }

    fn pattern(&mut self, at: At<'_, '_>, pattern: &str) {
        if let Some(text) = self.string(at) {
            let fits = if pattern == KEY { is_key(text) } else { !text.is_empty() && !text.contains('\n') };
            if !fits {
                self.out_of_bound(at, pattern);
            }
        }
    }

    fn required_pattern(&mut self, members: &mut Members<'_>, path: &Path<'_>, name: &str, pattern: &str) {
        match members.take(path, name) {
            Some(at) => self.pattern(at, pattern),
            None => self.missing(members.at, path, name, pattern),
        }
    }

    fn optional_pattern(&mut self, at: Option<At<'_, '_>>, pattern: &str) {
        if let Some(at) = at {
            self.pattern(at, pattern);
        }
    }

    fn boolean(&mut self, at: Option<At<'_, '_>>) {
        if let Some(at) = at.filter(|at| cue_type(at.node) != "bool") {
            self.mismatch(at, "bool", "bool");
        }
    }

    /// One of a set of names.
    fn name<'n>(&mut self, at: At<'n, '_>, names: &[&str]) -> Option<&'n str> {
        let text = self.string(at)?;
        if names.contains(&text) {
            return Some(text);
        }
        let reason = format!("conflicting values {} and {}", go_quote(text), alternatives(names));
        self.issue(at.node.place, &at.path, &reason);
        None
    }

    /// The operator of several segments, which may be null.
    fn segment_operator(&mut self, at: Option<At<'_, '_>>) {
        if let Some(at) = at.filter(|at| !at.node.is_null()) {
            self.name(at, &names(SegmentOperator::ALL, SegmentOperator::name));
        }
    }

    fn segment_keys(&mut self, at: Option<At<'_, '_>>) -> Checked {
        self.list(at, "string", |schema, at| {
            schema.string(at);
            Ok(())
        })
    }

    fn document(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Document")? else { return Ok(()) };
        let path = at.path;
        if let Some(version) = members.take(&path, "version") {
            self.version(version);
        }
        if let Some(namespace) = members.take(&path, "namespace") {
            self.namespace(namespace)?;
        }
        self.list(members.take(&path, "flags"), "#Flag", Self::flag)?;
        self.list(members.take(&path, "segments"), "#Segment", Self::segment)?;
        self.close(&members, &path);
        Ok(())
    }

    fn version(&mut self, at: At<'_, '_>) {
        let latest = go_quote(Version::default().name());
        match &at.node.content {
            Content::Scalar(scalar) if cue_type(at.node) == "string" => {
                match Version::ALL.into_iter().find(|version| version.name() == scalar.text) {
                    Some(version) => self.version = version,
                    None => {
                        let reason = format!("conflicting values {latest} and {}", go_quote(&scalar.text));
                        self.issue(at.node.place, &at.path, &reason);
                    }
                }
            }
            _ => self.mismatch(at, &latest, "string"),
        }
    }

    fn namespace(&mut self, at: At<'_, '_>) -> Checked {
        if !matches!(at.node.content, Content::Map(_)) {
            self.pattern(at, KEY);
            return Ok(());
        }
        let Some(mut members) = self.members(at, "#Namespace")? else { return Ok(()) };
        self.optional_pattern(members.take(&at.path, "key"), KEY);
        self.optional_pattern(members.take(&at.path, "name"), NAME);
        self.optional_string(members.take(&at.path, "description"));
        self.close(&members, &at.path);
        Ok(())
    }

    fn flag(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Flag")? else { return Ok(()) };
        let path = at.path;
        self.required_pattern(&mut members, &path, "key", KEY);
        self.required_pattern(&mut members, &path, "name", NAME);
        self.optional_string(members.take(&path, "description"));
        self.boolean(members.take(&path, "enabled"));
        self.list(members.take(&path, "variants"), "#Variant", Self::variant)?;
        self.list(members.take(&path, "rules"), "#Rule", Self::rule)?;
        if self.version >= Version::V1_1 {
            let flag_type = members
                .take(&path, "type")
                .and_then(|at| self.name(at, &names(FlagType::ALL, FlagType::name)));
            // Left among the members, and so refused, on a flag that says it has variants.
            if flag_type.and_then(FlagType::from_name) != Some(FlagType::Variant) {
                self.list(members.take(&path, "rollouts"), "#Rollout", Self::rollout)?;
            }
        }
        if self.version >= Version::V1_3
            && let Some(metadata) = members.take(&path, "metadata")
        {
            self.metadata(metadata)?;
        }
        self.close(&members, &path);
        Ok(())
    }

    fn metadata(&mut self, at: At<'_, '_>) -> Checked {
        let Some(members) = self.members(at, "{[string]:(string|int|bool|float)}")? else {
            return Ok(());
        };
        for (name, _, node) in members.members {
            if matches!(cue_type(node), "struct" | "list" | "null") {
                let member = At { node, path: Path::Key(&at.path, name), encoding: at.encoding };
                self.mismatch(member, "string", "string");
            }
        }
        Ok(())
    }

    fn variant(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Variant")? else { return Ok(()) };
        let path = at.path;
        self.required_pattern(&mut members, &path, "key", NAME);
        self.optional_pattern(members.take(&path, "name"), NAME);
        self.optional_string(members.take(&path, "description"));
        if let Some(attachment) = members.take(&path, "attachment")
            && !matches!(cue_type(attachment.node), "struct" | "list" | "null")
        {
            self.mismatch(attachment, "{...}", "struct");
        }
        if self.version >= Version::V1_3 {
            self.boolean(members.take(&path, "default"));
        }
        self.close(&members, &path);
        Ok(())
    }

    fn rule(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Rule")? else { return Ok(()) };
        let path = at.path;
        match members.take(&path, "segment") {
            Some(segment) => self.rule_segment(segment)?,
            None => {
                let either = format!(
                    r#"{KEY} | {{keys:[],operator:*null | "AND_SEGMENT_OPERATOR" | "OR_SEGMENT_OPERATOR"}}"#
                );
                self.missing(members.at, &path, "segment", &either);
            }
        }
        if let Some(rank) = members.take(&path, "rank").filter(|at| cue_type(at.node) != "int") {
            self.mismatch(rank, "int", "int");
        }
        self.list(members.take(&path, "distributions"), "#Distribution", Self::distribution)?;
        self.close(&members, &path);
        Ok(())
    }

    fn rule_segment(&mut self, at: At<'_, '_>) -> Checked {
        if !matches!(at.node.content, Content::Map(_)) {
            self.pattern(at, KEY);
            return Ok(());
        }
        let Some(mut members) = self.members(at, "#RuleSegment")? else { return Ok(()) };
        self.segment_keys(members.take(&at.path, "keys"))?;
        self.segment_operator(members.take(&at.path, "operator"));
        self.close(&members, &at.path);
        Ok(())
    }

    fn distribution(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Distribution")? else { return Ok(()) };
        let path = at.path;
        self.required_pattern(&mut members, &path, "variant", NAME);
        match members.take(&path, "rollout") {
            None => self.missing(members.at, &path, "rollout", ">=0 & <=100"),
            Some(rollout) => match number(rollout.node) {
                None => self.mismatch(rollout, "number", "number"),
                Some(number) if number < 0.0 => self.out_of_bound(rollout, ">=0"),
                Some(number) if number > 100.0 || number.is_nan() => self.out_of_bound(rollout, "<=100"),
                Some(_) => {}
            },
        }
        self.close(&members, &path);
        Ok(())
    }

    fn rollout(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Rollout")? else { return Ok(()) };
        let path = at.path;
        self.optional_string(members.take(&path, "description"));
        if let Some(segment) = members.take(&path, "segment") {
            // A threshold beside it stays among the members and is refused.
            self.rollout_segment(segment)?;
        } else if let Some(threshold) = members.take(&path, "threshold") {
            self.threshold(threshold)?;
        }
        self.close(&members, &path);
        Ok(())
    }

    fn rollout_segment(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#RolloutSegment")? else { return Ok(()) };
        let path = at.path;
        if !members.has("key") && !members.has("keys") {
            let either = format!("incomplete value {{key:{KEY}}} | {{keys:[]}}");
            self.issue(members.at, &path, &either);
        } else if let Some(key) = members.take(&path, "key") {
            self.pattern(key, KEY);
        } else {
            self.segment_keys(members.take(&path, "keys"))?;
        }
        self.segment_operator(members.take(&path, "operator"));
        self.boolean(members.take(&path, "value"));
        self.close(&members, &path);
        Ok(())
    }

    fn threshold(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#RolloutThreshold")? else { return Ok(()) };
        let path = at.path;
        match members.take(&path, "percentage") {
            None => self.missing(members.at, &path, "percentage", "float | int"),
            Some(percentage) if number(percentage.node).is_none() => {
                self.mismatch(percentage, "float", "float");
            }
            Some(_) => {}
        }
        self.boolean(members.take(&path, "value"));
        self.close(&members, &path);
        Ok(())
    }

    fn segment(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Segment")? else { return Ok(()) };
        let path = at.path;
        self.required_pattern(&mut members, &path, "key", KEY);
        self.required_pattern(&mut members, &path, "name", NAME);
        // In the order in which the reference lists them.
        let match_types = names(&[MatchType::Any, MatchType::All], MatchType::name);
        match members.take(&path, "match_type") {
            Some(match_type) => _ = self.name(match_type, &match_types),
            None => self.missing(members.at, &path, "match_type", &alternatives(&match_types)),
        }
        self.optional_string(members.take(&path, "description"));
        self.list(members.take(&path, "constraints"), "#Constraint", Self::constraint)?;
        self.close(&members, &path);
        Ok(())
    }

    fn constraint(&mut self, at: At<'_, '_>) -> Checked {
        let Some(mut members) = self.members(at, "#Constraint")? else { return Ok(()) };
        let path = at.path;
        let types = names(&CONSTRAINT_TYPES, ConstraintType::name);
        let constraint_type = match members.take(&path, "type") {
            Some(at) => self.name(at, &types).and_then(ConstraintType::from_name),
            None => {
                self.missing(members.at, &path, "type", &alternatives(&types));
                None
            }
        };
        self.required_pattern(&mut members, &path, "property", NAME);
        let operators = constraint_type.map_or(&[][..], operators);
        match members.take(&path, "operator") {
            // What is a good operator is not known without a type.
            Some(at) if operators.is_empty() => _ = self.string(at),
            Some(at) => _ = self.name(at, operators),
            None if operators.is_empty() => self.missing(members.at, &path, "operator", "string"),
            None => self.missing(members.at, &path, "operator", &alternatives(operators)),
        }
        self.optional_string(members.take(&path, "value"));
        self.optional_string(members.take(&path, "description"));
        self.close(&members, &path);
        Ok(())
    }
}

const CONSTRAINT_TYPES: [ConstraintType; 5] = [
    ConstraintType::String,
    ConstraintType::Number,
    ConstraintType::Boolean,
    ConstraintType::DateTime,
    ConstraintType::EntityId,
];

/// The operators a feature file may use with a type. `le` is the reference's slip for `lt`; files out there
/// have learned to use it.
fn operators(constraint_type: ConstraintType) -> &'static [&'static str] {
    match constraint_type {
        ConstraintType::String | ConstraintType::EntityId => &[
            "eq",
            "neq",
            "empty",
            "notempty",
            "prefix",
            "suffix",
            "isoneof",
            "isnotoneof",
            "contains",
            "notcontains",
        ],
        ConstraintType::Number => {
            &["eq", "neq", "present", "notpresent", "lt", "le", "lte", "gt", "gte", "isoneof", "isnotoneof"]
        }
        ConstraintType::Boolean => &["true", "false", "present", "notpresent"],
        ConstraintType::DateTime => &["eq", "neq", "present", "notpresent", "lt", "le", "lte", "gt", "gte"],
        ConstraintType::Unknown | ConstraintType::Other(_) => &[],
    }
}

fn names<T: Copy>(values: &[T], name: impl Fn(T) -> Option<&'static str>) -> Vec<&'static str> {
    values.iter().filter_map(|value| name(*value)).collect()
}

fn alternatives(names: &[&str]) -> String {
    names.iter().map(|name| go_quote(name)).collect::<Vec<_>>().join(" | ")
}

fn number(node: &Node) -> Option<f64> {
    match node.value()? {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// The kind of a value in the words of the schema language. Dates are strings to it.
fn cue_type(node: &Node) -> &'static str {
    match &node.content {
        Content::List(_) => "list",
        Content::Map(_) => "struct",
        Content::Scalar(scalar) => match scalar.value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Time(_) | Value::Text | Value::Merge => "string",
        },
    }
}

/// Most characters of a value that a message repeats.
const LONGEST_SPELLING: usize = 200;

/// The value as the schema language spells it.
fn spell(node: &Node) -> String {
    let mut text = String::new();
    push_spelling(&mut text, node);
    if let Some((at, _)) = text.char_indices().nth(LONGEST_SPELLING) {
        text.truncate(at);
        text.push('…');
    }
    text
}

fn push_spelling(text: &mut String, node: &Node) {
    if text.len() > 4 * LONGEST_SPELLING {
        return;
    }
    match &node.content {
        Content::Scalar(scalar) => match &scalar.value {
            Value::Null => text.push_str("null"),
            Value::Text | Value::Time(_) | Value::Merge => text.push_str(&go_quote(&scalar.text)),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => text.push_str(&scalar.text),
        },
        Content::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                push_spelling(text, item);
            }
            text.push(']');
        }
        Content::Map(entries) => {
            text.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                text.push_str(key_text(key).unwrap_or_default());
                text.push(':');
                push_spelling(text, value);
            }
            text.push('}');
        }
    }
}
