//! Spells documents in YAML, byte for byte as the library does that Flipt exports with: that library's choice
//! of styles, its folding at 80 columns and its order of keys. It differs where its model's spelling reads back
//! as something else: U+2028 and U+2029 in texts of several lines, and the key `<<`.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::document::output::Output;
use crate::document::yaml_scalar::needs_quotes;
use crate::number::Decimal;

/// Columns per level.
const INDENT: usize = 2;

/// A line that is longer than this is folded at the next space.
const WIDTH: usize = 80;

/// Longest key, in bytes, that stands on one line with its value.
const LONGEST_SIMPLE_KEY: usize = 128;

/// Appends one document; all but the first are preceded by `---`.
pub(crate) fn push_document(out: &mut String, document: &Output, first: bool) {
    let mut writer = Writer { out, column: 0, whitespace: true, indention: true };
    if !first {
        writer.indicator("---", true, false, false);
    }
    writer.node(document, None, Context::default());
    // Ends the last line, unless a block has done so.
    writer.line(0);
}

/// What a value stands in.
#[derive(Clone, Copy, Default)]
struct Context {
    /// The value of a key, on that key's line.
    mapping: bool,
    /// A key.
    key: bool,
    /// A key on one line with its value.
    simple_key: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

struct Writer<'a> {
    out: &'a mut String,
    /// Characters on the current line.
    column: usize,
    /// Whether the last thing written was white space.
    whitespace: bool,
    /// Whether there is nothing but indentation, `-` and `?` on the current line.
    indention: bool,
}

impl Writer<'_> {
    /// Writes a value. `indent` is the column of the surrounding collection, `None` at the top.
    fn node(&mut self, value: &Output, indent: Option<usize>, context: Context) {
        match value {
            Output::Null => self.scalar("null", Style::Plain, indent, context),
            Output::Bool(true) => self.scalar("true", Style::Plain, indent, context),
            Output::Bool(false) => self.scalar("false", Style::Plain, indent, context),
            Output::Percentage(number) => {
                self.scalar(&number_text(Decimal::of_f32(*number)), Style::Plain, indent, context);
            }
            Output::Number(number) => {
                self.scalar(&number_text(Decimal::of_f64(*number)), Style::Plain, indent, context);
            }
            Output::Text(text) => self.text(text, indent, context),
            Output::List(items) => self.list(items, indent, context),
            Output::Record(fields) => {
                self.map(fields.iter().map(|(key, value)| (*key, value)).collect(), indent);
            }
            Output::Map(members) => {
                let members = members.iter().map(|(key, value)| (key.as_str(), value)).collect();
                self.map(sorted(members), indent);
            }
        }
    }

    fn list(&mut self, items: &[Output], indent: Option<usize>, context: Context) {
        if items.is_empty() {
            self.indicator("[", true, true, false);
            self.indicator("]", false, false, false);
            return;
        }
        // The items of a list that is the value of a key stand in the column of the key.
        let indent = match indent {
            Some(indent) if context.mapping && !self.indention => indent,
            Some(indent) => indent + INDENT,
            None => 0,
        };
        for item in items {
            self.line(indent);
            self.indicator("-", true, false, true);
            self.node(item, Some(indent), Context::default());
        }
    }

    fn map(&mut self, members: Vec<(&str, &Output)>, indent: Option<usize>) {
        if members.is_empty() {
            self.indicator("{", true, true, false);
            self.indicator("}", false, false, false);
            return;
        }
        let indent = indent.map_or(0, |indent| indent + INDENT);
        for (key, value) in members {
            self.line(indent);
            if key.len() <= LONGEST_SIMPLE_KEY && !key.contains(is_break) {
                self.text(key, Some(indent), Context { mapping: true, key: true, simple_key: true });
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, true);
                self.text(key, Some(indent), Context { mapping: true, key: true, simple_key: false });
                self.line(indent);
                self.indicator(":", true, false, true);
            }
            self.node(value, Some(indent), Context { mapping: true, ..Context::default() });
        }
    }

    fn text(&mut self, text: &str, indent: Option<usize>, context: Context) {
        let style = if text.contains('\n') {
            // A separator inside a block is a line break for some readers and text for others; escaped it is the
            // same for all. Its model writes a block all the same.
            if text.contains(['\u{2028}', '\u{2029}']) { Style::DoubleQuoted } else { Style::Literal }
        } else if needs_quotes(text) || (text == "<<" && context.key) {
            // As a key, `<<` would merge its value into the map when read back; its model overlooks that.
            Style::DoubleQuoted
        } else {
            Style::Plain
        };
        self.scalar(text, style, indent, context);
    }

    fn scalar(&mut self, text: &str, wanted: Style, indent: Option<usize>, context: Context) {
        let indent = indent.map_or(INDENT, |indent| indent + INDENT);
        match Analysis::of(text).style(wanted, context.simple_key) {
            Style::Plain => self.plain(text, indent, !context.simple_key),
            Style::SingleQuoted => self.single_quoted(text, indent, !context.simple_key),
            Style::DoubleQuoted => self.double_quoted(text, indent, !context.simple_key),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain(&mut self, text: &str, indent: usize, fold: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        self.whitespace = false;
        self.indention = false;
        let mut spaces = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == ' ' {
                if fold && !spaces && self.column > WIDTH && characters.peek() != Some(&' ') {
                    self.line(indent);
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(character);
                self.indention = false;
                spaces = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.indicator("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            if character == ' ' {
                let inside = at > 0 && next.is_some_and(|next| next != ' ');
                if fold && !spaces && self.column > WIDTH && inside {
                    self.line(indent);
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if is_break(character) {
                // U+2028 and U+2029; a text with a line feed is never written in this style.
                self.out.push(character);
                self.column = 0;
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.line(indent);
                }
                if character == '\'' {
                    self.put('\'');
                }
                self.put(character);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
        self.indicator("'", false, false, false);
    }

    fn double_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.indicator("\"", true, false, false);
        let mut spaces = false;
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            if !is_printable(character) || is_break(character) || matches!(character, '"' | '\\') {
                self.escape(character);
                spaces = false;
            } else if character == ' ' {
                if fold && !spaces && self.column > WIDTH && at > 0 && next.is_some() {
                    self.line(indent);
                    if next == Some(' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(character);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
    }

    fn escape(&mut self, character: char) {
        let short = match character {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let mut escape = String::new();
                // Writing to a `String` cannot fail.
                _ = match character as u32 {
                    code @ 0..=0xff => write!(escape, "\\x{code:02X}"),
                    code @ 0..=0xffff => write!(escape, "\\u{code:04X}"),
                    code => write!(escape, "\\U{code:08X}"),
                };
                escape.chars().for_each(|character| self.put(character));
                return;
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\n']) {
            self.indicator("2", false, false, false);
        }
        if !text.ends_with('\n') {
            self.indicator("-", false, false, false);
        } else if text.ends_with("\n\n") || text == "\n" {
            self.indicator("+", false, false, false);
        }
        self.end_line();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for character in text.chars() {
            if character == '\n' {
                self.end_line();
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.line(indent);
                }
                self.put(character);
                self.indention = false;
                breaks = false;
            }
        }
    }

    /// Goes to a column of a fresh line, or of this one if nothing but indentation stands on it.
    fn line(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.end_line();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, needs_space: bool, whitespace: bool, indention: bool) {
        if needs_space && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = whitespace;
        self.indention = self.indention && indention;
    }

    fn put(&mut self, character: char) {
        self.out.push(character);
        self.column += 1;
    }

    fn end_line(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }
}

/// Which styles a text can be written in.
struct Analysis {
    empty: bool,
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let first = text.chars().next();
        let last = text.chars().next_back();
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
        let mut previous = None;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let blank_follows = characters.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            indicators |= match (previous, character) {
                (
                    None,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                    | '`',
                ) => true,
                (None, '?' | '-') | (_, ':') => blank_follows,
                (Some(previous), '#') => matches!(previous, ' ' | '\t' | '\0') || is_break(previous),
                _ => false,
            };
            special |= !is_printable(character);
            if character == ' ' {
                break_space |= previous.is_some_and(is_break);
            } else if is_break(character) {
                breaks = true;
                space_break |= previous == Some(' ');
            }
            previous = Some(character);
        }
        let space_at_the_end = last == Some(' ');
        Self {
            empty: text.is_empty(),
            plain: !(indicators || special || breaks || first == Some(' ') || space_at_the_end),
            single_quoted: !(break_space || space_break || special),
            block: !(space_at_the_end || space_break || special),
        }
    }

    fn style(&self, wanted: Style, simple_key: bool) -> Style {
        let style = if wanted == Style::Plain && (!self.plain || (self.empty && simple_key)) {
            Style::SingleQuoted
        } else {
            wanted
        };
        match style {
            Style::SingleQuoted if !self.single_quoted => Style::DoubleQuoted,
            Style::Literal if !self.block || simple_key => Style::DoubleQuoted,
            style => style,
        }
    }
}

/// Line breaks of YAML 1.1.
fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters written as they are; those outside the basic multilingual plane are not among them.
fn is_printable(character: char) -> bool {
    matches!(
        character,
        '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}'
    )
}

/// The fewest digits, with an exponent below -4 and from 6 on.
fn number_text(decimal: Option<Decimal>) -> String {
    let mut text = String::new();
    match decimal {
        Some(decimal) if (-4..6).contains(&decimal.exponent()) => decimal.push_plain(&mut text),
        Some(decimal) => decimal.push_with_exponent(&mut text, 2),
        // Not representable in the model's documents; read back as "not a number".
        None => text.push_str(".nan"),
    }
    text
}

/// Sorts members by [`compare`]. A merge sort of our own: that comparison is no total order for every set of
/// keys, which the standard library's sort answers with a panic.
fn sorted<'a>(mut members: Vec<(&'a str, &'a Output)>) -> Vec<(&'a str, &'a Output)> {
    if members.len() < 2 {
        return members;
    }
    let right = sorted(members.split_off(members.len() / 2));
    let left = sorted(members);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some((a, _)), Some((b, _))) = (left.peek(), right.peek()) {
        merged.extend(if compare(b, a) == Ordering::Less { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

/// The order of free-form keys: letters by code point, other characters before letters, runs of digits by
/// their number.
fn compare(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => a[at].cmp(&b[at]),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero inside a number counts as a digit of it, not as the start of one.
            let inside = (a[at] == '0' || b[at] == '0')
                && a[..at].iter().rev().take_while(|digit| digit.is_ascii_digit()).any(|digit| *digit != '0');
            let number = |text: &[char]| {
                let digits = text[at..].iter().map_while(|digit| digit.to_digit(10));
                digits.fold((i64::from(inside), 0), |(number, length), digit| {
                    (number.wrapping_mul(10).wrapping_add(i64::from(digit)), length + 1)
                })
            };
            number(&a).cmp(&number(&b)).then(a[at].cmp(&b[at]))
        }
    }
}
