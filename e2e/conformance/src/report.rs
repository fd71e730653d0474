//! Many scenarios at once, and the table of what became of them.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{Deviations, Error, Verdict, replay};

/// How many scenarios of one call run at the same time.
const AT_ONCE: usize = 4;

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// `<area>/<name>`.
    pub file: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// Sums by area.
#[derive(Debug, Default)]
pub struct Areas(BTreeMap<String, [usize; 4]>);

/// Replays these case files and judges them; lines come in the order of the files.
///
/// # Errors
/// [`Error`] if a case file cannot be read.
pub fn judge(binary: &Path, files: &[String], deviations: &Deviations) -> Result<Vec<Line>, Error> {
    let next = Mutex::new(files.iter().enumerate());
    let lines = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(files.len()) {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, file)) = taken else { break };
                    let line = replay(binary, file, deviations).map(|outcomes| Line {
                        file: file.clone(),
                        verdict: deviations.judge(file, &outcomes),
                    });
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push((index, line));
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    lines.sort_by_key(|(index, _)| *index);
    lines.into_iter().map(|(_, line)| line).collect()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { passed, deviating, later, problems } = &self.verdict;
        write!(f, "{:<36} {passed:>5} {deviating:>5} {later:>5} {:>5}", self.file, problems.len())?;
        for problem in problems {
            write!(f, "\n    {problem}")?;
        }
        Ok(())
    }
}

impl Areas {
    /// Adds a line to the sum of its area.
    pub fn add(&mut self, line: &Line) {
        let area = line.file.split('/').next().unwrap_or_default();
        let Verdict { passed, deviating, later, problems } = &line.verdict;
        let sums = self.0.entry(area.to_owned()).or_default();
        for (sum, count) in sums.iter_mut().zip([*passed, *deviating, *later, problems.len()]) {
            *sum += count;
        }
    }
}

impl fmt::Display for Areas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<36} {:>5} {:>5} {:>5} {:>5}", "area", "pass", "dev", "later", "wrong")?;
        let mut total = [0; 4];
        for (area, sums) in &self.0 {
            let [passed, deviating, later, wrong] = sums;
            writeln!(f, "{area:<36} {passed:>5} {deviating:>5} {later:>5} {wrong:>5}")?;
            for (total, count) in total.iter_mut().zip(sums) {
                *total += count;
            }
        }
        let [passed, deviating, later, wrong] = total;
        write!(f, "{:<36} {passed:>5} {deviating:>5} {later:>5} {wrong:>5}", "all")
    }
}
