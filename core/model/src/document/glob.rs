//! Patterns that select feature files by their path.
//!
//! `*` and `**` are the same and cross `/`; `?` is any one character; `[a-c]` and `[!abc]` are classes;
//! `{a,b}` are alternatives, which may hold patterns; `\x` is the character x.

use thiserror::Error;

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GlobError {
    /// A class `[` is not closed.
    #[error("a character class is not closed")]
    OpenClass,
    /// A class has nothing in it, or a range that runs backwards.
    #[error("a character class is malformed")]
    MalformedClass,
    /// Alternatives `{` are not closed.
    #[error("alternatives are not closed")]
    OpenAlternatives,
    /// A `]` or `}` closes nothing.
    #[error("a bracket closes nothing")]
    Unopened,
    /// The pattern ends with a backslash.
    #[error("nothing follows the last backslash")]
    TrailingBackslash,
    /// Alternatives are nested too deeply, or the pattern is too long.
    #[error("the pattern is too large")]
    TooLarge,
}

/// Most states a pattern may compile to; far beyond any real one.
const MAX_STATES: usize = 10_000;

/// Deepest nesting of alternatives.
const MAX_DEPTH: usize = 32;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    states: Vec<State>,
}

/// A step of the pattern. The pattern is matched by walking all its steps at once, so that no pattern takes
/// more time than its length times the length of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// One character out of ranges, or one outside them; then the next state.
    One { ranges: Vec<(char, char)>, negated: bool },
    /// Goes on at two places at once.
    Split(usize, usize),
    /// Goes on elsewhere.
    Jump(usize),
    /// The whole pattern is matched.
    Match,
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The text is not a pattern.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let mut compile = Compile { rest: pattern.chars().peekable(), states: Vec::new() };
        compile.sequence(0)?;
        if compile.rest.next().is_some() {
            return Err(GlobError::Unopened);
        }
        compile.push(State::Match)?;
        Ok(Self { states: compile.states })
    }

    /// Whether the whole path fits the pattern.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut current = Active::new(self.states.len());
        let mut next = Active::new(self.states.len());
        current.add(&self.states, 0);
        for character in path.chars() {
            for &at in &current.ones {
                if let State::One { ranges, negated } = &self.states[at] {
                    let within = ranges.iter().any(|(from, to)| (*from..=*to).contains(&character));
                    if within != *negated {
                        next.add(&self.states, at + 1);
                    }
                }
            }
            std::mem::swap(&mut current, &mut next);
            next.clear();
        }
        current.matched
    }
}

/// The states a match is in.
struct Active {
    seen: Vec<bool>,
    ones: Vec<usize>,
    matched: bool,
}

impl Active {
    fn new(states: usize) -> Self {
        Self { seen: vec![false; states], ones: Vec::new(), matched: false }
    }

    fn clear(&mut self) {
        self.seen.fill(false);
        self.ones.clear();
        self.matched = false;
    }

    fn add(&mut self, states: &[State], from: usize) {
        let mut pending = vec![from];
        while let Some(at) = pending.pop() {
            if std::mem::replace(&mut self.seen[at], true) {
                continue;
            }
            match states[at] {
                State::One { .. } => self.ones.push(at),
                State::Split(a, b) => pending.extend([a, b]),
                State::Jump(to) => pending.push(to),
                State::Match => self.matched = true,
            }
        }
    }
}

struct Compile<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    states: Vec<State>,
}

impl Compile<'_> {
    fn push(&mut self, state: State) -> Result<usize, GlobError> {
        if self.states.len() >= MAX_STATES {
            return Err(GlobError::TooLarge);
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    /// Compiles up to the end of the pattern; within alternatives up to what ends this one.
    fn sequence(&mut self, depth: usize) -> Result<(), GlobError> {
        if depth > MAX_DEPTH {
            return Err(GlobError::TooLarge);
        }
        while let Some(&character) = self.rest.peek() {
            match character {
                ',' | '}' if depth > 0 => return Ok(()),
                ']' | '}' => return Err(GlobError::Unopened),
                _ => {}
            }
            self.rest.next();
            match character {
                '*' => {
                    while self.rest.next_if_eq(&'*').is_some() {}
                    let split = self.states.len();
                    self.push(State::Split(split + 1, split + 3))?;
                    self.push(State::One { ranges: Vec::new(), negated: true })?;
                    self.push(State::Jump(split))?;
                }
                '?' => _ = self.push(State::One { ranges: Vec::new(), negated: true })?,
                '[' => {
                    let class = self.class()?;
                    self.push(class)?;
                }
                '{' => self.alternatives(depth)?,
                '\\' => {
                    let literal = self.rest.next().ok_or(GlobError::TrailingBackslash)?;
                    self.literal(literal)?;
                }
                literal => self.literal(literal)?,
            }
        }
        Ok(())
    }

    fn literal(&mut self, literal: char) -> Result<(), GlobError> {
        self.push(State::One { ranges: vec![(literal, literal)], negated: false }).map(|_| ())
    }

    fn class(&mut self) -> Result<State, GlobError> {
        let negated = self.rest.next_if_eq(&'!').is_some();
        let mut ranges = Vec::new();
        loop {
            let from = match self.rest.next().ok_or(GlobError::OpenClass)? {
                ']' if ranges.is_empty() => return Err(GlobError::MalformedClass),
                ']' => return Ok(State::One { ranges, negated }),
                '\\' => self.rest.next().ok_or(GlobError::OpenClass)?,
                character => character,
            };
            let mut to = from;
            if self.rest.next_if_eq(&'-').is_some() {
                match self.rest.peek() {
                    None => return Err(GlobError::OpenClass),
                    // A hyphen at the end stands for itself.
                    Some(']') => ranges.push(('-', '-')),
                    Some(_) => {
                        to = match self.rest.next().ok_or(GlobError::OpenClass)? {
                            '\\' => self.rest.next().ok_or(GlobError::OpenClass)?,
                            character => character,
                        };
                    }
                }
            }
            if from > to {
                return Err(GlobError::MalformedClass);
            }
            ranges.push((from, to));
        }
    }

    fn alternatives(&mut self, depth: usize) -> Result<(), GlobError> {
        let mut ends = Vec::new();
        loop {
            let split = self.push(State::Match)?;
            self.sequence(depth + 1)?;
            let more = match self.rest.next() {
                Some(',') => true,
                Some(_) => false,
                None => return Err(GlobError::OpenAlternatives),
            };
            ends.push(self.push(State::Match)?);
            let next = self.states.len();
            self.states[split] = if more { State::Split(split + 1, next) } else { State::Jump(split + 1) };
            if !more {
                for end in ends {
                    self.states[end] = State::Jump(next);
                }
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_select_as_computed() {
        for (pattern, path, selected) in [
            ("**features.yml", "features.yml", true),
            ("**features.yml", "a/b/features.yml", true),
            ("**features.yml", "myfeatures.yml", true),
            ("**features.yml", "prod.features.yml", true),
            ("**features.yml", ".features.yml", true),
            ("**features.yml", "a/.hidden/features.yml", true),
            ("**features.yml", "Features.yml", false),
            ("**features.yml", "features.yml.bak", false),
            ("**features.yml", "features.json", false),
            ("*.features.yml", "a/b.features.yml", true),
            ("**/*.features.yml", "a/b.features.yml", true),
            ("**/*.features.yml", "b.features.yml", false),
            ("**/features.yml", "features.yml", false),
            ("features.yml", "a/features.yml", false),
            ("dir/*", "dir/a/b.yml", true),
            ("./features.yml", "features.yml", false),
            ("*.{yml,yaml}", "a.yaml", true),
            ("*.{yml,yaml}", "a.yml", true),
            ("*.{yml,yaml}", "a.json", false),
            ("a?c", "a/c", true),
            ("a?c", "ac", false),
            ("[abc].yml", "b.yml", true),
            ("[a-c].yml", "d.yml", false),
            ("[!a-c].yml", "d.yml", true),
            ("[!a-c].yml", "a.yml", false),
            ("\\*.yml", "*.yml", true),
            ("\\*.yml", "a.yml", false),
            ("{a,b*c,{d,e}}x", "b--cx", true),
            ("{a,b*c,{d,e}}x", "ex", true),
            ("{a,b*c,{d,e}}x", "cx", false),
            ("a,b", "a,b", true),
            ("{a,}b", "b", true),
            ("", "", true),
            ("*", "", true),
            ("ä?", "ä漢", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(path), selected, "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for (pattern, error) in [
            ("[a", GlobError::OpenClass),
            ("[", GlobError::OpenClass),
            ("[a-", GlobError::OpenClass),
            ("[a\\", GlobError::OpenClass),
            ("[]", GlobError::MalformedClass),
            ("[z-a]", GlobError::MalformedClass),
            ("{a", GlobError::OpenAlternatives),
            ("{a,", GlobError::OpenAlternatives),
            ("a}", GlobError::Unopened),
            ("a]", GlobError::Unopened),
            ("a\\", GlobError::TrailingBackslash),
        ] {
            assert_eq!(Glob::new(pattern), Err(error), "{pattern}");
        }
        assert_eq!(Glob::new(&"{".repeat(100)), Err(GlobError::TooLarge));
        assert_eq!(Glob::new(&"a".repeat(MAX_STATES + 1)), Err(GlobError::TooLarge));
    }

    #[test]
    fn hostile_patterns_take_no_more_time_than_others() {
        let glob = Glob::new(&"*a".repeat(500)).unwrap();
        assert!(!glob.matches(&"a".repeat(499)));
        assert!(glob.matches(&"a".repeat(2_000)));
    }

    proptest! {
        #[test]
        fn no_pattern_makes_the_matcher_panic(pattern in "[*?\\[\\]{},!\\\\a-c-]{0,20}", path in "[a-c/]{0,10}") {
            if let Ok(glob) = Glob::new(&pattern) {
                _ = glob.matches(&path);
            }
        }
    }
}
