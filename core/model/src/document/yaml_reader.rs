//! Reads YAML text into trees, one per document.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::document::error::DocumentError;
use crate::document::node::{Content, MAX_DEPTH, Node, Place, Scalar, Value};
use crate::document::{Encoding, yaml_scalar};

/// Nodes a document may have when its aliases are written out, if that is more than [`MAX_GROWTH`] times what
/// stands in it: enough for any honest use of anchors, too little to exhaust memory with a short text.
const MAX_EXPANDED_NODES: u64 = 400_000;

/// How many times larger aliases may make a document of any size.
const MAX_GROWTH: u64 = 10;

/// The documents of a YAML stream, read one by one; after an error there are no more.
pub(crate) struct YamlDocuments<'a> {
    /// The first character YAML does not allow at all.
    forbidden: Option<(Place, char)>,
    parser: Parser<'a, StrInput<'a>>,
    /// Characters of the text, if it has line separators that need a second look.
    characters: Option<Vec<char>>,
    done: bool,
}

impl<'a> YamlDocuments<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            forbidden: forbidden_character(text),
            parser: Parser::new_from_str(text),
            characters: text.contains(['\u{2028}', '\u{2029}']).then(|| text.chars().collect()),
            done: false,
        }
    }

    fn read(&mut self) -> Result<Option<Rc<Node>>, DocumentError> {
        if let Some((place, character)) = self.forbidden {
            return Err(DocumentError::syntax(
                Encoding::Yaml,
                place,
                format!("control characters are not allowed: {character:?}"),
            ));
        }
        loop {
            match self.next_event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::DocumentStart(_), _)) => return self.document().map(Some),
                Some(_) => {}
            }
        }
    }

    fn next_event(&mut self) -> Result<Option<(Event<'a>, Span)>, DocumentError> {
        self.parser.next_event().transpose().map_err(|error| syntax(&error))
    }

    fn document(&mut self) -> Result<Rc<Node>, DocumentError> {
        let mut build = Build::default();
        loop {
            let Some((event, span)) = self.next_event()? else {
                return build.finish();
            };
            let place = place(span.start);
            match event {
                Event::DocumentEnd | Event::StreamEnd => return build.finish(),
                Event::Alias(anchor) => {
                    let node = build.anchors.get(&anchor).cloned().ok_or_else(|| {
                        DocumentError::syntax(
                            Encoding::Yaml,
                            place,
                            "anchor value contains itself".to_owned(),
                        )
                    })?;
                    build.add(place, node)?;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let text = self.line_separators(text.into_owned(), style, span);
                    let scalar = scalar(place, text, style, tag.as_deref())?;
                    build.count += 1;
                    build.finish_node(anchor, Node::scalar(place, scalar))?;
                }
                Event::SequenceStart(anchor, _) => build.open(place, anchor, false)?,
                Event::MappingStart(anchor, _) => build.open(place, anchor, true)?,
                Event::SequenceEnd | Event::MappingEnd => build.close()?,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            }
        }
    }

    /// The reference's YAML counts U+2028 and U+2029 as line breaks, so that spaces around one are layout and
    /// not text. The parser below knows only the breaks of YAML 1.2; here is the difference.
    fn line_separators(&self, text: String, style: ScalarStyle, span: Span) -> String {
        let separator = |character: char| matches!(character, '\u{2028}' | '\u{2029}');
        let Some(characters) = &self.characters else { return text };
        if !text.contains(separator) || matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return text;
        }
        let source = characters.get(span.start.index()..span.end.index()).unwrap_or_default();
        if !source.iter().copied().any(separator) {
            // Written as escapes between double quotes.
            return text;
        }
        let blank = [' ', '\t'];
        let last = text.matches(separator).count();
        text.split_inclusive(separator)
            .enumerate()
            .map(|(index, part)| {
                let part = if index > 0 { part.trim_start_matches(blank) } else { part };
                match part.char_indices().next_back().filter(|_| index < last) {
                    Some((at, mark)) => format!("{}{mark}", part[..at].trim_end_matches(blank)),
                    None => part.to_owned(),
                }
            })
            .collect()
    }
}

impl Iterator for YamlDocuments<'_> {
    type Item = Result<Rc<Node>, DocumentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read().transpose();
        self.done = !matches!(read, Some(Ok(_)));
        read
    }
}

/// A list or map whose end has not been read.
struct Open {
    place: Place,
    anchor: usize,
    map: bool,
    children: Vec<Rc<Node>>,
}

/// The tree of one document while it is being read.
#[derive(Default)]
struct Build {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    /// Nodes that stand in the text.
    count: u64,
}

impl Build {
    fn open(&mut self, place: Place, anchor: usize, map: bool) -> Result<(), DocumentError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.count += 1;
        self.open.push(Open { place, anchor, map, children: Vec::new() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), DocumentError> {
        let Some(Open { place, anchor, map, children }) = self.open.pop() else { return Ok(()) };
        let node = if map {
            let mut children = children.into_iter();
            let mut entries = Vec::with_capacity(children.len() / 2);
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                entries.push((key, value));
            }
            Node::map(place, entries)
        } else {
            Node::list(place, children)
        };
        self.finish_node(anchor, node)
    }

    fn finish_node(&mut self, anchor: usize, node: Node) -> Result<(), DocumentError> {
        let place = node.place;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add(place, node)
    }

    fn add(&mut self, place: Place, node: Rc<Node>) -> Result<(), DocumentError> {
        if self.open.len() + node.depth > MAX_DEPTH {
            return Err(too_deep(place));
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn finish(self) -> Result<Rc<Node>, DocumentError> {
        let nothing = || {
            let scalar = Scalar { text: String::new(), value: Value::Null, plain: true };
            Rc::new(Node::scalar(Place { line: 1, column: 1 }, scalar))
        };
        let root = self.root.unwrap_or_else(nothing);
        if root.weight > MAX_EXPANDED_NODES.max(self.count.saturating_mul(MAX_GROWTH)) {
            return Err(DocumentError::syntax(
                Encoding::Yaml,
                root.place,
                "document contains excessive aliasing".to_owned(),
            ));
        }
        Ok(root)
    }
}

fn scalar(
    place: Place,
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Scalar, DocumentError> {
    let plain = style == ScalarStyle::Plain;
    let tag = tag.map(|tag| if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "" });
    let refuse = |text: &str, tag: &str| {
        let detail = format!("cannot decode `{text}` as a !!{tag}");
        DocumentError::syntax(Encoding::Yaml, place, detail)
    };
    let value = match tag {
        None if plain => yaml_scalar::resolve(&text),
        None | Some("str") => Value::Text,
        Some("binary") => {
            let bytes = base64(&text).ok_or_else(|| refuse(&text, "binary"))?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Ok(Scalar { text, value: Value::Text, plain: false });
        }
        Some(tag) => match (tag, yaml_scalar::resolve(&text)) {
            ("null", value @ Value::Null)
            | ("bool", value @ Value::Bool(_))
            | ("int", value @ Value::Int(_))
            | ("float", value @ Value::Float(_))
            | ("timestamp", value @ Value::Time(_))
            | ("merge", value @ Value::Merge) => value,
            // `Int` holds 64 bits, of which a float keeps the first 53.
            ("float", Value::Int(number)) => Value::Float(number as f64),
            (tag, _) => return Err(refuse(&text, tag)),
        },
    };
    Ok(Scalar { text, value, plain })
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r' | b' ')).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in &digits[..digits.len() - padding] {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (padding <= 2).then_some(bytes)
}

/// The first character YAML does not allow in a text, escaped or not at all.
fn forbidden_character(text: &str) -> Option<(Place, char)> {
    let (at, character) = text.char_indices().find(|(_, character)| {
        !matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
    })?;
    Some((crate::document::place_of(text, at), character))
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

fn too_deep(place: Place) -> DocumentError {
    DocumentError::syntax(Encoding::Yaml, place, format!("more than {MAX_DEPTH} levels"))
}

fn syntax(error: &ScanError) -> DocumentError {
    DocumentError::syntax(Encoding::Yaml, place(*error.marker()), error.info().to_owned())
}

/// Whether two keys of a map count as the same.
pub(crate) fn same_key(a: &Node, b: &Node) -> bool {
    match (&a.content, &b.content) {
        (Content::Scalar(a), Content::Scalar(b)) => a.text == b.text,
        (Content::List(_), Content::List(_)) | (Content::Map(_), Content::Map(_)) => true,
        _ => false,
    }
}
