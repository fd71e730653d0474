//! A private PostgreSQL.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Durability, folder, free_port,
    process::{self, ServerProcess},
};

/// Debian's owner of PostgreSQL's processes.
const USER: &str = "postgres";
/// Where Debian keeps the programs of a version.
const FOLDERS: &[&str] = &["/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/15/bin"];

/// A PostgreSQL server with the superuser `postgres` (no password).
#[derive(Debug)]
pub struct Postgres {
    process: ServerProcess,
    folder: TempDir,
    port: u16,
    durability: Durability,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes and starts a server.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start; so for everything here.
    #[must_use]
    pub fn start(durability: Durability) -> Self {
        let folder = folder::create();
        process::give(folder.path(), USER);
        let data = folder.path().join("data").display().to_string();
        process::run(
            USER,
            &program("initdb"),
            &[
                "--pgdata",
                &data,
                "--username",
                "postgres",
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--no-sync",
            ],
        );
        let process = ServerProcess::new(folder.path().join("log"));
        let mut server =
            Self { process, folder, port: free_port(), durability, databases: AtomicU32::new(0) };
        server.restart();
        server
    }

    /// Makes and starts a replica that follows a server and only reads.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn replica_of(primary: &Self) -> Self {
        let folder = folder::create();
        process::give(folder.path(), USER);
        let data = folder.path().join("data").display().to_string();
        let port = primary.port.to_string();
        process::run(
            USER,
            &program("pg_basebackup"),
            &[
                "--pgdata",
                &data,
                "--host",
                "127.0.0.1",
                "--port",
                &port,
                "--username",
                "postgres",
                "--write-recovery-conf",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--no-sync",
            ],
        );
        let process = ServerProcess::new(folder.path().join("log"));
        let durability = primary.durability;
        let mut server =
            Self { process, folder, port: free_port(), durability, databases: AtomicU32::new(0) };
        server.restart();
        server
    }

    /// Starts the server again on its port and data; one that still runs is killed first.
    pub fn restart(&mut self) {
        self.process.kill();
        let data = self.folder.path().join("data");
        let sync = if self.durability == Durability::Machine { "on" } else { "off" };
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.path().display()),
            format!("fsync={sync}"),
            "max_connections=300".to_owned(),
            "shared_buffers=64MB".to_owned(),
        ];
        let mut arguments = vec!["-D".into(), data.into_os_string()];
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
        let ready = program("pg_isready");
        let port = self.port.to_string();
        // The backends of a killed server let go of its memory within moments; until then it refuses to start.
        let deadline = Instant::now() + process::PATIENCE;
        while Instant::now() < deadline {
            let left = std::fs::read_dir(self.folder.path().join("data")).is_ok_and(|mut files| {
                files.any(|file| file.is_ok_and(|file| file.file_name() == "postmaster.pid"))
            });
            if !left || !self.has_backends() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.process.start(USER, &program("postgres"), arguments, || {
            Command::new(&ready)
                .args(["--quiet", "--host", "127.0.0.1", "--port", &port])
                .status()
                .is_ok_and(|status| status.success())
        });
    }

    /// Whether a process of this server is still there.
    fn has_backends(&self) -> bool {
        let data = self.folder.path().join("data");
        std::fs::read_dir("/proc").is_ok_and(|mut processes| {
            processes.any(|process| {
                process.is_ok_and(|process| {
                    std::fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == data)
                })
            })
        })
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the server at once, as an administrator would (SIGINT, "fast shutdown").
    pub fn stop(&mut self) {
        self.process.end(Signal::INT);
    }

    /// A new, empty database; gives its URL.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements, or a script with `\i`, in a database and gives what is printed.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let output = process::run(
            USER,
            &program("psql"),
            &[
                "--host",
                "127.0.0.1",
                "--port",
                &port,
                "--username",
                "postgres",
                "--dbname",
                database,
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set",
                "ON_ERROR_STOP=1",
                "--command",
                sql,
            ],
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a file of statements in a database.
    pub fn load(&self, database: &str, file: &std::path::Path) {
        let port = self.port.to_string();
        let file = file.display().to_string();
        process::run(
            USER,
            &program("psql"),
            &[
                "--host",
                "127.0.0.1",
                "--port",
                &port,
                "--username",
                "postgres",
                "--dbname",
                database,
                "--no-psqlrc",
                "--quiet",
                "--set",
                "ON_ERROR_STOP=1",
                "--file",
                &file,
            ],
        );
    }

    /// What the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.pid()
    }
}

fn program(name: &str) -> PathBuf {
    process::find(name, FOLDERS, "postgresql")
}
