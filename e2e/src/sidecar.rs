//! The sidecar program, following a published snapshot.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Binaries, Failure, PATIENCE, Process, Result, free_port,
    grpc::Grpc,
    http::{self, Answer},
};

/// Whom a sidecar lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Everybody.
    None,
    /// Callers from the pod with this uid.
    SamePod {
        /// Uid of the pod.
        uid: String,
    },
    /// Callers that these entries name, as `--auth-allow` takes them.
    Allowlist(Vec<String>),
}

/// How a sidecar is to run.
#[derive(Debug, Clone)]
pub struct SidecarOptions {
    source: String,
    auth: Auth,
    jwks_file: Option<PathBuf>,
    issuer: String,
    start_policy: String,
    cache: bool,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl SidecarOptions {
    /// A sidecar that follows this location every second, keeps a cache, lets everybody in, and starts only
    /// with a snapshot.
    #[must_use]
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            auth: Auth::None,
            jwks_file: None,
            issuer: crate::Claims::ISSUER.to_owned(),
            start_policy: "block".to_owned(),
            cache: true,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Lets in only these callers, by tokens of the issuer [`crate::Claims::ISSUER`] and the keys of this file.
    #[must_use]
    pub fn admitting(self, auth: Auth, jwks_file: &Path) -> Self {
        Self { auth, jwks_file: Some(jwks_file.to_owned()), ..self }
    }

    /// Is not told the issuer; it is read from the file `issuer` beside the keys.
    #[must_use]
    pub fn with_issuer_file(self) -> Self {
        Self { issuer: String::new(), ..self }
    }

    /// With this start policy: `block` or `open-after=…`.
    #[must_use]
    pub fn start_policy(self, policy: &str) -> Self {
        Self { start_policy: policy.to_owned(), ..self }
    }

    /// Keeps nothing on disk.
    #[must_use]
    pub fn without_cache(self) -> Self {
        Self { cache: false, ..self }
    }

    /// With these arguments, which come last.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// With these environment variables; of several with one name the last counts.
    #[must_use]
    pub fn with_env(mut self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(environment);
        self
    }
}

/// A running sidecar. It ends with its value, its folder too.
#[derive(Debug)]
pub struct Sidecar {
    process: Process,
    http_port: u16,
    grpc_port: u16,
    health_port: u16,
    folder: TempDir,
}

impl Sidecar {
    /// Starts a sidecar and waits until its startup probe passes.
    ///
    /// # Errors
    /// If it ends or does not start in time; the text holds its output.
    pub async fn start(options: SidecarOptions) -> Result<Self> {
        let mut sidecar = Self::spawn(options)?;
        sidecar.until_probe("/startupz", 200, PATIENCE).await?;
        Ok(sidecar)
    }

    /// Starts a sidecar and waits only until it listens, with or without a snapshot.
    ///
    /// # Errors
    /// As [`Sidecar::start`].
    pub async fn start_listening(options: SidecarOptions) -> Result<Self> {
        let mut sidecar = Self::spawn(options)?;
        sidecar.until_probe("/livez", 200, PATIENCE).await?;
        Ok(sidecar)
    }

    /// Starts a sidecar without waiting for anything.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(options: SidecarOptions) -> Result<Self> {
        let folder =
            TempDir::new().map_err(|error| Failure::new(format!("no folder for a sidecar: {error}")))?;
        let (http_port, grpc_port, health_port) = (free_port(), free_port(), free_port());
        let mut arguments: Vec<String> = Vec::new();
        let mut set = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        set("source", options.source);
        set("poll-interval", "1s".to_owned());
        set("listen", format!("127.0.0.1:{http_port}"));
        set("grpc-listen", format!("127.0.0.1:{grpc_port}"));
        set("health-listen", format!("127.0.0.1:{health_port}"));
        set("start-policy", options.start_policy);
        if options.cache {
            set("cache-dir", folder.path().join("cache").display().to_string());
        }
        if options.auth != Auth::None && !options.issuer.is_empty() {
            set("auth-issuer", options.issuer);
        }
        if let Some(path) = &options.jwks_file {
            set("auth-jwks-file", path.display().to_string());
        }
        match options.auth {
            Auth::None => set("auth-mode", "none".to_owned()),
            Auth::SamePod { uid } => {
                set("auth-mode", "same-pod".to_owned());
                set("pod-uid", uid);
            }
            Auth::Allowlist(entries) => {
                set("auth-mode", "allowlist".to_owned());
                for entry in entries {
                    set("auth-allow", entry);
                }
            }
        }
        arguments.extend(options.arguments);
        let log = folder.path().join("sidecar.log");
        let process = Process::start(&Binaries::find()?.sidecar, arguments, options.environment, &log)?;
        Ok(Self { process, http_port, grpc_port, health_port, folder })
    }

    /// Waits until a probe answers with this status.
    ///
    /// # Errors
    /// If it does not in time, or the sidecar ends; the text holds its output.
    pub async fn until_probe(&mut self, path: &str, status: u16, patience: Duration) -> Result<()> {
        let url = self.health_url(path);
        self.process
            .wait_until_it(&format!("answers {status} to {path}"), patience, || {
                let asking = http::get(url.clone());
                async move { asking.await.is_ok_and(|answer| answer.status == status) }
            })
            .await
    }

    /// Status of a probe, or of any other path of the health listener.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn probe(&self, path: &str) -> Result<u16> {
        Ok(http::get(self.health_url(path)).await?.status)
    }

    /// The process, to look at or to end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the sidecar with SIGKILL. Its cache stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the sidecar again the same way, on its cache, and waits only until it listens.
    ///
    /// # Errors
    /// As [`Sidecar::start_listening`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.until_probe("/livez", 200, PATIENCE).await
    }

    /// Removes its cache, as a new pod has none.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn remove_cache(&self) -> Result<()> {
        std::fs::remove_dir_all(self.cache_folder())
            .map_err(|error| Failure::new(format!("removing the cache: {error}")))
    }

    /// Folder with its cache.
    #[must_use]
    pub fn cache_folder(&self) -> PathBuf {
        self.folder.path().join("cache")
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

    /// Address of evaluation over HTTP with this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// Address of probes and metrics with this path.
    #[must_use]
    pub fn health_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.health_port)
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

    /// What it says about itself.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub async fn status(&self) -> Result<Value> {
        http::get(self.url("/status")).await?.ok()
    }

    /// Value of a metric, as [`Answer::metric`].
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>> {
        Ok(http::get(self.health_url("/metrics")).await?.metric(name))
    }

    /// Posts to an evaluation path, with this token.
    ///
    /// # Errors
    /// If no answer comes; any status is an answer.
    pub async fn post(&self, path: &str, body: &Value, token: Option<&str>) -> Result<Answer> {
        http::request("POST", self.url(path)).json(body).bearer(token).send().await
    }

    /// Evaluates a boolean flag of the namespace `default` for an entity.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub async fn boolean(&self, flag: &str, entity: &str) -> Result<bool> {
        let body = json!({ "flagKey": flag, "entityId": entity });
        Ok(self.post("/evaluate/v1/boolean", &body, None).await?.ok()?["enabled"] == true)
    }

    /// Evaluates a variant flag of the namespace `default` for an entity; answers the variant's key.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub async fn variant(&self, flag: &str, entity: &str, context: Value) -> Result<String> {
        let body = json!({ "flagKey": flag, "entityId": entity, "context": context });
        let answer = self.post("/evaluate/v1/variant", &body, None).await?.ok()?;
        Ok(answer["variantKey"].as_str().unwrap_or_default().to_owned())
    }
}
