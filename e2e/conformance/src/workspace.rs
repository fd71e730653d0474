//! The folder, the ports and the environment of one scenario.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex, PoisonError},
};

use tempfile::TempDir;

use crate::Error;

/// A folder that is removed with this value, and what the processes working in it are told.
pub struct Workspace {
    folder: TempDir,
    /// Port of the REST API.
    pub http_port: u16,
    /// Port of the gRPC API.
    pub grpc_port: u16,
    environment: BTreeMap<String, String>,
}

impl Workspace {
    /// An empty folder with free ports.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Connection`].
    pub fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("flipt-conformance-").tempdir()?;
        let workspace =
            Self { http_port: free_port()?, grpc_port: free_port()?, environment: BTreeMap::new(), folder };
        for name in ["files", "home"] {
            let path = workspace.folder().join(name);
            fs::create_dir(&path).map_err(Error::file(path))?;
        }
        Ok(workspace)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where processes run.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder().join("files")
    }

    /// Adds to what every process is told.
    pub fn set_environment(&mut self, environment: BTreeMap<String, String>) {
        self.environment = environment;
    }

    /// Writes files below [`Workspace::files`].
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, files: &BTreeMap<String, String>) -> Result<(), Error> {
        for (name, text) in files {
            let path = self.files().join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(Error::file(parent))?;
            }
            fs::write(&path, text).map_err(Error::file(path))?;
        }
        Ok(())
    }

    /// The binary, in the working folder and with the scenario's environment and no other.
    pub(crate) fn command(&self, binary: &Path) -> Command {
        let folder = self.folder().display();
        let mut command = Command::new(binary);
        command
            .current_dir(self.files())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.folder().join("home"))
            .env("FLIPT_DB_URL", format!("file:{folder}/flipt.db"))
            .env("FLIPT_SERVER_HOST", "127.0.0.1")
            .env("FLIPT_SERVER_HTTP_PORT", self.http_port.to_string())
            .env("FLIPT_SERVER_GRPC_PORT", self.grpc_port.to_string())
            .env("FLIPT_LOG_LEVEL", "error")
            .env("FLIPT_META_CHECK_FOR_UPDATES", "false")
            .env("FLIPT_META_TELEMETRY_ENABLED", "false")
            .env("FLIPT_META_STATE_DIRECTORY", format!("{folder}/state"))
            .envs(&self.environment);
        command
    }
}

/// A port that nobody listens on and that this process gave to nobody before.
fn free_port() -> Result<u16, Error> {
    static GIVEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}
