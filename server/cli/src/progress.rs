//! How far a long command has come: one line on a terminal, nothing anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Commands that are done sooner show nothing.
const TICK: Duration = Duration::from_millis(250);

/// A line on standard error that goes away with its value. Without a terminal there, nothing is written.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins something that takes time.
    pub(crate) fn of(what: impl Into<String>) -> Self {
        // Draws to standard error, and nowhere if that is no terminal.
        let bar = ProgressBar::no_length().with_message(what.into());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// So many further steps are known now.
    pub(crate) fn expect(&self, steps: usize) {
        if self.0.length().is_none()
            && let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} {elapsed}")
        {
            self.0.set_style(style);
        }
        self.0.set_length(self.0.length().unwrap_or(0) + steps as u64);
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
