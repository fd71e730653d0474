//! A private PgBouncer, which hands server connections from one transaction to the next.

use std::{fs, net::TcpStream};

use tempfile::TempDir;

use crate::{
    Postgres, folder, free_port,
    process::{self, ServerProcess},
};

/// Debian's owner of PostgreSQL's processes, whom its package of PgBouncer uses as well.
const USER: &str = "postgres";

/// PgBouncer in transaction mode, with three connections to a server and no support for prepared statements.
#[derive(Debug)]
pub struct PgBouncer {
    _process: ServerProcess,
    _folder: TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts one in front of a server.
    ///
    /// # Panics
    /// If PgBouncer is not installed or does not start.
    #[must_use]
    pub fn start(server: &Postgres) -> Self {
        let folder = folder::create();
        let port = free_port();
        let users = folder.path().join("users");
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 3\n\
             max_client_conn = 200\nunix_socket_dir =\n",
            server.port(),
            users.display()
        );
        fs::write(&settings, text).unwrap();
        process::give(folder.path(), USER);
        let mut process = ServerProcess::new(folder.path().join("log"));
        let program = process::find("pgbouncer", &["/usr/sbin"], "pgbouncer");
        process.start(USER, &program, vec![settings.into_os_string()], || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { _process: process, _folder: folder, port }
    }

    /// URL of a database through it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}
