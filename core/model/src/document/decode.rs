//! Typed access to a tree: fields, texts, booleans and numbers as the reference's decoders take them.

use std::collections::HashMap;
use std::fmt;

use crate::document::node::{Content, Node, Scalar, Value};
use crate::document::yaml_reader::same_key;
use crate::document::{DocumentError, Encoding, yaml_scalar};

/// The way from the top of a document to a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Top,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = match self {
            Self::Top => return Ok(()),
            Self::Key(parent, _) | Self::Index(parent, _) => parent,
        };
        if !matches!(parent, Self::Top) {
            write!(f, "{parent}.")?;
        }
        match self {
            Self::Top => Ok(()),
            Self::Key(_, key) => f.write_str(key),
            Self::Index(_, index) => write!(f, "{index}"),
        }
    }
}

/// A node, how it is reached and by which rules it is read.
#[derive(Clone, Copy)]
pub(crate) struct At<'n, 'p> {
    pub(crate) node: &'n Node,
    pub(crate) path: Path<'p>,
    pub(crate) encoding: Encoding,
}

impl<'n> At<'n, '_> {
    pub(crate) fn refuse(&self, detail: impl Into<String>) -> DocumentError {
        let path = match self.path {
            Path::Top => "document".to_owned(),
            path => path.to_string(),
        };
        DocumentError::Type { place: self.node.place, path, detail: detail.into() }
    }

    fn expected(&self, what: &str) -> DocumentError {
        let found = match &self.node.content {
            Content::Scalar(Scalar { text, value: Value::Text, .. }) => format!("text {text:?}"),
            Content::Scalar(Scalar { text, .. }) if !text.is_empty() => text.clone(),
            _ => self.node.kind().to_owned(),
        };
        self.refuse(format!("expected {what}, found {found}"))
    }

    fn scalar(&self) -> Option<&'n Scalar> {
        match &self.node.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// YAML takes any scalar with its source text, JSON only strings.
    pub(crate) fn text(&self) -> Result<String, DocumentError> {
        match self.scalar() {
            Some(Scalar { value: Value::Null, .. }) => Ok(String::new()),
            Some(scalar) if self.encoding == Encoding::Yaml || scalar.value == Value::Text => {
                Ok(scalar.text.clone())
            }
            _ => Err(self.expected("text")),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, DocumentError> {
        match self.scalar() {
            Some(Scalar { value: Value::Null, .. }) => Ok(false),
            Some(Scalar { value: Value::Bool(value), .. }) => Ok(*value),
            Some(Scalar { value: Value::Text, plain: true, text }) => {
                yaml_scalar::boolean_word(text).ok_or_else(|| self.expected("true or false"))
            }
            _ => Err(self.expected("true or false")),
        }
    }

    /// A number, rounded to 32 bits.
    pub(crate) fn number(&self) -> Result<f32, DocumentError> {
        let number = match self.scalar().map(|scalar| &scalar.value) {
            Some(Value::Null) => 0.0,
            Some(Value::Int(number)) => *number as f32,
            Some(Value::Float(number)) => *number as f32,
            _ => return Err(self.expected("a number")),
        };
        if number.is_finite() { Ok(number) } else { Err(self.refuse("the number is out of range")) }
    }

    /// A whole number, 0 or more.
    pub(crate) fn rank(&self) -> Result<i32, DocumentError> {
        let number = match self.scalar().map(|scalar| &scalar.value) {
            Some(Value::Null) => 0,
            Some(Value::Int(number)) => *number,
            Some(Value::Float(number)) if self.encoding == Encoding::Yaml && number.fract() == 0.0 => {
                *number as i128
            }
            _ => return Err(self.expected("a whole number")),
        };
        match i32::try_from(number) {
            Ok(number) if number >= 0 => Ok(number),
            _ => Err(self.refuse(format!("{number} is out of range"))),
        }
    }

    /// The items of a list; none if the value is null.
    pub(crate) fn items(&self) -> Result<impl Iterator<Item = (usize, &'n Node)> + use<'n>, DocumentError> {
        let items = match &self.node.content {
            Content::List(items) => items.as_slice(),
            _ if self.node.is_null() => &[],
            _ => return Err(self.expected("a list")),
        };
        Ok(items.iter().map(AsRef::as_ref).enumerate())
    }

    /// The texts of a list; null items are empty texts.
    pub(crate) fn texts(&self) -> Result<Vec<String>, DocumentError> {
        let item =
            |(index, node)| At { node, path: Path::Index(&self.path, index), encoding: self.encoding }.text();
        self.items()?.map(item).collect()
    }

    /// The entries of a map with merge keys resolved; none if the value is null.
    pub(crate) fn entries(&self) -> Result<Vec<(&'n Node, &'n Node)>, DocumentError> {
        match &self.node.content {
            Content::Map(entries) if self.encoding == Encoding::Json => {
                Ok(entries.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect())
            }
            Content::Map(_) => {
                let mut merged = Vec::new();
                self.merge(self.node, &mut merged)?;
                Ok(merged)
            }
            _ if self.node.is_null() => Ok(Vec::new()),
            _ => Err(self.expected("a map")),
        }
    }

    /// Adds the entries of a map, those it merges after its own; what is there already wins.
    fn merge(&self, map: &'n Node, merged: &mut Vec<(&'n Node, &'n Node)>) -> Result<(), DocumentError> {
        let Content::Map(entries) = &map.content else {
            return Err(DocumentError::Type {
                place: map.place,
                path: self.path.to_string(),
                detail: "map merge requires map or sequence of maps as the value".to_owned(),
            });
        };
        let mut seen: HashMap<&str, &Node> = HashMap::with_capacity(entries.len());
        let mut others: Vec<&Node> = Vec::new();
        let before = merged.len();
        let mut merges: Vec<&'n Node> = Vec::new();
        let inherited: std::collections::HashSet<&str> =
            merged.iter().filter_map(|(key, _)| key_text(key)).collect();
        let mut own = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let first = match key_text(key) {
                Some(text) => seen.insert(text, key),
                None => {
                    let first = others.iter().find(|other| same_key(other, key)).copied();
                    others.push(key);
                    first
                }
            };
            if let Some(first) = first {
                return Err(DocumentError::Type {
                    place: key.place,
                    path: self.path.to_string(),
                    detail: format!(
                        "mapping key {:?} already defined at line {}",
                        key_text(key).unwrap_or_default(),
                        first.place.line
                    ),
                });
            }
            if key.value() == Some(&Value::Merge) {
                merges.push(value);
            } else if before == 0 || key_text(key).is_none_or(|text| !inherited.contains(text)) {
                own.push((key.as_ref(), value.as_ref()));
            }
        }
        merged.extend(own);
        for value in merges {
            match &value.content {
                Content::List(maps) => {
                    for map in maps {
                        self.merge(map, merged)?;
                    }
                }
                _ => self.merge(value, merged)?,
            }
        }
        Ok(())
    }

    /// The fields of a map.
    pub(crate) fn fields(&self) -> Result<Fields<'n>, DocumentError> {
        let mut fields = Vec::new();
        for (key, value) in self.entries()? {
            let key_at = At { node: key, path: self.path, encoding: self.encoding };
            let Some(name) = key_text(key) else { return Err(key_at.expected("text as key")) };
            fields.push((name, value));
        }
        Ok(Fields { fields, encoding: self.encoding })
    }
}

/// The text of a key, if it is a scalar.
pub(crate) fn key_text(key: &Node) -> Option<&str> {
    match &key.content {
        Content::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// The fields of a map, by name.
pub(crate) struct Fields<'n> {
    fields: Vec<(&'n str, &'n Node)>,
    encoding: Encoding,
}

impl<'n> Fields<'n> {
    /// The value of a field; `None` if it is missing or null. In JSON the letter case of names does not count,
    /// and the last of several values does.
    pub(crate) fn get<'p>(&self, path: &'p Path<'p>, name: &'p str) -> Option<At<'n, 'p>> {
        let node = match self.encoding {
            Encoding::Yaml => self.fields.iter().find(|(key, _)| *key == name),
            Encoding::Json => {
                self.fields.iter().rfind(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
            }
        };
        let (_, node) = node.filter(|(_, node)| !node.is_null())?;
        Some(At { node, path: Path::Key(path, name), encoding: self.encoding })
    }

    pub(crate) fn text(&self, path: &Path<'_>, name: &str) -> Result<String, DocumentError> {
        self.get(path, name).map_or(Ok(String::new()), |at| at.text())
    }

    pub(crate) fn boolean(&self, path: &Path<'_>, name: &str) -> Result<bool, DocumentError> {
        self.get(path, name).map_or(Ok(false), |at| at.boolean())
    }

    pub(crate) fn number(&self, path: &Path<'_>, name: &str) -> Result<f32, DocumentError> {
        self.get(path, name).map_or(Ok(0.0), |at| at.number())
    }
}
