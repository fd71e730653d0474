//! An S3 server that can be killed and started again on the same data.

use std::path::{Path, PathBuf};

use flipt_snapshots::{Location, Store, store::Credentials};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{Binaries, Failure, PATIENCE, Process, Result, free_port};

const ACCESS_KEY: &str = "AKIAE2ETESTKEY";
const SECRET_KEY: &str = "e2e-secret-that-protects-nothing";

/// A running S3 server; its data goes with its value.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl S3 {
    /// Starts a server with these buckets.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn start(buckets: &[&str]) -> Result<Self> {
        let folder = TempDir::new().map_err(|error| Failure::new(format!("no folder for S3: {error}")))?;
        let port = free_port();
        let root = folder.path().join("data");
        let mut arguments = vec![
            "--listen".to_owned(),
            format!("127.0.0.1:{port}"),
            "--root".to_owned(),
            root.display().to_string(),
        ];
        for bucket in buckets {
            arguments.extend(["--bucket".to_owned(), (*bucket).to_owned()]);
        }
        let environment = vec![
            ("DEV_S3_ACCESS_KEY".to_owned(), ACCESS_KEY.to_owned()),
            ("DEV_S3_SECRET_KEY".to_owned(), SECRET_KEY.to_owned()),
        ];
        let log = folder.path().join("s3.log");
        let process = Process::start(&Binaries::find()?.dev_s3, arguments, environment, &log)?;
        let mut s3 = Self { process, port, folder };
        s3.listens().await?;
        Ok(s3)
    }

    async fn listens(&mut self) -> Result<()> {
        let port = self.port;
        self.process
            .wait_until_it("listens", PATIENCE, || async move {
                TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await
    }

    /// Kills the server with SIGKILL. The data stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same port and data.
    ///
    /// # Errors
    /// As [`S3::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.listens().await
    }

    /// Address of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The location of `bucket` or `bucket/prefix`, as settings of server and sidecar take it.
    #[must_use]
    pub fn at(&self, place: &str) -> String {
        format!("s3://{place}?region=us-east-1&endpoint={}&pathStyle=true", self.endpoint())
    }

    /// Environment variables with the credentials that the server accepts.
    #[must_use]
    pub fn credentials(&self) -> Vec<(String, String)> {
        credentials(ACCESS_KEY, SECRET_KEY)
    }

    /// Environment variables with credentials that the server does not accept.
    #[must_use]
    pub fn wrong_credentials(&self) -> Vec<(String, String)> {
        credentials("AKIASOMEBODYELSE", "not-the-secret")
    }

    /// A client of its own for what stands at a place, for looking and for doing damage.
    ///
    /// # Errors
    /// If there can be no such place.
    pub async fn store(&self, place: &str) -> Result<Box<dyn Store>> {
        let location: Location = self.at(place).parse().map_err(|error| Failure::new(format!("{error}")))?;
        let credentials = Credentials::Static {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: SECRET_KEY.to_owned(),
            session_token: None,
        };
        flipt_snapshots::open(&location.with_credentials(credentials))
            .await
            .map_err(|error| Failure::new(error.to_string()))
    }

    /// Folder with the data; its first level are the buckets.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Path::new(self.folder.path()).join("data")
    }
}

fn credentials(access_key: &str, secret_key: &str) -> Vec<(String, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID".to_owned(), access_key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), secret_key.to_owned()),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
    ]
}
