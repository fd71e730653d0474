//! Documents: the files through which flag state enters and leaves.
//!
//! | Purpose | Reading | Writing |
//! |---|---|---|
//! | export and import | [`read_import`] | [`write()`] |
//! | feature files of a declarative source | [`Index`], [`validate_features`], [`load_features`] | – |
//! | layers of bundles | – | [`feature_layers`] |
//!
//! Everything works on text in memory.

mod attachment;
mod decode;
mod error;
mod features;
mod glob;
mod import;
mod index;
mod json_reader;
mod json_writer;
mod layer;
mod located;
mod node;
mod output;
mod raw;
mod schema;
mod tree;
mod version;
mod write;
mod yaml_reader;
mod yaml_scalar;
mod yaml_writer;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use thiserror::Error;

pub use error::DocumentError;
pub use features::{
    Features, LoadError, RulePosition, feature_encoding, load_features, load_features_with_warnings,
};
pub use glob::{Glob, GlobError};
pub use import::ImportDocument;
pub use index::{DEFAULT_INCLUDE, INDEX_FILE, Index, IndexError};
pub use layer::{Layer, feature_layers};
pub use located::{LocatedDocument, located_documents};
pub use node::Place;
pub use schema::{Issue, validate_features};
pub use tree::{Tree, TreeValue};
pub use version::Version;
pub use write::{Written, sort_by_key, write};

use node::Node;

/// How a document is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A stream of YAML documents.
    Yaml,
    /// A stream of JSON objects.
    Json,
}

/// A file name whose extension names no encoding.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unexpected extension: {extension:?}, expected one of \".yml\", \".yaml\", \".json\"")]
pub struct UnknownExtension {
    /// The extension with its dot.
    pub extension: String,
}

impl Encoding {
    /// The encoding an exported or imported file has by its name; without an extension that is YAML.
    ///
    /// # Errors
    /// The extension is another one. Letter case counts.
    pub fn from_extension(path: &str) -> Result<Self, UnknownExtension> {
        match extension(path) {
            "" | ".yml" | ".yaml" => Ok(Self::Yaml),
            ".json" => Ok(Self::Json),
            other => Err(UnknownExtension { extension: other.to_owned() }),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        })
    }
}

/// The extension of a path with its dot; empty if there is none.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// The namespace a document names, in either of the two forms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceRef {
    /// Key; may be empty, which means the default namespace.
    pub key: String,
    /// Name to create it with; the key if the document has only that.
    pub name: String,
    /// Description to create it with.
    pub description: String,
}

/// Reads a file for import.
///
/// # Errors
/// The first thing in the file that cannot be read or resolved.
pub fn read_import(text: &[u8], encoding: Encoding) -> Result<Vec<ImportDocument>, DocumentError> {
    match read_import_until_error(text, encoding) {
        (documents, None) => Ok(documents),
        (_, Some(error)) => Err(error),
    }
}

/// Reads a file for import as far as it can be read: the documents before the first one with an error, and that
/// error. For callers that apply what comes before an error, as the reference does.
#[must_use]
pub fn read_import_until_error(
    text: &[u8],
    encoding: Encoding,
) -> (Vec<ImportDocument>, Option<DocumentError>) {
    let mut documents = Vec::new();
    let text = match decode_text(text, encoding) {
        Ok(text) => text,
        Err(error) => return (documents, Some(error)),
    };
    let mut version = None;
    for node in read_nodes(&text, encoding) {
        let read = node.and_then(|node| {
            let raw = raw::document(&node, encoding)?;
            let version = match version {
                Some(version) => version,
                // The first document speaks for the whole file.
                None => *version.insert(Version::read(&raw.version.0, raw.version.1)?),
            };
            import::resolve(raw, version)
        });
        match read {
            Ok(document) => documents.push(document),
            Err(error) => return (documents, Some(error)),
        }
    }
    (documents, None)
}

/// The trees of a stream, one per document.
fn read_nodes<'a>(
    text: &'a str,
    encoding: Encoding,
) -> Box<dyn Iterator<Item = Result<Rc<Node>, DocumentError>> + 'a> {
    match encoding {
        Encoding::Yaml => Box::new(yaml_reader::YamlDocuments::new(text)),
        Encoding::Json => Box::new(json_reader::JsonDocuments::new(text)),
    }
}

/// Text out of bytes: UTF-8, for YAML also UTF-16 with a byte-order mark. JSON strings may hold bytes that are
/// not UTF-8, which read as U+FFFD.
fn decode_text(bytes: &[u8], encoding: Encoding) -> Result<Cow<'_, str>, DocumentError> {
    let unit = |pair: &[u8], little: bool| match pair {
        [a, b] if little => u16::from_le_bytes([*a, *b]),
        [a, b] => u16::from_be_bytes([*a, *b]),
        _ => 0xfffd,
    };
    match (encoding, bytes) {
        (Encoding::Json, _) => Ok(String::from_utf8_lossy(bytes)),
        (_, [0xff, 0xfe, rest @ ..]) => {
            let units: Vec<u16> = rest.chunks(2).map(|pair| unit(pair, true)).collect();
            Ok(Cow::Owned(String::from_utf16_lossy(&units)))
        }
        (_, [0xfe, 0xff, rest @ ..]) => {
            let units: Vec<u16> = rest.chunks(2).map(|pair| unit(pair, false)).collect();
            Ok(Cow::Owned(String::from_utf16_lossy(&units)))
        }
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let place = place_of(&valid, valid.len());
                DocumentError::syntax(encoding, place, "invalid UTF-8".to_owned())
            })
        }
    }
}

/// The place of a byte of a text.
fn place_of(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}
