//! Reads keys from environment, file and defaults, and keeps account of all it saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use flipt_model::document::Place;

use crate::{
    duration,
    nearest::nearest,
    value::{Node, Value},
};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Describes a built-in default.
    Default,
    /// Describes a value of the file.
    File {
        /// The file.
        path: PathBuf,
        /// Where in it, if the format tells.
        place: Option<Place>,
    },
    /// Describes an environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, place: Some(place) } => {
                write!(f, "{}:{}:{}", path.display(), place.line, place.column)
            }
            Self::File { path, place: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Which of the reference's error texts a wrong value gets (config spec, sections 1.7 and 1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// Indicates a value that is not of its key's type: `'<key>' <problem>`.
    Undecodable,
    /// Indicates a text of the reference, which stands alone.
    Fixed,
    /// Indicates a text of the reference that does not even say that configuration was being loaded.
    Bare,
    /// Indicates a text of ours.
    Ours,
}

/// A value that does not fit its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// The key.
    pub key: String,
    /// Where the value stands.
    pub origin: Origin,
    /// What is wrong, and what is allowed.
    pub problem: String,
    /// How that is told.
    pub wording: Wording,
    /// What would be right, where the text of the reference does not say.
    pub remedy: Option<&'static str>,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, problem, wording, .. } = self;
        match wording {
            Wording::Undecodable => write!(f, "'{key}' {problem} ({origin})"),
            Wording::Fixed | Wording::Bare => f.write_str(problem),
            Wording::Ours => write!(f, "{origin}: {key}: {problem}"),
        }
    }
}

/// A key that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key or variable as written.
    pub key: String,
    /// Where it stands.
    pub origin: Origin,
    /// The known key that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: unknown key {}", self.origin, self.key)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// A key with the value in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The key.
    pub key: String,
    /// The value; masked if it is secret.
    pub value: Shown,
    /// Where it comes from.
    pub origin: Origin,
}

/// A value as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Describes a switch.
    Bool(bool),
    /// Describes a whole number.
    Integer(i64),
    /// Describes any other number.
    Number(f64),
    /// Describes a text.
    Text(String),
    /// Describes a time span.
    Duration(Duration),
    /// Describes a list of texts.
    List(Vec<String>),
    /// Describes texts under names of the writer's choice.
    Map(BTreeMap<String, String>),
    /// Indicates that there is a secret.
    Secret,
}

impl Shown {
    /// The value as it stands in YAML.
    fn yaml(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => quoted(value),
            Self::Duration(value) => quoted(&duration::format(*value)),
            Self::List(values) => {
                format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", "))
            }
            Self::Map(values) => {
                let entries = values.iter().map(|(name, value)| format!("{name:?}: {}", quoted(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            Self::Secret => quoted("***"),
        }
    }
}

pub(crate) struct Finished {
    pub(crate) unknown: Vec<UnknownKey>,
    pub(crate) notes: Vec<String>,
    pub(crate) effective: Vec<Effective>,
    /// Defaults of what is off.
    pub(crate) hidden: Vec<Effective>,
}

/// How a text that cannot be used is refused.
#[derive(Clone, Copy)]
enum Refusal {
    /// As not of this type.
    Type(&'static str),
    Port,
    Duration,
    Choice,
}

impl Refusal {
    fn of(self, text: &str, allowed: &str) -> (Wording, String) {
        match self {
            // The reference notices only when it listens (config spec, section 1.7).
            Self::Port if text.trim().parse::<i64>().is_ok() => {
                let port = text.trim();
                (Wording::Ours, format!("listen tcp: address {port}: invalid port, expected {allowed}"))
            }
            Self::Port => Self::Type("int").of(text, allowed),
            Self::Type(name) => (
                Wording::Undecodable,
                format!("cannot parse value as '{name}': {text:?}, expected {allowed}"),
            ),
            Self::Duration => {
                (Wording::Undecodable, format!("time: invalid duration {text:?}, expected {allowed}"))
            }
            Self::Choice => (Wording::Ours, format!("cannot use {text:?}: expected {allowed}")),
        }
    }
}

/// An item of a list, with its place.
pub(crate) enum Item {
    /// Describes a text.
    Text(String, Origin),
    /// Describes a map of texts or lists of texts.
    Fields(Vec<(String, Vec<String>)>, Origin),
}

/// Reads keys one by one.
pub(crate) struct Reader<'a> {
    path: Option<&'a Path>,
    tree: Option<Node>,
    environment: &'a BTreeMap<String, String>,
    known: BTreeSet<String>,
    /// Prefixes below which anything is accepted.
    open: Vec<&'static str>,
    errors: Vec<InvalidValue>,
    notes: Vec<String>,
    effective: Vec<Effective>,
    hidden: Vec<Effective>,
}

fn variable(key: &str) -> String {
    format!("FLIPT_{}", key.to_uppercase().replace('.', "_"))
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        path: Option<&'a Path>,
        tree: Option<Node>,
        environment: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            path,
            tree,
            environment,
            known: BTreeSet::new(),
            open: Vec::new(),
            errors: Vec::new(),
            notes: Vec::new(),
            effective: Vec::new(),
            hidden: Vec::new(),
        }
    }

    pub(crate) const fn environment(&self) -> &'a BTreeMap<String, String> {
        self.environment
    }

    /// Accepts a key and everything below it without reading it.
    pub(crate) fn accept_all(&mut self, prefix: &'static str) {
        self.open.push(prefix);
    }

    /// Whether anything is set at a key or below it.
    pub(crate) fn is_set(&self, key: &str) -> Option<Origin> {
        if let Some(node) = self.tree.as_ref().and_then(|tree| tree.get(key)) {
            return Some(self.file_origin(node.place));
        }
        let variable = variable(key);
        let below = format!("{variable}_");
        self.environment
            .iter()
            .find(|(name, value)| !value.is_empty() && (**name == variable || name.starts_with(&below)))
            .map(|(name, _)| Origin::Environment(name.clone()))
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn fail(&mut self, key: &str, origin: Origin, problem: impl Into<String>) {
        self.fail_as(Wording::Ours, key, origin, problem);
    }

    pub(crate) fn fail_as(
        &mut self,
        wording: Wording,
        key: &str,
        origin: Origin,
        problem: impl Into<String>,
    ) {
        let key = key.to_owned();
        self.errors.push(InvalidValue { key, origin, problem: problem.into(), wording, remedy: None });
    }

    /// Refuses a value in a text of the reference, which names neither key nor place nor remedy; the remedy
    /// is told beside it.
    pub(crate) fn fail_with(
        &mut self,
        wording: Wording,
        key: &str,
        origin: Origin,
        problem: impl Into<String>,
        remedy: &'static str,
    ) {
        let key = key.to_owned();
        self.errors.push(InvalidValue {
            key,
            origin,
            problem: problem.into(),
            wording,
            remedy: Some(remedy),
        });
    }

    fn file_origin(&self, place: Option<Place>) -> Origin {
        Origin::File { path: self.path.map(Path::to_owned).unwrap_or_default(), place }
    }

    fn find(&mut self, key: &str) -> Option<(String, Origin)> {
        self.known.insert(key.to_owned());
        let variable = variable(key);
        if let Some(text) = self.environment.get(&variable).filter(|text| !text.is_empty()) {
            return Some((text.clone(), Origin::Environment(variable)));
        }
        let node = self.tree.as_ref()?.get(key)?;
        let origin = self.file_origin(node.place);
        match &node.value {
            Value::Null => None,
            Value::Scalar(text) => Some((text.clone(), origin)),
            Value::List(_) => {
                self.fail(key, origin, "expected one value, got a list");
                None
            }
            Value::Map(_) => {
                self.fail(key, origin, "expected one value, got a map");
                None
            }
        }
    }

    fn record(&mut self, key: &str, value: Shown, origin: Origin) {
        self.effective.push(Effective { key: key.to_owned(), value, origin });
    }

    /// Reads a value with `parse`, which says what is allowed if it gives nothing.
    fn read<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
        (refusal, allowed): (Refusal, &str),
    ) -> (T, Origin) {
        match self.find(key) {
            None => (default, Origin::Default),
            Some((text, origin)) => match parse(&text) {
                Some(value) => (value, origin),
                None => {
                    let (wording, problem) = refusal.of(&text, allowed);
                    self.fail_as(wording, key, origin.clone(), problem);
                    (default, origin)
                }
            },
        }
    }

    pub(crate) fn text(&mut self, key: &str, default: &str) -> String {
        let expected = (Refusal::Choice, "a text");
        let (value, origin) = self.read(key, default.to_owned(), |text| Some(text.to_owned()), expected);
        self.record(key, Shown::Text(value.clone()), origin);
        value
    }

    /// A text that is shown masked: whole, or the password of a URL.
    pub(crate) fn secret_url(&mut self, key: &str, default: &str) -> (String, Origin) {
        let expected = (Refusal::Choice, "a URL");
        let (value, origin) = self.read(key, default.to_owned(), |text| Some(text.to_owned()), expected);
        self.record(key, Shown::Text(mask_password(&value)), origin.clone());
        (value, origin)
    }

    pub(crate) fn bool(&mut self, key: &str, default: bool) -> bool {
        let parse = |text: &str| match text {
            "1" | "t" | "T" | "true" | "True" | "TRUE" | "yes" | "on" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" | "no" | "off" => Some(false),
            _ => None,
        };
        let (value, origin) = self.read(key, default, parse, (Refusal::Type("bool"), "true or false"));
        self.record(key, Shown::Bool(value), origin);
        value
    }

    pub(crate) fn port(&mut self, key: &str, default: u16) -> u16 {
        let expected = (Refusal::Port, "a port, 0 to 65535");
        let (value, origin) = self.read(key, default, |text| text.trim().parse().ok(), expected);
        self.record(key, Shown::Integer(value.into()), origin);
        value
    }

    pub(crate) fn count(&mut self, key: &str, default: u32) -> u32 {
        let expected = (Refusal::Type("int"), "a whole number, 0 or more");
        let (value, origin) = self.read(key, default, |text| text.trim().parse().ok(), expected);
        self.record(key, Shown::Integer(value.into()), origin);
        value
    }

    /// A whole number of either sign, for checks in the words of the reference.
    pub(crate) fn integer(&mut self, key: &str, default: i64) -> i64 {
        let expected = (Refusal::Type("int"), "a whole number");
        let (value, origin) = self.read(key, default, |text| text.trim().parse().ok(), expected);
        self.record(key, Shown::Integer(value), origin);
        value
    }

    /// A duration of which zero and less mean none, as zero.
    pub(crate) fn span(&mut self, key: &str, default: Duration) -> Duration {
        self.signed_span(key, default).unwrap_or_default()
    }

    /// A duration of which less than zero means something of its own, as `None`.
    pub(crate) fn signed_span(&mut self, key: &str, default: Duration) -> Option<Duration> {
        let allowed = "a duration such as 500ms, 15s or 1h30m";
        let parse = |text: &str| {
            let negative = text.strip_prefix('-').and_then(duration::parse);
            let negative = negative.map(|span| if span.is_zero() { Some(span) } else { None });
            duration::parse(text).map(Some).or(negative)
        };
        let (value, origin) = self.read(key, Some(default), parse, (Refusal::Duration, allowed));
        self.record(key, Shown::Duration(value.unwrap_or_default()), origin);
        value
    }

    /// Leaves what was read since a mark out of what is shown.
    pub(crate) fn hide(&mut self, mark: usize) {
        self.effective.truncate(mark);
    }

    /// Where the recording of values stands.
    pub(crate) fn mark(&self) -> usize {
        self.effective.len()
    }

    /// Leaves the defaults read since a mark out of what is shown: they are about something that is off.
    pub(crate) fn hide_defaults(&mut self, mark: usize) {
        let read = self.effective.split_off(mark);
        let (defaults, set) = read.into_iter().partition(|entry| entry.origin == Origin::Default);
        self.hidden.extend::<Vec<_>>(defaults);
        self.effective.extend::<Vec<_>>(set);
    }

    /// Refuses the value of a key in a text of the reference, with what would be right.
    pub(crate) fn refuse(
        &mut self,
        wording: Wording,
        key: &str,
        problem: impl Into<String>,
        remedy: &'static str,
    ) {
        let origin = self.is_set(key).unwrap_or(Origin::Default);
        self.fail_with(wording, key, origin, problem, remedy);
    }

    /// Says that something that is switched on does nothing here.
    pub(crate) fn without_effect(&mut self, key: &str, why: &str) {
        let origin = self.is_set(key).unwrap_or(Origin::Default);
        self.note(format!("{origin}: {key} has no effect in this version: {why}"));
    }

    pub(crate) fn duration(&mut self, key: &str, default: Duration, least: Duration) -> Duration {
        let allowed = format!("a duration such as 500ms, 15s or 1h30m, at least {}", duration::format(least));
        let parse = |text: &str| duration::parse(text).filter(|duration| *duration >= least);
        let (value, origin) = self.read(key, default, parse, (Refusal::Duration, &allowed));
        self.record(key, Shown::Duration(value), origin);
        value
    }

    pub(crate) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        default: T,
        choices: &[(&'static str, T)],
    ) -> (T, Origin) {
        let allowed =
            format!("one of {}", choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
        let parse = |text: &str| choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        let (value, origin) = self.read(key, default, parse, (Refusal::Choice, &allowed));
        let name = choices.iter().find(|(_, choice)| *choice == value).map_or("", |(name, _)| *name);
        self.record(key, Shown::Text(name.to_owned()), origin.clone());
        (value, origin)
    }

    /// A number that need not be whole.
    pub(crate) fn number(&mut self, key: &str, default: f64) -> f64 {
        let expected = (Refusal::Type("float64"), "a number");
        let parse = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let (value, origin) = self.read(key, default, parse, expected);
        self.record(key, Shown::Number(value), origin);
        value
    }

    /// What `read` reads, without counting it among what is in force.
    pub(crate) fn aside(&mut self, read: impl FnOnce(&mut Self)) -> Vec<Effective> {
        let before = self.effective.len();
        read(self);
        self.effective.split_off(before)
    }

    /// A text without a default.
    pub(crate) fn optional_text(&mut self, key: &str) -> Option<String> {
        let (text, origin) = self.find(key)?;
        self.record(key, Shown::Text(text.clone()), origin);
        Some(text)
    }

    /// A text that is never shown.
    pub(crate) fn secret(&mut self, key: &str) -> Option<Secret> {
        let (text, origin) = self.find(key)?;
        self.record(key, Shown::Secret, origin);
        Some(Secret(text))
    }

    /// A duration without a default; negative ones count as zero, for checks that refuse both.
    pub(crate) fn optional_duration(&mut self, key: &str) -> Option<(Duration, Origin)> {
        let allowed = "a duration such as 500ms, 15s or 1h30m";
        let parse = |text: &str| {
            let negative = text.strip_prefix('-').and_then(duration::parse).map(|_| Duration::ZERO);
            duration::parse(text).or(negative).map(Some)
        };
        let (value, origin) = self.read(key, None, parse, (Refusal::Duration, allowed));
        let value = value?;
        self.record(key, Shown::Duration(value), origin.clone());
        Some((value, origin))
    }

    /// Records a value that follows from others.
    pub(crate) fn derived(&mut self, key: &str, value: Shown) {
        self.record(key, value, Origin::Default);
    }

    /// A list of texts; one text is split at white space (config spec, section 1.3).
    pub(crate) fn list(&mut self, key: &str, default: &[&str]) -> Vec<String> {
        self.known.insert(key.to_owned());
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let variable = variable(key);
        let (values, origin) =
            if let Some(text) = self.environment.get(&variable).filter(|text| !text.is_empty()) {
                (split(text), Origin::Environment(variable))
            } else if let Some(node) = self.tree.as_ref().and_then(|tree| tree.get(key)).cloned() {
                let origin = self.file_origin(node.place);
                let values = match node.value {
                    Value::Null => split(&default.join(" ")),
                    Value::Scalar(text) => split(&text),
                    Value::List(items) => {
                        items.iter().filter_map(|item| self.scalar_of(key, item)).collect::<Vec<_>>()
                    }
                    Value::Map(_) => {
                        self.fail(key, origin.clone(), "expected a list, got a map");
                        Vec::new()
                    }
                };
                (values, origin)
            } else {
                (split(&default.join(" ")), Origin::Default)
            };
        self.record(key, Shown::List(values.clone()), origin);
        values
    }

    /// A list of texts or of maps of texts. One text is split at `separator`. What it means is for the caller
    /// to say, who also shows it.
    pub(crate) fn items(&mut self, key: &str, separator: char) -> (Vec<Item>, Origin) {
        self.known.insert(key.to_owned());
        let split = |text: &str, origin: &Origin| -> Vec<Item> {
            let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| Item::Text(part.to_owned(), origin.clone())).collect()
        };
        let variable = variable(key);
        if let Some(text) = self.environment.get(&variable).filter(|text| !text.is_empty()) {
            let origin = Origin::Environment(variable);
            return (split(text, &origin), origin);
        }
        let Some(node) = self.tree.as_ref().and_then(|tree| tree.get(key)).cloned() else {
            return (Vec::new(), Origin::Default);
        };
        let origin = self.file_origin(node.place);
        let items = match &node.value {
            Value::Null => Vec::new(),
            Value::Scalar(text) => split(text, &origin),
            Value::List(items) => items.iter().filter_map(|item| self.item_of(key, item)).collect(),
            Value::Map(_) => {
                self.fail(key, origin.clone(), "expected a list, got a map");
                Vec::new()
            }
        };
        (items, origin)
    }

    fn item_of(&mut self, key: &str, node: &Node) -> Option<Item> {
        let origin = self.file_origin(node.place);
        let Value::Map(entries) = &node.value else {
            return self.scalar_of(key, node).map(|text| Item::Text(text, origin));
        };
        let mut fields = Vec::new();
        for (name, _, value) in entries {
            let values = match &value.value {
                Value::List(items) => {
                    items.iter().map(|item| self.scalar_of(key, item)).collect::<Option<_>>()?
                }
                _ => vec![self.scalar_of(key, value)?],
            };
            fields.push((name.clone(), values));
        }
        Some(Item::Fields(fields, origin))
    }

    /// Records the value of a key that was read as [`Reader::items`].
    pub(crate) fn show(&mut self, key: &str, value: Shown, origin: Origin) {
        self.record(key, value, origin);
    }

    fn scalar_of(&mut self, key: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            Value::List(_) | Value::Map(_) => {
                let origin = self.file_origin(node.place);
                self.fail(key, origin, "expected texts, got a list or a map");
                None
            }
        }
    }

    /// Texts under names of the writer's choice, in lower case (config spec, section 1.5).
    pub(crate) fn map(&mut self, prefix: &'static str) -> BTreeMap<String, String> {
        self.accept_all(prefix);
        let mut map = BTreeMap::new();
        let mut origin = Origin::Default;
        for (name, node) in self.entries(prefix) {
            if let Some(text) = self.scalar_of(&format!("{prefix}.{name}"), &node) {
                origin = self.file_origin(node.place);
                map.insert(name, text);
            }
        }
        let below = format!("{}_", variable(prefix));
        for (variable, value) in self.environment.iter().filter(|(_, value)| !value.is_empty()) {
            if let Some(name) = variable.strip_prefix(&below).filter(|name| !name.is_empty()) {
                origin = Origin::Environment(variable.clone());
                map.insert(name.to_lowercase(), value.clone());
            }
        }
        if !map.is_empty() {
            self.record(prefix, Shown::Map(map.clone()), origin);
        }
        map
    }

    /// The names of blocks of the writer's choice that have these fields, in lower case. In a variable the
    /// name is all before the first occurrence of a field (config spec, section 1.5).
    pub(crate) fn blocks(&self, prefix: &str, fields: &[&str]) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.entries(prefix).into_iter().map(|(name, _)| name).collect();
        let below = format!("{}_", variable(prefix));
        for variable in self.environment.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name) {
            let Some(rest) = variable.strip_prefix(&below) else { continue };
            let ends = fields.iter().filter_map(|field| rest.find(&format!("_{}", field.to_uppercase())));
            names.extend(ends.min().and_then(|end| rest.get(..end)).map(str::to_lowercase));
        }
        names
    }

    fn entries(&self, prefix: &str) -> Vec<(String, Node)> {
        match self.tree.as_ref().and_then(|tree| tree.get(prefix)).map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                entries.iter().map(|(name, _, node)| (name.clone(), node.clone())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a value was refused already.
    pub(crate) fn has_failed(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Reports what was read and what nobody asked for.
    pub(crate) fn finish(mut self) -> Result<Finished, Vec<InvalidValue>> {
        let mut unknown = Vec::new();
        if let Some(tree) = self.tree.take() {
            self.check_tree(&tree, "", &mut unknown);
        }
        unknown.extend(self.unknown_variables());
        if self.errors.is_empty() {
            Ok(Finished { unknown, notes: self.notes, effective: self.effective, hidden: self.hidden })
        } else {
            Err(self.errors)
        }
    }

    fn is_open(&self, key: &str) -> bool {
        self.open
            .iter()
            .any(|open| key == *open || key.strip_prefix(open).is_some_and(|k| k.starts_with('.')))
    }

    fn check_tree(&mut self, node: &Node, prefix: &str, unknown: &mut Vec<UnknownKey>) {
        let Value::Map(entries) = &node.value else {
            if prefix.is_empty() && node.value != Value::Null {
                let origin = self.file_origin(node.place);
                self.fail("(top)", origin, "expected a map of sections");
            }
            return;
        };
        for (name, place, child) in entries {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if prefix.is_empty()
                && self.is_open(&key)
                && matches!(child.value, Value::Scalar(_) | Value::List(_))
            {
                self.refuse_section(&key, child);
                continue;
            }
            if self.known.contains(&key) || self.is_open(&key) {
                continue;
            }
            let below = format!("{key}.");
            let is_section = self.known.iter().any(|known| known.starts_with(&below))
                || self.open.iter().any(|open| open.starts_with(&below));
            match &child.value {
                Value::Null if is_section => {}
                Value::Map(_) if is_section => self.check_tree(child, &key, unknown),
                _ if is_section => self.refuse_section(&key, child),
                _ => unknown.push(UnknownKey {
                    nearest: self.nearest_key(&key),
                    origin: self.file_origin(*place),
                    key,
                }),
            }
        }
    }

    /// Refuses something else where a section belongs.
    fn refuse_section(&mut self, key: &str, node: &Node) {
        let got = match &node.value {
            Value::Scalar(text) if text.parse::<i64>().is_ok() => "int",
            Value::Scalar(text) if matches!(text.as_str(), "true" | "false") => "bool",
            Value::List(_) => "list",
            _ => "string",
        };
        let origin = self.file_origin(node.place);
        self.fail_as(Wording::Undecodable, key, origin, format!("expected a map or struct, got {got:?}"));
    }

    /// The nearest known key or section on the same level.
    fn nearest_key(&self, key: &str) -> Option<String> {
        let depth = key.matches('.').count() + 1;
        let names: BTreeSet<String> = self
            .known
            .iter()
            .map(String::as_str)
            .chain(self.open.iter().copied())
            .map(|known| known.split('.').take(depth).collect::<Vec<_>>().join("."))
            .collect();
        nearest(key, names.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Variables that look like keys of a section, but are none. Others with our prefix are left alone:
    /// they belong to clients and sidecars.
    fn unknown_variables(&self) -> Vec<UnknownKey> {
        let sections: BTreeSet<String> = self
            .known
            .iter()
            .filter_map(|key| key.split_once('.'))
            .map(|(section, _)| format!("{}_", variable(section)))
            .collect();
        let known: BTreeSet<String> = self.known.iter().map(|key| variable(key)).collect();
        let open = |name: &str| {
            self.open.iter().any(|open| {
                let prefix = variable(open);
                name == prefix || name.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('_'))
            })
        };
        self.environment
            .iter()
            .filter(|(name, value)| {
                !value.is_empty()
                    && sections.iter().any(|section| name.starts_with(section))
                    && !known.contains(*name)
                    && !open(name)
            })
            .map(|(name, _)| UnknownKey {
                key: name.clone(),
                origin: Origin::Environment(name.clone()),
                nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            })
            .collect()
    }
}

/// A text that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces the password of a URL, and every query parameter that may hold one.
fn mask_password(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let masked = match url.split_once("://").and_then(|(scheme, rest)| {
        let (userinfo, host) = rest.rsplit_once('@')?;
        let (user, _) = userinfo.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}"))
    }) {
        Some(masked) => masked,
        None => url.to_owned(),
    };
    let Some(query) = query else { return masked };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret_name(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{masked}?{}", query.join("&"))
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "token", "secret", "key"].iter().any(|part| name.contains(part))
}

/// Nested YAML of dotted keys.
pub(crate) fn to_yaml(effective: &[Effective]) -> String {
    let mut yaml = String::new();
    let mut open: Vec<&str> = Vec::new();
    for entry in effective {
        let mut parts: Vec<&str> = entry.key.split('.').collect();
        let Some(leaf) = parts.pop() else { continue };
        let common = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        open.truncate(common);
        for part in parts.iter().skip(common) {
            yaml.push_str(&format!("{}{part}:\n", "  ".repeat(open.len())));
            open.push(part);
        }
        let (indent, value) = ("  ".repeat(open.len()), entry.value.yaml());
        yaml.push_str(&format!("{indent}{leaf}: {value}  # {}\n", entry.origin));
    }
    yaml
}

fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if plain { text.to_owned() } else { format!("{text:?}") }
}
