//! The form of a recorded scenario.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// One recorded scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it promises.
    pub title: String,
    /// Where the promise is specified.
    pub spec: String,
    /// How the server is run.
    #[serde(default)]
    pub server: ServerOptions,
    /// Document to import before the server starts.
    pub import: Option<String>,
    /// Files to write into the working folder, by path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// What is asked, in order.
    pub steps: Vec<Step>,
}

/// How the server of a scenario is run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// Environment of every process of the scenario.
    pub env: BTreeMap<String, String>,
    /// Arguments of the server.
    pub args: Vec<String>,
    /// Whether there is a server at all.
    pub start: bool,
    /// Database to start with; a path beside the case file.
    pub database: Option<PathBuf>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { env: BTreeMap::new(), args: Vec::new(), start: true, database: None }
    }
}

/// One step: what is asked, and the recorded answer.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// What it is called; names may repeat within a scenario.
    pub name: String,
    /// Why the recorded answer need not be copied, if so.
    pub defect: Option<String>,
    /// Variables to take from the answer: name to path, or to `header:` with a header's name.
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    /// Paths at which only the kind of value counts.
    #[serde(default)]
    pub varies: Vec<String>,
    /// Paths of lists whose order does not count.
    #[serde(default)]
    pub unordered: Vec<String>,
    /// How it is asked.
    #[serde(flatten)]
    pub exchange: Exchange,
}

/// How a step is asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "transport", rename_all = "lowercase")]
pub enum Exchange {
    /// Describes a request to the REST port.
    Http {
        /// What is sent.
        request: HttpRequest,
        /// What came back.
        response: HttpResponse,
    },
    /// Describes a call to the gRPC port.
    Grpc {
        /// What is sent.
        request: GrpcRequest,
        /// What came back.
        response: GrpcResponse,
    },
    /// Describes a run of the binary.
    Cli(Box<Run>),
}

/// Request to the REST port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Verb.
    pub method: String,
    /// Path and query, sent byte for byte.
    pub path: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body, sent as JSON.
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Value>,
    /// Body, sent as it is.
    pub raw: Option<String>,
}

/// Expected answer of the REST port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Headers; `None` means absent.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// Body, if it is JSON.
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Value>,
    /// Body, if it is not JSON.
    pub text: Option<String>,
}

/// Call to the gRPC port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcRequest {
    /// `package.Service/Method`.
    pub method: String,
    /// Message as proto3 JSON.
    pub message: Value,
    /// Metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Expected answer of the gRPC port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcResponse {
    /// Name of the status code.
    pub code: String,
    /// Text of the status, if it is a failure.
    pub message: Option<String>,
    /// Message as proto3 JSON, if it is a success.
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Value>,
    /// Metadata; `None` means absent.
    #[serde(default)]
    pub metadata: BTreeMap<String, Option<String>>,
}

/// Run of the binary, with what it leaves.
#[derive(Debug, Deserialize)]
pub struct Run {
    /// Arguments.
    pub args: Vec<String>,
    /// Standard input.
    pub stdin: Option<String>,
    /// Files to write into the working folder first, by path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Environment, besides that of the scenario.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Exit code.
    pub exit_code: i32,
    /// Whole standard output.
    pub stdout: Option<String>,
    /// Parts of standard output.
    #[serde(default)]
    pub stdout_contains: Vec<String>,
    /// Standard output as JSON.
    #[serde(default, deserialize_with = "present")]
    pub stdout_json: Option<Value>,
    /// Whole standard error.
    pub stderr: Option<String>,
    /// Parts of standard error.
    #[serde(default)]
    pub stderr_contains: Vec<String>,
    /// Files it leaves in the working folder.
    #[serde(default)]
    pub output_files: BTreeMap<String, String>,
}

/// `null` is a value here, unlike a missing key.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Scenario {
    /// Reads the case file `<area>/<name>`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Form`].
    pub fn read(file: &str) -> Result<Self, Error> {
        let path = cases().join(format!("{file}.json"));
        let text = fs::read(&path).map_err(Error::file(&path))?;
        serde_json::from_slice(&text).map_err(|error| Error::Form { path, reason: error.to_string() })
    }

    /// What each step is called in `deviations.toml`: its name, with `#2`, `#3` … for later ones of the same
    /// name.
    #[must_use]
    pub fn step_names(&self) -> Vec<String> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        self.steps
            .iter()
            .map(|step| {
                let count = seen.entry(&step.name).or_default();
                *count += 1;
                if *count == 1 { step.name.clone() } else { format!("{}#{count}", step.name) }
            })
            .collect()
    }
}

pub(crate) fn cases() -> PathBuf {
    crate::root().join("cases")
}

/// The areas that there are cases for, sorted.
///
/// # Errors
/// [`Error::File`].
pub fn areas() -> Result<Vec<String>, Error> {
    names(&cases(), |path| path.is_dir())
}

/// The case files of an area as `<area>/<name>`, sorted.
///
/// # Errors
/// [`Error::File`].
pub fn files_of(area: &str) -> Result<Vec<String>, Error> {
    let stems = names(&cases().join(area), |path| path.extension().is_some_and(|end| end == "json"))?;
    Ok(stems.into_iter().map(|stem| format!("{area}/{stem}")).collect())
}

fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        if wanted(&path) {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
