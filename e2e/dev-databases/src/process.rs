//! A server process that never outlives the process that started it.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Longest time until a server answers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs, or ran.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    log: PathBuf,
    running: Option<(Pid, JoinHandle<()>)>,
}

/// Arguments in front of a program that make it run as this user if we are root, which servers refuse.
fn as_user(user: &str) -> Vec<OsString> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    ["--reuid", user, "--regid", user, "--clear-groups"].iter().map(OsString::from).collect()
}

/// Runs a program to its end as a server's user.
///
/// # Panics
/// If it cannot be started or fails.
pub(crate) fn run(user: &str, program: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("setpriv")
        .args(as_user(user))
        .arg("--")
        .arg(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(
        output.status.success(),
        "{} ended with {}:\n{}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Gives a folder to a server's user if we are root.
pub(crate) fn give(folder: &Path, user: &str) {
    if geteuid().is_root() {
        let given = Command::new("chown").arg("-R").arg(format!("{user}:")).arg(folder).status();
        assert!(given.is_ok_and(|status| status.success()), "chown {user} {}", folder.display());
    }
}

/// The program with this name: in one of the folders, or where programs are.
///
/// # Panics
/// If there is none.
pub(crate) fn find(name: &str, folders: &[&str], package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|program| program.exists())
        .unwrap_or_else(|| panic!("{name} is missing: run `make setup`, or apt-get install {package}"))
}

impl ServerProcess {
    pub(crate) const fn new(log: PathBuf) -> Self {
        Self { log, running: None }
    }

    /// Starts a program as this user and waits until the check answers true.
    ///
    /// # Panics
    /// If it ends, or takes too long; with its output.
    pub(crate) fn start(
        &mut self,
        user: &str,
        program: &Path,
        arguments: Vec<OsString>,
        check: impl Fn() -> bool,
    ) {
        self.kill();
        let output = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log file");
        let errors = output.try_clone().expect("a second handle");
        let mut command = Command::new("setpriv");
        command.args(as_user(user)).args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.current_dir("/").stdin(Stdio::null()).stdout(output).stderr(errors);
        let (started, starting) = mpsc::channel();
        // The kernel ends the server with the thread that started it: this one lives as long as the server.
        let keeper = thread::spawn(move || {
            let mut child = command.spawn().expect("setpriv of util-linux");
            let _ = started.send(Pid::from_child(&child));
            let _ = child.wait();
        });
        let pid = starting.recv().expect("a process id");
        self.running = Some((pid, keeper));
        let deadline = Instant::now() + PATIENCE;
        while !check() {
            let ended = self.running.as_ref().is_none_or(|(_, keeper)| keeper.is_finished());
            assert!(
                !ended && Instant::now() < deadline,
                "{} {}; its output:\n{}",
                program.display(),
                if ended { "ended" } else { "does not answer" },
                fs::read_to_string(&self.log).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills with SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal that ends the server, and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) {
        if let Some((pid, keeper)) = self.running.take() {
            // An error means that it has ended already.
            let _ = kill_process(pid, signal);
            let _ = keeper.join();
        }
    }

    /// Process id while it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|(pid, _)| pid.as_raw_nonzero().get())
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
