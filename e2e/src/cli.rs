//! The command line of `flipt`, run to its end.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{Binaries, Failure, Result, process::command};

/// Runs commands of `flipt` in a folder.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

/// A command that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; −1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output of a command that must have succeeded.
    ///
    /// # Errors
    /// With its output, if it failed.
    pub fn success(self) -> Result<String> {
        if self.code == 0 {
            return Ok(self.stdout);
        }
        Err(Failure::new(format!("flipt ended with {}: {}{}", self.code, self.stderr, self.stdout)))
    }
}

impl Cli {
    /// Commands in this folder, on the database file `flipt.db` in it.
    ///
    /// # Errors
    /// If `flipt` has not been built.
    pub fn new(folder: &Path) -> Result<Self> {
        let database = folder.join("flipt.db");
        let environment = vec![("FLIPT_DB_URL".to_owned(), format!("file:{}", database.display()))];
        Ok(Self { program: Binaries::find()?.flipt, folder: folder.to_owned(), environment })
    }

    /// The same with more environment variables; of several with one name the last counts.
    #[must_use]
    pub fn with_env(mut self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(environment);
        self
    }

    /// Runs `flipt` with these arguments.
    ///
    /// # Errors
    /// If it cannot be started; a command that fails is no error here.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        self.run_with_input(arguments, "")
    }

    /// The same, with a text on standard input.
    ///
    /// # Errors
    /// As [`Cli::run`].
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        let failed = |error: std::io::Error| Failure::new(format!("running flipt {arguments:?}: {error}"));
        let mut child = command(&self.program, &self.environment, &self.folder)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input may have ended before.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(failed)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        })
    }
}
