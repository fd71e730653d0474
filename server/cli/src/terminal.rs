//! Questions to the person at the terminal. They go to standard error, because standard output is for results.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Whether somebody can answer.
pub(crate) fn is_attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a text; an empty answer means the one that is offered.
///
/// # Errors
/// If the terminal is gone.
pub(crate) fn ask(question: &str, offered: &str) -> Result<String, Failure> {
    let answer = answer(&format!("{question} [{offered}] "))?;
    Ok(if answer.is_empty() { offered.to_owned() } else { answer })
}

/// Asks for a yes; anything else is a no.
///
/// # Errors
/// If the terminal is gone.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = answer(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

fn answer(prompt: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("asking: {error}"));
    let mut terminal = std::io::stderr().lock();
    terminal.write_all(prompt.as_bytes()).and_then(|()| terminal.flush()).map_err(failed)?;
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line).map_err(failed)? {
        0 => Err(Failure::new("no answer")),
        _ => Ok(line.trim().to_owned()),
    }
}
