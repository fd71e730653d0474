//! A child process whose output is kept and that ends with its value.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, PATIENCE, Result, until, until_some};

/// A program that runs, or ran.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program. Its environment is only what is given here, with a home in the log's folder, so that
    /// nothing of the caller's settings gets in. Output of both kinds is added to the file `log`.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(
        program: &Path,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        log: &Path,
    ) -> Result<Self> {
        let child = spawn(program, &arguments, &environment, log)?;
        Ok(Self { program: program.to_owned(), arguments, environment, log: log.to_owned(), child })
    }

    /// Starts the same program again, the same way; one that still runs is killed first.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_again(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.program, &self.arguments, &self.environment, &self.log)?;
        Ok(())
    }

    /// Kills with SIGKILL and waits for the end. Does nothing to a process that has ended.
    pub fn kill(&mut self) {
        // An error means that there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks to end with SIGTERM, and waits for it.
    ///
    /// # Errors
    /// If the process has not ended after `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // An error means that it has ended already, which is what is wanted.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        self.wait(patience).await
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// If it has not after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let what = format!("{} ended", self.program.display());
        until_some(&what, patience, || {
            let status = self.exit_status();
            async move { status }
        })
        .await
    }

    /// How the process ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the process, and those before it on the same log, wrote.
    #[must_use]
    pub fn logs(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the process has written `text`: what it tells of has often happened a moment before.
    ///
    /// # Errors
    /// With the process's output, after [`PATIENCE`].
    pub async fn says(&self, text: &str) -> Result<()> {
        until(&format!("{text:?} was written"), PATIENCE, || async { self.logs().contains(text) })
            .await
            .map_err(|failure| Failure::new(format!("{failure}; the output:\n{}", self.logs())))
    }

    /// Waits until `check` answers true; fails early if the process ends.
    ///
    /// # Errors
    /// With the process's output.
    pub(crate) async fn wait_until_it<F: Future<Output = bool>>(
        &mut self,
        what: &str,
        patience: Duration,
        mut check: impl FnMut() -> F,
    ) -> Result<()> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let waited = until_some(&format!("{name} {what}"), patience, || {
            let ended = self.exit_status();
            let checking = check();
            async move {
                match ended {
                    Some(status) => Some(Err(status)),
                    None => checking.await.then_some(Ok(())),
                }
            }
        })
        .await;
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => {
                Err(Failure::new(format!("{name} ended with {status}; its output:\n{}", self.logs())))
            }
            Err(failure) => Err(Failure::new(format!("{failure}; its output:\n{}", self.logs()))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command with nothing of the caller's environment but where programs and temporary files are.
pub(crate) fn command(program: &Path, environment: &[(String, String)], home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).stdin(Stdio::null());
    for name in ["PATH", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn spawn(
    program: &Path,
    arguments: &[String],
    environment: &[(String, String)],
    log: &Path,
) -> Result<Child> {
    let failed = |error: std::io::Error| Failure::new(format!("starting {}: {error}", program.display()));
    let home = log.parent().unwrap_or(Path::new("/"));
    let output: File = OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
    command(program, environment, home)
        .args(arguments)
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output)
        .spawn()
        .map_err(failed)
}
