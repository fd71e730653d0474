//! SIGINT and SIGTERM during something that must be taken back rather than left half done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Exit code of a command that SIGINT ended, as shells count.
const INTERRUPTED: u8 = 130;

/// Whether the process was asked to end.
pub(crate) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Watches from now on. The second signal ends the process at once.
    ///
    /// # Errors
    /// If the process may not catch signals.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("watching for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let asked = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if told.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        });
        Ok(Self(asked))
    }

    /// Fails once the process was asked to end.
    ///
    /// # Errors
    /// Says so, with the exit code of an interrupted command.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Failure::with_code(INTERRUPTED, "interrupted"));
        }
        Ok(())
    }

    /// Forgets that the process was asked to end: what comes now has to be done all the same.
    pub(crate) fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
