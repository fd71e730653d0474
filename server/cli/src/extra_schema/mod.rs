//! Further rules for feature files: `flipt validate --extra-schema` (documents spec, section 11.4).
//!
//! Flipt takes any CUE there. No CUE library exists for us, so this reads the part of CUE that such files are
//! made of (definitions whose fields have patterns, bounds, types, values and alternatives) and refuses the
//! rest with its line, rather than letting a rule pass unheeded.

mod check;
mod parse;

use std::{collections::BTreeMap, path::Path};

use flipt_model::document::{Encoding, Issue, located_documents};

use crate::failure::Failure;
use parse::{Expression, Field};

/// The definitions of the schema, each with its fields: those that an extra schema can tighten.
const DEFINITIONS: [(&str, &[&str]); 12] = [
    (DOCUMENT, &["version", "namespace", "flags", "segments"]),
    ("#Namespace", &["key", "name", "description"]),
    ("#Flag", FLAG),
    ("#FlagBoolean", FLAG),
    ("#Variant", &["default", "key", "name", "description", "attachment"]),
    ("#Rule", &["segment", "rank", "distributions"]),
    ("#RuleSegment", &["keys", "operator"]),
    ("#Distribution", &["variant", "rollout"]),
    ("#Rollout", &["description", "segment", "threshold"]),
    ("#RolloutSegment", &["key", "keys", "operator", "value"]),
    ("#Segment", &["key", "name", "match_type", "description", "constraints"]),
    ("#Constraint", &["type", "property", "operator", "value", "description"]),
];
const FLAG: &[&str] =
    &["key", "name", "description", "enabled", "type", "metadata", "variants", "rules", "rollouts"];
/// The name under which the top of a document is kept.
const DOCUMENT: &str = "";

/// An extra schema, ready to be applied.
pub(crate) struct ExtraSchema {
    /// Of the definitions that are tightened, and of those that the file makes for itself.
    definitions: BTreeMap<String, Expression>,
}

impl ExtraSchema {
    /// Reads a schema from a file.
    ///
    /// # Errors
    /// What cannot be read, with file and line.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            Failure::new(format!("open {shown}: {reason}"))
        })?;
        let refused = |line: usize, problem: String| Failure::new(format!("{shown}:{line}: {problem}"));
        let fields = parse::parse(&text).map_err(|error| refused(error.line, error.problem))?;
        let mut definitions: BTreeMap<String, Expression> = BTreeMap::new();
        let mut document = Vec::new();
        for field in fields {
            if field.name.starts_with('#') {
                let more = match definitions.remove(&field.name) {
                    // Written twice: both hold.
                    Some(earlier) => Expression::All(vec![earlier, field.expression]),
                    None => field.expression,
                };
                definitions.insert(field.name, more);
            } else {
                document.push(field);
            }
        }
        definitions.insert(DOCUMENT.to_owned(), Expression::Struct(document));
        for (name, known) in DEFINITIONS {
            if let Some(expression) = definitions.get(name) {
                check_fields(name, known, expression).map_err(|(line, problem)| refused(line, problem))?;
            }
        }
        let schema = Self { definitions };
        schema.check_references().map_err(|(line, problem)| refused(line, problem))?;
        Ok(schema)
    }

    /// What in a file does not keep the rules. Checking stops after the first document with issues.
    ///
    /// # Errors
    /// If the file is not YAML or JSON.
    pub(crate) fn issues(&self, text: &[u8], encoding: Encoding, file: &str) -> Result<Vec<Issue>, Failure> {
        for document in located_documents(text, encoding).map_err(Failure::new)? {
            let found = check::check(&self.definitions, &document.value);
            let mut issues: Vec<Issue> = found
                .into_iter()
                .map(|problem| {
                    let place = document.place(&problem.path);
                    Issue {
                        message: format!("{}: {}", problem.path, problem.reason),
                        path: problem.path,
                        file: file.to_owned(),
                        line: place.line,
                        column: place.column,
                    }
                })
                .collect();
            issues.sort_by_key(|issue| (issue.line, issue.column));
            issues.dedup();
            if !issues.is_empty() {
                return Ok(issues);
            }
        }
        Ok(Vec::new())
    }

    /// Every definition that is named exists, and none contains itself.
    fn check_references(&self) -> Result<(), (usize, String)> {
        for expression in self.definitions.values() {
            self.follow(expression, 0)?;
        }
        Ok(())
    }

    fn follow(&self, expression: &Expression, depth: usize) -> Result<(), (usize, String)> {
        match expression {
            Expression::Reference { name, line } => match self.definitions.get(name) {
                Some(_) if depth > self.definitions.len() => Err((*line, format!("{name} contains itself"))),
                Some(definition) => self.follow(definition, depth + 1),
                None if DEFINITIONS.iter().any(|(known, _)| known == name) => Ok(()),
                None => Err((*line, format!("reference {name:?} not found"))),
            },
            Expression::All(parts) => parts.iter().try_for_each(|part| self.follow(part, depth)),
            Expression::Any(parts) => parts.iter().try_for_each(|part| self.follow(part, depth)),
            Expression::Items(item) => self.follow(item, depth),
            Expression::Struct(fields) => {
                fields.iter().try_for_each(|field| self.follow(&field.expression, depth))
            }
            _ => Ok(()),
        }
    }
}

/// Fields that the schema does not have cannot be added: no reader would accept them.
fn check_fields(name: &str, known: &[&str], expression: &Expression) -> Result<(), (usize, String)> {
    match expression {
        Expression::Struct(fields) => {
            for Field { name: field, line, .. } in fields {
                if !known.contains(&field.as_str()) {
                    let of = if name == DOCUMENT { "a document" } else { name };
                    return Err((*line, format!("{of} has no field {field:?}; it has {}", known.join(", "))));
                }
            }
            Ok(())
        }
        Expression::All(parts) => parts.iter().try_for_each(|part| check_fields(name, known, part)),
        _ => Ok(()),
    }
}
