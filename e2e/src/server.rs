//! The server program on a database file.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Binaries, Cli, Failure, PATIENCE, Process, Result, free_port,
    grpc::Grpc,
    http::{self, Answer},
    until,
};

/// What records of errors say when no connection was free in time, or no turn to write.
const LATE: [&str; 2] = ["pool timed out", "writes have been waiting"];

/// How a server is to run.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
}

impl ServerOptions {
    /// A server on a database of its own that publishes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes snapshots to this location, with a short debounce.
    #[must_use]
    pub fn publish_to(self, location: &str) -> Self {
        self.with_env([
            ("FLIPT_SNAPSHOTS_PUBLISH_URL".to_owned(), location.to_owned()),
            ("FLIPT_SNAPSHOTS_PUBLISH_DEBOUNCE".to_owned(), "50ms".to_owned()),
        ])
    }

    /// With these environment variables; of several with one name the last counts.
    #[must_use]
    pub fn with_env(mut self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(environment);
        self
    }

    /// With these arguments.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// On the database `flipt.db` in this folder, which stays when the server goes.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }
}

/// A running server. It ends with its value; its folder too, unless one was given.
#[derive(Debug)]
pub struct Server {
    process: Process,
    http_port: u16,
    grpc_port: u16,
    folder: PathBuf,
    _own_folder: Option<TempDir>,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// If it ends or does not answer in time; the text holds its output.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let mut server = Self::spawn(options)?;
        server.answers().await?;
        Ok(server)
    }

    /// Starts a server without waiting for anything.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(options: ServerOptions) -> Result<Self> {
        let own_folder = match &options.folder {
            Some(_) => None,
            None => Some(
                TempDir::new().map_err(|error| Failure::new(format!("no folder for the server: {error}")))?,
            ),
        };
        let folder = match (&options.folder, &own_folder) {
            (Some(folder), _) => folder.clone(),
            (None, Some(own)) => own.path().to_owned(),
            (None, None) => return Err(Failure::new("no folder for the server")),
        };
        let (http_port, grpc_port) = (free_port(), free_port());
        let mut environment = vec![
            ("FLIPT_DB_URL".to_owned(), format!("file:{}", folder.join("flipt.db").display())),
            ("FLIPT_SERVER_HOST".to_owned(), "127.0.0.1".to_owned()),
            ("FLIPT_SERVER_HTTP_PORT".to_owned(), http_port.to_string()),
            ("FLIPT_SERVER_GRPC_PORT".to_owned(), grpc_port.to_string()),
        ];
        environment.extend(options.environment);
        let log = folder.join("server.log");
        let process = Process::start(&Binaries::find()?.flipt, options.arguments, environment, &log)?;
        Ok(Self { process, http_port, grpc_port, folder, _own_folder: own_folder })
    }

    async fn answers(&mut self) -> Result<()> {
        let url = self.url("/health");
        self.process
            .wait_until_it("answers", PATIENCE, || {
                let asking = http::get(url.clone());
                async move { asking.await.is_ok_and(|answer| answer.status == 200) }
            })
            .await
    }

    /// The process, to look at or to end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the server with SIGKILL. Its files stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same ports and files, and waits until it answers.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.answers().await
    }

    /// Everything it has written.
    #[must_use]
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// Waits until it has written `text`.
    ///
    /// # Errors
    /// With all that it has written, after [`PATIENCE`](crate::PATIENCE).
    pub async fn says(&self, text: &str) -> Result<()> {
        self.process.says(text).await
    }

    /// What it has logged as errors, but for those that a busy machine explains: requests had to wait for too long, or
    /// the database could not be read for a while.
    ///
    /// # Errors
    /// If the database cannot be read again.
    pub async fn errors(&self) -> Result<Vec<String>> {
        let (unreadable, readable) = ("database not readable", "database readable again");
        until("the database can be read again", PATIENCE, || async {
            let logs = self.logs();
            logs.matches(unreadable).count() == logs.matches(readable).count()
        })
        .await?;
        let is_explained = |line: &str| {
            (line.contains(unreadable) && line.contains("failed to connect to database"))
                || LATE.iter().any(|text| line.contains(text))
        };
        let logs = self.logs();
        let errors = logs.lines().filter(|line| line.contains("\tERROR\t") && !is_explained(line));
        Ok(errors.map(str::to_owned).collect())
    }

    /// Folder with its database and its log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command line on the same database.
    ///
    /// # Errors
    /// If `flipt` has not been built.
    pub fn cli(&self) -> Result<Cli> {
        Cli::new(&self.folder)
    }

    /// Port of REST.
    #[must_use]
    pub const fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Address of REST with this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// Address of gRPC.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// gRPC clients.
    ///
    /// # Errors
    /// Never in practice: the address is our own.
    pub fn grpc(&self) -> Result<Grpc> {
        Grpc::to(&self.grpc_url())
    }

    /// Calls the REST API and answers what it says, whatever it is.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        http::request(method, self.url(path)).json(body).send().await
    }

    /// Changes something through the REST API, which must answer 200.
    ///
    /// # Errors
    /// With the answer, if it is another.
    pub async fn change(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        self.call(method, path, &body)
            .await?
            .ok()
            .map_err(|failure| Failure::new(format!("{method} {path}: {failure}")))
    }

    /// Value of a metric, as [`Answer::metric`].
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>> {
        Ok(http::get(self.url("/metrics")).await?.metric(name))
    }

    /// Evaluates a boolean flag of the namespace `default` on the server itself.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub async fn boolean(&self, flag: &str, entity: &str) -> Result<bool> {
        let body = serde_json::json!({ "flagKey": flag, "entityId": entity });
        let answer = self.change("POST", "/evaluate/v1/boolean", body).await?;
        Ok(answer["enabled"] == true)
    }
}
