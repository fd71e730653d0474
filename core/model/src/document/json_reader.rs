//! Reads JSON text into trees, one per value of a stream.

use std::rc::Rc;

use crate::document::error::DocumentError;
use crate::document::node::{MAX_DEPTH, Node, Place, Scalar, Value};
use crate::document::{Encoding, place_of};
use crate::json::{number_length, string_length};

/// The values of a JSON stream, read one by one; after an error there are no more.
pub(crate) struct JsonDocuments<'a> {
    text: &'a str,
    at: usize,
    /// Line the reader is on, from 1.
    line: usize,
    /// Byte at which that line starts.
    line_start: usize,
    done: bool,
}

/// What stopped the reader; the place is where it stands.
type Stopped = &'static str;

impl<'a> JsonDocuments<'a> {
    /// A first line that starts with `#` is passed over: exports write one.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut documents = Self { text, at: 0, line: 1, line_start: 0, done: false };
        if text.starts_with('#') {
            documents.at = text.find('\n').unwrap_or(text.len());
        }
        documents
    }

    fn read(&mut self) -> Result<Option<Rc<Node>>, DocumentError> {
        self.skip_space();
        if self.at == self.text.len() {
            return Ok(None);
        }
        match self.value(1) {
            Ok(node) => Ok(Some(node)),
            Err(detail) => {
                let place = place_of(self.text, self.at);
                Err(DocumentError::syntax(Encoding::Json, place, detail.to_owned()))
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Rc<Node>, Stopped> {
        if depth > MAX_DEPTH {
            return Err("too many levels");
        }
        let place = self.place();
        let node = match self.peek() {
            Some(b'{') => self.object(place, depth)?,
            Some(b'[') => self.array(place, depth)?,
            Some(b'"') => {
                let text = self.string()?;
                Node::scalar(place, Scalar { text, value: Value::Text, plain: false })
            }
            Some(b'-' | b'0'..=b'9') => self.number(place)?,
            Some(_) => self.word(place)?,
            None => return Err("unexpected end of JSON input"),
        };
        Ok(Rc::new(node))
    }

    fn object(&mut self, place: Place, depth: usize) -> Result<Node, Stopped> {
        let mut entries = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b'}') {
            return Ok(Node::map(place, entries));
        }
        loop {
            let key_place = self.place();
            let text = self.string()?;
            let key = Node::scalar(key_place, Scalar { text, value: Value::Text, plain: false });
            self.skip_space();
            if !self.take(b':') {
                return Err("expected `:` after an object key");
            }
            self.skip_space();
            let value = self.value(depth + 1)?;
            entries.push((Rc::new(key), value));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Node::map(place, entries));
            }
            if !self.take(b',') {
                return Err("expected `,` or `}` after an object member");
            }
            self.skip_space();
        }
    }

    fn array(&mut self, place: Place, depth: usize) -> Result<Node, Stopped> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b']') {
            return Ok(Node::list(place, items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Node::list(place, items));
            }
            if !self.take(b',') {
                return Err("expected `,` or `]` after an array element");
            }
            self.skip_space();
        }
    }

    fn string(&mut self) -> Result<String, Stopped> {
        if self.peek() != Some(b'"') {
            return Err("expected a string");
        }
        let length = string_length(&self.text.as_bytes()[self.at..]).ok_or("malformed string")?;
        let literal = self.text.get(self.at + 1..self.at + length - 1).unwrap_or_default();
        self.at += length;
        Ok(unescape(literal))
    }

    fn number(&mut self, place: Place) -> Result<Node, Stopped> {
        let length = number_length(&self.text.as_bytes()[self.at..]).ok_or("malformed number")?;
        let text = &self.text[self.at..self.at + length];
        let integer = text.parse::<i128>().ok().filter(|number| {
            // `-0` is a float: an integer would lose the sign.
            (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(number) && text != "-0"
        });
        let value = match (integer, text.parse::<f64>()) {
            (Some(number), _) => Value::Int(number),
            (None, Ok(number)) if number.is_finite() => Value::Float(number),
            _ => return Err("number out of range"),
        };
        self.at += length;
        Ok(Node::scalar(place, Scalar { text: text.to_owned(), value, plain: true }))
    }

    fn word(&mut self, place: Place) -> Result<Node, Stopped> {
        for (word, value) in
            [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
        {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(Node::scalar(place, Scalar { text: word.to_owned(), value, plain: true }));
            }
        }
        Err("invalid character at the beginning of a value")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = self.at;
            }
        }
    }

    fn place(&self) -> Place {
        let before = self.text.get(self.line_start..self.at).unwrap_or_default();
        // A file on a single long line: counting characters again for every value would take for ever.
        let column = if before.len() > 10_000 { before.len() } else { before.chars().count() };
        Place { line: self.line, column: column + 1 }
    }
}

impl Iterator for JsonDocuments<'_> {
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

/// Reads a text that is exactly one JSON value.
pub(crate) fn read_value(text: &str) -> Option<Rc<Node>> {
    let mut documents = JsonDocuments { text, at: 0, line: 1, line_start: 0, done: false };
    let node = documents.next()?.ok()?;
    documents.next().is_none().then_some(node)
}

/// The text of a string literal whose escapes are well-formed. Half of a surrogate pair becomes U+FFFD.
fn unescape(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    let mut rest = literal;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let mut tail = escape.chars();
        text.push(match tail.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (unit, after) = code_unit(tail.as_str());
                tail = after.chars();
                let low = after.strip_prefix("\\u").map(code_unit);
                match (unit, low) {
                    (0xd800..0xdc00, Some((low @ 0xdc00..0xe000, after))) => {
                        tail = after.chars();
                        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
                            .unwrap_or('\u{fffd}')
                    }
                    _ => char::from_u32(unit).unwrap_or('\u{fffd}'),
                }
            }
            Some(other) => other,
            None => '\u{fffd}',
        });
        rest = tail.as_str();
    }
    text.push_str(rest);
    text
}

fn code_unit(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or(0xfffd), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::node::Content;

    fn text(json: &str) -> String {
        match &read_value(json).expect(json).content {
            Content::Scalar(scalar) => scalar.text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(text(r#""a\"\\\/\b\f\n\r\tA""#), "a\"\\/\u{8}\u{c}\n\r\tA");
        assert_eq!(text(r#""\ud83d\ude00é""#), "😀é");
        assert_eq!(text(r#""\ud83dx\ude00""#), "\u{fffd}x\u{fffd}");
        assert_eq!(text(r#""\ud83dA""#), "\u{fffd}A");
    }

    #[test]
    fn numbers_keep_integers_and_refuse_what_no_float_holds() {
        let value = |json: &str| read_value(json).map(|node| node.value().cloned());
        assert_eq!(value("18446744073709551615"), Some(Some(Value::Int(u64::MAX.into()))));
        assert_eq!(value("18446744073709551616"), Some(Some(Value::Float(18446744073709551616.0))));
        assert_eq!(value("-0"), Some(Some(Value::Float(-0.0))));
        assert_eq!(value("1e400"), None);
    }

    #[test]
    fn every_value_knows_its_place() {
        let node = read_value("{\n  \"ä\": [1,\n 2]}").unwrap();
        let Content::Map(entries) = &node.content else { panic!() };
        assert_eq!(entries[0].0.place, Place { line: 2, column: 3 });
        let Content::List(items) = &entries[0].1.content else { panic!() };
        assert_eq!(items[0].place, Place { line: 2, column: 9 });
        assert_eq!(items[1].place, Place { line: 3, column: 2 });
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(read_value(&("[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH))).is_some());
        assert!(read_value(&"[".repeat(100_000)).is_none());
    }
}
