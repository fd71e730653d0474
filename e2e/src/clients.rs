//! Flipt's own clients, from their registries, run to their end as programs of `e2e/clients`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{Failure, Result};

/// Longest time that a program may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time that installing the clients of a language may take; `make clients` has usually done it before.
const INSTALLATION: Duration = Duration::from_secs(900);

/// Language that a client is written in, with its package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Node,
    Python,
    Rust,
}

impl Language {
    const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }
}

/// A client that is about to run.
#[derive(Debug, Clone)]
pub struct Client {
    language: Language,
    script: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    input: String,
}

impl Client {
    /// The Node program of this name in `e2e/clients/node`.
    #[must_use]
    pub const fn node(script: &'static str) -> Self {
        Self::new(Language::Node, script)
    }

    /// The Python program of this name in `e2e/clients/python`.
    #[must_use]
    pub const fn python(script: &'static str) -> Self {
        Self::new(Language::Python, script)
    }

    /// The program in `e2e/clients/rust`.
    #[must_use]
    pub const fn rust() -> Self {
        Self::new(Language::Rust, "flipt-e2e-rust-client")
    }

    const fn new(language: Language, script: &'static str) -> Self {
        Self { language, script, arguments: Vec::new(), environment: Vec::new(), input: String::new() }
    }

    /// With this argument, after those before.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this text on standard input.
    #[must_use]
    pub fn input(self, input: String) -> Self {
        Self { input, ..self }
    }

    /// Runs the client, and gives the JSON that it printed.
    ///
    /// # Errors
    /// If its package manager cannot install it, it fails, takes too long, or prints something else; the text
    /// holds its output.
    pub async fn run(self) -> Result<Value> {
        let output = self.output().await?;
        serde_json::from_str(output.trim())
            .map_err(|error| Failure::new(format!("{} printed no JSON ({error}): {output}", self.script)))
    }

    /// Runs the client, and gives the lines of JSON that it printed.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub async fn lines(self) -> Result<Vec<Value>> {
        let output = self.output().await?;
        output
            .lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|error| {
                    Failure::new(format!("{} printed no JSON ({error}): {line}", self.script))
                })
            })
            .collect()
    }

    async fn output(&self) -> Result<String> {
        let installed = installed(self.language).await?;
        let folder = folder().join(self.language.name());
        let mut command = match self.language {
            Language::Node => {
                let mut command = Command::new(installed.join("node"));
                command.env("NODE_PATH", installed.join("node_modules"));
                command.arg(folder.join(self.script).with_extension("cjs"));
                command
            }
            Language::Python => {
                let mut command = Command::new(installed.join("bin/python"));
                // No byte code beside the scripts: the checkout stays as it is.
                command.arg("-B").arg(folder.join(self.script).with_extension("py"));
                command
            }
            Language::Rust => Command::new(installed),
        };
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        finish(command, self.script, self.input.clone(), TIMEOUT).await
    }
}

/// Folder with the clients' programs.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Where the clients of a language are, after they were installed if need be.
async fn installed(language: Language) -> Result<PathBuf> {
    let mut command = Command::new(folder().join("install"));
    command.arg(language.name());
    let what = format!("e2e/clients/install {}", language.name());
    let output = finish(command, &what, String::new(), INSTALLATION).await?;
    output
        .lines()
        .next_back()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new(format!("{what} did not say where they are")))
}

async fn finish(mut command: Command, what: &str, input: String, patience: Duration) -> Result<String> {
    let failed = |error: std::io::Error| Failure::new(format!("running {what}: {error}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let writing = async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input may have ended before.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let running = async { tokio::join!(writing, child.wait_with_output()).1 };
    let output = tokio::time::timeout(patience, running)
        .await
        .map_err(|_| Failure::new(format!("{what} did not end within {} s", patience.as_secs())))?
        .map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Failure::new(format!(
        "{what} ended with {}: {}{}",
        output.status,
        text(&output.stderr),
        text(&output.stdout)
    )))
}
