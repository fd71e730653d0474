//! Reads the part of CUE that extra schemas are made of.

use regex::Regex;
use serde_json::Value;

/// Deepest nesting of an expression.
const MAX_DEPTH: usize = 64;

/// A field of a struct with what its value must be.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) optional: bool,
    pub(super) expression: Expression,
    pub(super) line: usize,
}

/// What a value must be.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// Anything.
    Top,
    Type(Type),
    /// Exactly this.
    Literal(Value),
    /// A text that matches, or does not.
    Pattern {
        regex: Regex,
        negated: bool,
    },
    /// A number within a bound.
    Bound {
        relation: Relation,
        number: f64,
    },
    /// Anything but this.
    Not(Value),
    /// All of these.
    All(Vec<Expression>),
    /// One of these.
    Any(Vec<Expression>),
    /// A map with these fields, and perhaps others.
    Struct(Vec<Field>),
    /// A list of such items.
    Items(Box<Expression>),
    /// What a definition says.
    Reference {
        name: String,
        line: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Bool,
    Int,
    Float,
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParseError {
    pub(super) line: usize,
    pub(super) problem: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Mark(&'static str),
    /// The end of a line after something that can end a field, or a comma.
    End,
}

/// Longer marks first.
const MARKS: [&str; 22] = [
    "...", "=~", "!~", "!=", ">=", "<=", ":", "{", "}", "[", "]", "(", ")", "|", "&", "?", "!", ">", "<",
    "*", "-", "+",
];

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, ParseError> {
    let mut tokens: Vec<(Token, usize)> = Vec::new();
    for (index, whole) in text.lines().enumerate() {
        let line = index + 1;
        let failed = |problem: String| ParseError { line, problem };
        let mut rest = whole;
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { break };
            if rest.starts_with("//") {
                break;
            }
            if first == ',' {
                tokens.push((Token::End, line));
                rest = &rest[1..];
            } else if first == '"' || rest.starts_with("#\"") {
                let (value, after) = string(rest).map_err(failed)?;
                tokens.push((Token::Text(value), line));
                rest = after;
            } else if first.is_ascii_digit() {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_'));
                let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
                tokens.push((Token::Number(number.replace('_', "")), line));
                rest = after;
            } else if first.is_alphabetic() || matches!(first, '_' | '#' | '$') {
                let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '#' | '$');
                let end = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                if after.starts_with(['.', '(']) {
                    let call = after.split([' ', ')', ',']).next().unwrap_or_default();
                    return Err(failed(format!("{name}{call} is beyond the CUE that is read here")));
                }
                tokens.push((Token::Name(name.to_owned()), line));
                rest = after;
            } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                tokens.push((Token::Mark(mark), line));
                rest = &rest[mark.len()..];
            } else {
                return Err(failed(format!("{first:?} is beyond the CUE that is read here")));
            }
        }
        let ends = match tokens.last() {
            Some((Token::Name(_) | Token::Text(_) | Token::Number(_), _)) => true,
            Some((Token::Mark(mark), _)) => matches!(*mark, "}" | "]" | ")" | "..."),
            Some((Token::End, _)) | None => false,
        };
        if ends {
            tokens.push((Token::End, line));
        }
    }
    Ok(tokens)
}

/// A text in quotes, or in quotes within `#`, in which only `\#` escapes; and what stands behind it.
fn string(text: &str) -> Result<(String, &str), String> {
    let (raw, body) = match text.strip_prefix('#') {
        Some(body) => (true, body),
        None => (false, text),
    };
    if body.starts_with("\"\"\"") {
        return Err("texts of several lines are beyond the CUE that is read here".to_owned());
    }
    let (escape, close) = if raw { ("\\#", "\"#") } else { ("\\", "\"") };
    let mut rest = body.get(1..).unwrap_or_default();
    let mut value = String::new();
    loop {
        if let Some(after) = rest.strip_prefix(close) {
            return Ok((value, after));
        }
        if let Some(after) = rest.strip_prefix(escape) {
            let mut letters = after.chars();
            match letters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(letter @ ('"' | '\\' | '/')) => value.push(letter),
                Some('u') => {
                    let digits = after.get(1..5).unwrap_or_default();
                    let letter = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                    value.push(letter.ok_or("wrong escape in a text")?);
                    letters = after.get(5..).unwrap_or_default().chars();
                }
                Some('(') => return Err("interpolation is beyond the CUE that is read here".to_owned()),
                _ => return Err("wrong escape in a text; a backslash is written \\\\".to_owned()),
            }
            rest = letters.as_str();
            continue;
        }
        let mut letters = rest.chars();
        match letters.next() {
            Some(letter) => value.push(letter),
            None => return Err("the text does not end on its line".to_owned()),
        }
        rest = letters.as_str();
    }
}

/// The fields of a file.
///
/// # Errors
/// The first thing that cannot be read.
pub(super) fn parse(text: &str) -> Result<Vec<Field>, ParseError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    parser.skip_ends();
    if parser.peek() == Some(&Token::Name("package".to_owned())) {
        parser.at += 2;
    }
    let fields = parser.fields(None, 0)?;
    Ok(fields)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn line(&self) -> usize {
        let last = self.tokens.last().map_or(1, |(_, line)| *line);
        self.tokens.get(self.at).map_or(last, |(_, line)| *line)
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { line: self.line(), problem: problem.into() })
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, ParseError> {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some(Token::End) => "the end of a field".to_owned(),
            Some(Token::Name(text) | Token::Number(text)) => format!("{text:?}"),
            Some(Token::Text(text)) => format!("the text {text:?}"),
            Some(Token::Mark(mark)) => format!("{mark:?}"),
        };
        self.fail(format!("expected {wanted}, found {found}, which is beyond the CUE that is read here"))
    }

    fn takes(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Mark(found)) if *found == mark);
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, mark: &str) -> Result<(), ParseError> {
        if self.takes(mark) { Ok(()) } else { self.unexpected(&format!("{mark:?}")) }
    }

    fn skip_ends(&mut self) {
        while self.peek() == Some(&Token::End) {
            self.at += 1;
        }
    }

    /// Fields up to a mark, or to the end of the file.
    fn fields(&mut self, close: Option<&str>, depth: usize) -> Result<Vec<Field>, ParseError> {
        let mut fields = Vec::new();
        loop {
            self.skip_ends();
            match close {
                Some(mark) if self.takes(mark) => return Ok(fields),
                None if self.peek().is_none() => return Ok(fields),
                _ => {}
            }
            // Structs are open here anyway: the schema itself says which fields there are.
            if self.takes("...") {
                continue;
            }
            fields.push(self.field(depth)?);
            if self.peek().is_some() && self.peek() != Some(&Token::End) {
                match (close, self.peek()) {
                    (Some(close), Some(Token::Mark(mark))) if *mark == close => {}
                    _ => return self.unexpected("the end of the field"),
                }
            }
        }
    }

    fn field(&mut self, depth: usize) -> Result<Field, ParseError> {
        let line = self.line();
        let name = match self.peek() {
            Some(Token::Name(name) | Token::Text(name)) => name.clone(),
            _ => return self.unexpected("a field"),
        };
        if name == "import" {
            return self.fail("import is beyond the CUE that is read here");
        }
        self.at += 1;
        let optional = self.takes("?");
        if !optional {
            self.takes("!");
        }
        self.require(":")?;
        // `#Flag: name: string` is `#Flag: {name: string}`.
        let is_short = matches!(self.peek(), Some(Token::Name(_) | Token::Text(_)))
            && matches!(self.tokens.get(self.at + 1), Some((Token::Mark(":" | "?" | "!"), _)));
        let expression = if is_short {
            self.nest(depth)?;
            Expression::Struct(vec![self.field(depth + 1)?])
        } else {
            self.alternatives(depth)?
        };
        Ok(Field { name, optional, expression, line })
    }

    fn nest(&self, depth: usize) -> Result<(), ParseError> {
        if depth > MAX_DEPTH { self.fail("nested too deeply") } else { Ok(()) }
    }

    fn alternatives(&mut self, depth: usize) -> Result<Expression, ParseError> {
        self.nest(depth)?;
        let mut parts = Vec::new();
        loop {
            // Which alternative is the default matters only to who completes data, and nobody does here.
            self.takes("*");
            parts.push(self.conjunction(depth)?);
            if !self.takes("|") {
                break;
            }
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn conjunction(&mut self, depth: usize) -> Result<Expression, ParseError> {
        let mut parts = vec![self.operand(depth)?];
        while self.takes("&") {
            parts.push(self.operand(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn operand(&mut self, depth: usize) -> Result<Expression, ParseError> {
        for (mark, negated) in [("=~", false), ("!~", true)] {
            if self.takes(mark) {
                let Some(Token::Text(pattern)) = self.peek().cloned() else {
                    return self.unexpected("a text");
                };
                let regex = match Regex::new(&pattern) {
                    Ok(regex) => regex,
                    Err(error) => return self.fail(format!("pattern {pattern:?}: {error}")),
                };
                self.at += 1;
                return Ok(Expression::Pattern { regex, negated });
            }
        }
        for (mark, relation) in [
            (">=", Relation::GreaterOrEqual),
            ("<=", Relation::LessOrEqual),
            (">", Relation::Greater),
            ("<", Relation::Less),
        ] {
            if self.takes(mark) {
                return match self.literal()?.as_f64() {
                    Some(number) => Ok(Expression::Bound { relation, number }),
                    None => self.fail("a bound is a number"),
                };
            }
        }
        if self.takes("!=") {
            return Ok(Expression::Not(self.literal()?));
        }
        if self.takes("(") {
            let inner = self.alternatives(depth + 1)?;
            self.require(")")?;
            return Ok(inner);
        }
        if self.takes("{") {
            return Ok(Expression::Struct(self.fields(Some("}"), depth + 1)?));
        }
        if self.takes("[") {
            self.require("...")?;
            let item = if self.takes("]") {
                return Ok(Expression::Items(Box::new(Expression::Top)));
            } else {
                self.alternatives(depth + 1)?
            };
            self.require("]")?;
            return Ok(Expression::Items(Box::new(item)));
        }
        let line = self.line();
        let named = match self.peek() {
            Some(Token::Name(name)) => match name.as_str() {
                "_" => Some(Expression::Top),
                "string" => Some(Expression::Type(Type::String)),
                "bool" => Some(Expression::Type(Type::Bool)),
                "int" => Some(Expression::Type(Type::Int)),
                "float" => Some(Expression::Type(Type::Float)),
                "number" => Some(Expression::Type(Type::Number)),
                name if name.starts_with('#') => Some(Expression::Reference { name: name.to_owned(), line }),
                _ => None,
            },
            _ => None,
        };
        match named {
            Some(expression) => {
                self.at += 1;
                Ok(expression)
            }
            None => self.literal().map(Expression::Literal),
        }
    }

    fn literal(&mut self) -> Result<Value, ParseError> {
        let negative = self.takes("-");
        if !negative {
            self.takes("+");
        }
        let value = match self.peek() {
            Some(Token::Number(digits)) => {
                let text = if negative { format!("-{digits}") } else { digits.clone() };
                serde_json::from_str(&text).ok()
            }
            _ if negative => None,
            Some(Token::Text(text)) => Some(Value::String(text.clone())),
            Some(Token::Name(name)) => match name.as_str() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                "null" => Some(Value::Null),
                _ => None,
            },
            _ => None,
        };
        match value {
            Some(value) => {
                self.at += 1;
                Ok(value)
            }
            None => self.unexpected("a value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (usize, String) {
        let error = parse(text).unwrap_err();
        (error.line, error.problem)
    }

    #[test]
    fn what_extra_schemas_are_made_of_is_read() {
        let text = r##"
package flipt // ignored

#Flag: {
    key:          =~"^[a-z]+$" & !~#"^tmp\d"#
    description!: string & !="", enabled?: bool
    metadata: {owner: "a" | "b" | *"c", cost?: >=0 & <=1_000.5, ...}
    variants: [...#Variant]
    ...
}
#Flag: rules: [...]
#Short: (string | null)
version: "1.4"
"##;
        let fields = parse(text).unwrap();
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["#Flag", "#Flag", "#Short", "version"]);
        let Expression::Struct(flag) = &fields[0].expression else { panic!("{fields:?}") };
        let shown: Vec<(&str, bool, usize)> =
            flag.iter().map(|field| (field.name.as_str(), field.optional, field.line)).collect();
        assert_eq!(
            shown,
            [
                ("key", false, 5),
                ("description", false, 6),
                ("enabled", true, 6),
                ("metadata", false, 7),
                ("variants", false, 8)
            ]
        );
    }

    #[test]
    fn what_is_beyond_that_is_refused_with_its_line() {
        for (text, line, part) in [
            ("import \"strings\"\n", 1, "import"),
            ("\n#Flag: {key: strings.MaxRunes(5)}\n", 2, "strings.MaxRunes"),
            ("#Flag: {\n  key: =~5\n}\n", 2, "expected a text"),
            ("#Flag: {\n  key: =~\"(\"\n}\n", 2, "pattern"),
            ("#Flag: {\n  if enabled {key: \"a\"}\n}\n", 2, "expected \":\""),
            ("#Flag: {key: \"a\"", 1, "end of the file"),
            ("#Flag: {key: \"a}", 1, "does not end"),
            ("a: \"\\(b)\"", 1, "interpolation"),
            ("a: [string, int]", 1, "expected \"...\""),
            ("a: b", 1, "expected a value"),
            ("a: 1 2", 1, "the end of the field"),
            ("%", 1, "beyond"),
        ] {
            let (at, problem) = refusal(text);
            assert!(at == line && problem.contains(part), "{text:?}: {at}: {problem}");
        }
        let deep = format!("a: {}1{}", "(".repeat(1_000), ")".repeat(1_000));
        assert!(refusal(&deep).1.contains("deeply"));
    }
}
