//! A private MariaDB.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{
    Durability, folder, free_port,
    process::{self, ServerProcess},
};

/// Debian's owner of MariaDB's processes.
const USER: &str = "mysql";

/// A MariaDB server with the user `flipt` (password `flipt`), who may do everything.
#[derive(Debug)]
pub struct MariaDb {
    process: ServerProcess,
    folder: TempDir,
    port: u16,
    durability: Durability,
    databases: AtomicU32,
}

impl MariaDb {
    /// Makes and starts a server.
    ///
    /// # Panics
    /// If MariaDB is not installed or does not start; so for everything here.
    #[must_use]
    pub fn start(durability: Durability) -> Self {
        let folder = folder::create();
        process::give(folder.path(), USER);
        let data = format!("--datadir={}", folder.path().join("data").display());
        process::run(
            USER,
            &program("mariadb-install-db"),
            &[
                "--no-defaults",
                &data,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ],
        );
        let process = ServerProcess::new(folder.path().join("log"));
        let mut server =
            Self { process, folder, port: free_port(), durability, databases: AtomicU32::new(0) };
        server.restart();
        server.sql(
            "mysql",
            "CREATE USER flipt@'127.0.0.1' IDENTIFIED BY 'flipt'; GRANT ALL ON *.* TO flipt@'127.0.0.1'",
        );
        server
    }

    /// Starts the server again on its port and data; one that still runs is killed first.
    pub fn restart(&mut self) {
        let folder = self.folder.path();
        let flush = if self.durability == Durability::Machine { 1 } else { 2 };
        let arguments = [
            "--no-defaults".to_owned(),
            format!("--datadir={}", folder.join("data").display()),
            format!("--socket={}", self.socket().display()),
            format!("--pid-file={}", folder.join("pid").display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", self.port),
            format!("--innodb-flush-log-at-trx-commit={flush}"),
            "--skip-name-resolve".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
            "--max-connections=300".to_owned(),
            "--character-set-server=utf8mb4".to_owned(),
        ];
        let (ready, socket) = (program("mariadb-admin"), self.socket());
        self.process.start(USER, &program("mariadbd"), arguments.iter().map(Into::into).collect(), || {
            Command::new(&ready)
                .args(["--no-defaults", "--user=root", "--silent", "ping"])
                .arg(format!("--socket={}", socket.display()))
                .output()
                .is_ok_and(|output| output.status.success())
        });
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A new, empty database; gives its URL.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("mysql", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("mysql://flipt:flipt@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements in a database and gives what is printed.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let socket = format!("--socket={}", self.socket().display());
        let output = process::run(
            USER,
            &program("mariadb"),
            &[
                "--no-defaults",
                &socket,
                "--user=root",
                "--batch",
                "--skip-column-names",
                "--execute",
                sql,
                database,
            ],
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a file of statements in a database.
    pub fn load(&self, database: &str, file: &Path) {
        self.sql(database, &format!("source {}", file.display()));
    }

    /// What the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn program(name: &str) -> PathBuf {
    process::find(name, &["/usr/sbin"], "mariadb-server")
}
