//! What is known to differ from the recorded answers, and why.

use std::{collections::BTreeSet, fs};

use serde::Deserialize;

use crate::{
    Error, Outcome, Scenario,
    instead::{self, Instead},
};

/// The lists of `deviations.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviations {
    #[serde(default, rename = "deviation")]
    deviations: Vec<Deviation>,
    #[serde(default)]
    instead: Vec<Instead>,
    #[serde(default, rename = "later")]
    later: Vec<Later>,
}

/// Answers that differ on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    file: String,
    /// The steps; without any, the whole file.
    #[serde(default)]
    steps: Vec<String>,
    /// Why, with the place in the specification.
    reason: String,
}

/// What is about something that is not built yet: whole files, or steps of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    feature: String,
    /// Files, or whole areas.
    #[serde(default)]
    files: Vec<String>,
    /// The file that the steps are in.
    file: Option<String>,
    #[serde(default)]
    steps: Vec<String>,
}

/// What a file's outcomes amount to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Steps that answer as recorded.
    pub passed: usize,
    /// Steps that differ as listed, or where the recorded answer is a defect.
    pub deviating: usize,
    /// Steps about a feature that is not built yet.
    pub later: usize,
    /// What is wrong: answers that differ without being listed, and entries that are out of date.
    pub problems: Vec<String>,
}

impl Deviations {
    /// Reads `deviations.toml`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Form`].
    pub fn read() -> Result<Self, Error> {
        let path = crate::root().join("deviations.toml");
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        toml::from_str(&text).map_err(|error| Error::Form { path, reason: error.to_string() })
    }

    /// The feature that a file waits for.
    #[must_use]
    pub fn feature(&self, file: &str) -> Option<&str> {
        let area = file.split('/').next().unwrap_or_default();
        let later =
            self.later.iter().find(|later| later.files.iter().any(|name| name == file || name == area))?;
        Some(&later.feature)
    }

    /// Puts our values into the expected answers of a file, where they differ from the recorded ones on purpose.
    /// Tells for every step whether it had any.
    pub(crate) fn replace(&self, file: &str, scenario: &mut Scenario) -> Vec<bool> {
        let entries: Vec<&Instead> = self.instead.iter().filter(|entry| entry.is_about(file)).collect();
        instead::apply(scenario, &entries)
    }

    /// Entries that name no case file, or say nothing about why.
    #[must_use]
    pub fn unfounded(&self, files: &BTreeSet<String>) -> Vec<String> {
        let is_area = |name: &str| files.iter().any(|file| file.split('/').next() == Some(name));
        let mut found = Vec::new();
        for deviation in &self.deviations {
            if !files.contains(&deviation.file) {
                found.push(format!("deviation in {}: no such file", deviation.file));
            }
            if deviation.reason.is_empty() {
                found.push(format!("deviation in {}: no reason", deviation.file));
            }
        }
        for entry in &self.instead {
            let comes_up = files.iter().filter(|file| entry.is_about(file)).any(|file| {
                Scenario::read(file)
                    .is_ok_and(|mut scenario| instead::apply(&mut scenario, &[entry]).contains(&true))
            });
            if !comes_up || entry.reason.is_empty() {
                let Instead { area, at, recorded, .. } = entry;
                found.push(format!(
                    "instead of {recorded} at {at} in {area}: comes up nowhere, or has no reason"
                ));
            }
        }
        for later in self.later.iter().filter(|later| later.steps.is_empty() != later.file.is_none()) {
            found.push(format!("later {:?}: steps need a file, and a file needs steps", later.feature));
        }
        for name in self.later.iter().flat_map(|later| later.files.iter().chain(&later.file)) {
            if !files.contains(name) && !is_area(name) {
                found.push(format!("later {name}: no such file or area"));
            }
        }
        found
    }

    /// Judges the outcomes of a file.
    #[must_use]
    pub fn judge(&self, file: &str, outcomes: &[Outcome]) -> Verdict {
        let mut verdict = Verdict::default();
        if let Some(feature) = self.feature(file) {
            if outcomes.iter().all(|outcome| outcome.differences.is_empty()) {
                verdict.problems.push(format!("every step passes: take it off the list of {feature:?}"));
            }
            verdict.later = outcomes.len();
            return verdict;
        }
        let entries: Vec<&Deviation> =
            self.deviations.iter().filter(|deviation| deviation.file == file).collect();
        let whole = entries.iter().any(|deviation| deviation.steps.is_empty());
        let listed: BTreeSet<&String> = entries.iter().flat_map(|deviation| &deviation.steps).collect();
        let later: BTreeSet<&String> = self
            .later
            .iter()
            .filter(|later| later.file.as_deref() == Some(file))
            .flat_map(|later| &later.steps)
            .collect();
        for outcome in outcomes {
            let is_listed = listed.contains(&outcome.step);
            let is_later = later.contains(&outcome.step);
            match outcome.differences.is_empty() {
                true if is_later => {
                    verdict.problems.push(format!("{:?} passes: take it off the list", outcome.step));
                }
                false if is_later => verdict.later += 1,
                true if is_listed => {
                    verdict.problems.push(format!("{:?} does not deviate any more", outcome.step));
                }
                true if outcome.is_replaced => verdict.deviating += 1,
                true => verdict.passed += 1,
                false if whole || is_listed || outcome.is_defect => verdict.deviating += 1,
                false => verdict.problems.push(format!(
                    "{:?} differs\n      {}",
                    outcome.step,
                    outcome.differences.join("\n      ")
                )),
            }
        }
        if whole && verdict.deviating == 0 {
            verdict.problems.push("no step of the file deviates any more".to_owned());
        }
        for step in listed.into_iter().chain(later) {
            if !outcomes.iter().any(|outcome| outcome.step == *step) {
                verdict.problems.push(format!("{step:?} is listed, but there is no such step"));
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(step: &str, differs: bool) -> Outcome {
        let differences = if differs { vec!["x".to_owned()] } else { Vec::new() };
        Outcome { step: step.to_owned(), differences, is_defect: false, is_replaced: false }
    }

    fn lists(text: &str) -> Deviations {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn only_what_is_listed_may_differ() {
        let lists = lists("[[deviation]]\nfile = 'a/b'\nsteps = ['s']\nreason = 'r'\n");
        let verdict = lists.judge("a/b", &[outcome("s", true), outcome("t", false)]);
        assert_eq!((verdict.passed, verdict.deviating, verdict.problems.len()), (1, 1, 0));
        assert_eq!(lists.judge("a/b", &[outcome("s", true), outcome("t", true)]).problems.len(), 1);
        assert_eq!(lists.judge("a/c", &[outcome("s", true)]).problems.len(), 1);
    }

    #[test]
    fn single_steps_may_wait_for_a_feature() {
        let lists = lists("[[later]]\nfeature = 'f'\nfile = 'a/b'\nsteps = ['s']\n");
        let verdict = lists.judge("a/b", &[outcome("s", true), outcome("t", false)]);
        assert_eq!((verdict.passed, verdict.later, verdict.problems.len()), (1, 1, 0));
        assert_eq!(lists.judge("a/b", &[outcome("s", false)]).problems.len(), 1);
    }

    #[test]
    fn the_lists_cannot_rot() {
        let lists = lists(
            "[[deviation]]\nfile = 'a/b'\nsteps = ['s']\nreason = 'r'\n[[later]]\nfeature = 'f'\nfiles = ['c']\n",
        );
        assert_eq!(lists.judge("a/b", &[outcome("s", false)]).problems.len(), 1);
        assert_eq!(lists.judge("a/b", &[outcome("t", false)]).problems.len(), 1);
        assert_eq!(lists.judge("c/x", &[outcome("s", false)]).problems.len(), 1);
        assert!(lists.judge("c/x", &[outcome("s", true)]).problems.is_empty());
        assert_eq!(lists.unfounded(&BTreeSet::from(["a/b".to_owned()])), ["later c: no such file or area"]);
    }
}
