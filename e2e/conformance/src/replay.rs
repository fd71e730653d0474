//! One scenario from start to end.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    Deviations, Error, Scenario, Server, Workspace,
    command::{self, Input},
    compare::{self, Rules},
    grpc, http,
    pattern::fits,
    scenario::{Exchange, GrpcRequest, GrpcResponse, HttpRequest, HttpResponse, Run, Step, cases},
    variables::Variables,
};

/// What became of a step.
#[derive(Debug)]
pub struct Outcome {
    /// What it is called in `deviations.toml`.
    pub step: String,
    /// How the answer differs from the recorded one; empty if it does not.
    pub differences: Vec<String>,
    /// Whether the recorded answer is a defect that need not be copied.
    pub is_defect: bool,
    /// Whether a value of ours was expected in place of a recorded one.
    pub is_replaced: bool,
}

/// Replays the case file `<area>/<name>` with this binary.
///
/// A scenario that cannot even start differs in every step.
///
/// # Errors
/// [`Error`] if the case file cannot be read.
pub fn replay(binary: &Path, file: &str, deviations: &Deviations) -> Result<Vec<Outcome>, Error> {
    let mut scenario = Scenario::read(file)?;
    let replaced = deviations.replace(file, &mut scenario);
    let names = scenario.step_names();
    let mut differences = Vec::new();
    match Replay::start(binary, file, &scenario) {
        Ok(mut replay) => {
            for step in &scenario.steps {
                differences.push(replay.step(step).unwrap_or_else(|error| vec![error.to_string()]));
            }
        }
        Err(error) => differences.resize_with(names.len(), || vec![format!("not started: {error}")]),
    }
    Ok(names
        .into_iter()
        .zip(differences)
        .zip(&scenario.steps)
        .zip(replaced)
        .map(|(((step, differences), recorded), is_replaced)| Outcome {
            step,
            differences,
            is_defect: recorded.defect.is_some(),
            is_replaced,
        })
        .collect())
}

struct Replay<'a> {
    binary: &'a Path,
    variables: Variables,
    // Declared before the workspace: the server ends before its folder goes.
    server: Option<Server>,
    workspace: Workspace,
}

/// An answer, whatever the transport, as far as captures read it.
struct Received<'a> {
    body: Option<&'a Value>,
    headers: &'a [(String, String)],
}

impl<'a> Replay<'a> {
    fn start(binary: &'a Path, file: &str, scenario: &Scenario) -> Result<Self, Error> {
        let mut workspace = Workspace::new()?;
        let mut variables = Variables::default();
        variables.set("dir", workspace.folder().display().to_string());
        variables.set("http_port", workspace.http_port.to_string());
        variables.set("grpc_port", workspace.grpc_port.to_string());
        variables.set("http_addr", format!("http://127.0.0.1:{}", workspace.http_port));
        variables.set("grpc_addr", format!("grpc://127.0.0.1:{}", workspace.grpc_port));
        workspace.set_environment(variables.map(&scenario.server.env));
        workspace.write(&variables.map(&scenario.files))?;
        if let Some(database) = &scenario.server.database {
            let source = cases().join(file).parent().map(|folder| folder.join(database)).unwrap_or_default();
            fs::copy(&source, workspace.folder().join("flipt.db")).map_err(Error::file(source))?;
        }
        let mut replay = Self { binary, variables, server: None, workspace };
        if let Some(document) = &scenario.import {
            replay.import(document)?;
        }
        if scenario.server.start {
            let arguments: Vec<String> =
                scenario.server.args.iter().map(|argument| replay.variables.text(argument)).collect();
            replay.server = Some(Server::start(binary, &replay.workspace, &arguments)?);
        }
        Ok(replay)
    }

    fn import(&self, document: &str) -> Result<(), Error> {
        let finished = command::run(
            self.binary,
            &self.workspace,
            &Input {
                arguments: vec!["import".to_owned(), "--stdin".to_owned()],
                stdin: document,
                ..Input::default()
            },
        )?;
        if finished.exit_code == 0 {
            return Ok(());
        }
        Err(Error::Process(format!("import failed: {}", finished.stderr)))
    }

    fn step(&mut self, step: &Step) -> Result<Vec<String>, Error> {
        match &step.exchange {
            Exchange::Http { request, response } => self.http(step, request, response),
            Exchange::Grpc { request, response } => self.grpc(step, request, response),
            Exchange::Cli(run) => self.cli(step, run),
        }
    }

    fn http(
        &mut self,
        step: &Step,
        request: &HttpRequest,
        expected: &HttpResponse,
    ) -> Result<Vec<String>, Error> {
        let mut headers: Vec<(String, String)> = self.variables.map(&request.headers).into_iter().collect();
        let body = match (&request.raw, &request.body) {
            (Some(raw), _) => self.variables.text(raw).into_bytes(),
            (None, Some(body)) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                }
                self.variables.json(body).to_string().into_bytes()
            }
            (None, None) => Vec::new(),
        };
        let path = self.variables.text(&request.path);
        let response = http::Connection::open(self.workspace.http_port)?.send(&http::Request {
            method: &request.method,
            path: &path,
            headers,
            body,
        })?;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        let json: Option<Value> = serde_json::from_str(&text).ok();
        let mut found = self.capture(step, &Received { body: json.as_ref(), headers: &response.headers });
        if response.status != expected.status {
            found.push(format!("status: expected {}, got {}: {text}", expected.status, response.status));
        }
        found.extend(self.headers(&expected.headers, &response.headers));
        if let Some(wanted) = &expected.body {
            match &json {
                Some(body) => found.extend(self.json("body", step, wanted, body)),
                None => found.push(format!("body: expected JSON, got {text:?}")),
            }
        }
        if let Some(wanted) = &expected.text {
            found.extend(self.text("body", wanted, &text));
        }
        Ok(found)
    }

    fn grpc(
        &mut self,
        step: &Step,
        request: &GrpcRequest,
        expected: &GrpcResponse,
    ) -> Result<Vec<String>, Error> {
        let metadata: Vec<(String, String)> = self.variables.map(&request.metadata).into_iter().collect();
        let message = self.variables.json(&request.message);
        let answer = grpc::call(self.workspace.grpc_port, &request.method, &message, &metadata)?;
        let mut found =
            self.capture(step, &Received { body: answer.body.as_ref(), headers: &answer.metadata });
        if answer.code != expected.code {
            found.push(format!("code: expected {}, got {}: {}", expected.code, answer.code, answer.message));
        }
        if let Some(wanted) = &expected.message {
            found.extend(self.text("message", wanted, &answer.message));
        }
        if let (Some(wanted), Some(body)) = (&expected.body, &answer.body) {
            found.extend(self.json("body", step, wanted, body));
        }
        found.extend(self.headers(&expected.metadata, &answer.metadata));
        Ok(found)
    }

    fn cli(&mut self, step: &Step, run: &Run) -> Result<Vec<String>, Error> {
        self.workspace.write(&self.variables.map(&run.files))?;
        let stdin = run.stdin.as_ref().map(|text| self.variables.text(text)).unwrap_or_default();
        let finished = command::run(
            self.binary,
            &self.workspace,
            &Input {
                arguments: run.args.iter().map(|argument| self.variables.text(argument)).collect(),
                environment: self.variables.map(&run.env).into_iter().collect(),
                stdin: &stdin,
                beside_server: self.server.is_some(),
            },
        )?;
        let mut found = Vec::new();
        if finished.exit_code != run.exit_code {
            found.push(format!(
                "exit code: expected {}, got {}: {}",
                run.exit_code, finished.exit_code, finished.stderr
            ));
        }
        let streams = [
            ("stdout", &run.stdout, &run.stdout_contains, &finished.stdout),
            ("stderr", &run.stderr, &run.stderr_contains, &finished.stderr),
        ];
        for (name, whole, parts, actual) in streams {
            if let Some(wanted) = whole {
                found.extend(self.text(name, wanted, actual));
            }
            for part in parts.iter().map(|part| self.variables.text(part)) {
                if !fits(&format!("<<ANY>>{part}<<ANY>>"), actual) {
                    found.push(format!("{name}: expected a part {part:?}, got {actual:?}"));
                }
            }
        }
        if let Some(wanted) = &run.stdout_json {
            match serde_json::from_str(&finished.stdout) {
                Ok(body) => found.extend(self.json("stdout", step, wanted, &body)),
                Err(_) => found.push(format!("stdout: expected JSON, got {:?}", finished.stdout)),
            }
        }
        for (name, wanted) in &run.output_files {
            let path = self.workspace.files().join(self.variables.text(name));
            match fs::read_to_string(&path) {
                Ok(text) => found.extend(self.text(name, wanted, &text)),
                Err(error) => found.push(format!("{name}: {error}")),
            }
        }
        Ok(found)
    }

    /// Takes variables from an answer. This happens before the expected answer is filled, because a body may
    /// repeat an identifier that it introduces.
    fn capture(&mut self, step: &Step, received: &Received<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for (name, path) in &step.capture {
            let value = match path.strip_prefix("header:") {
                Some(header) => header_of(received.headers, header),
                None => received.body.and_then(|body| compare::at(body, path)).and_then(Value::as_str),
            };
            match value {
                Some(value) => self.variables.set(name, value),
                None => found.push(format!("nothing to capture as {name} at {path}")),
            }
        }
        found
    }

    fn json(&self, what: &str, step: &Step, expected: &Value, actual: &Value) -> Vec<String> {
        let rules = Rules { varies: &step.varies, unordered: &step.unordered };
        compare::differences(&self.variables.json(expected), actual, &rules)
            .into_iter()
            .map(|difference| format!("{what} {difference}"))
            .collect()
    }

    fn text(&self, what: &str, expected: &str, actual: &str) -> Option<String> {
        let expected = self.variables.text(expected);
        (!fits(&expected, actual))
            .then(|| format!("{what}: expected {expected:?}\n        got      {actual:?}"))
    }

    fn headers(
        &self,
        expected: &BTreeMap<String, Option<String>>,
        actual: &[(String, String)],
    ) -> Vec<String> {
        expected
            .iter()
            .filter_map(|(name, wanted)| match (wanted, header_of(actual, name)) {
                (None, None) => None,
                (None, Some(value)) => Some(format!("{name}: not expected, got {value:?}")),
                (Some(wanted), None) => Some(format!("{name}: missing, expected {wanted:?}")),
                (Some(wanted), Some(value)) => self.text(name, wanted, value),
            })
            .collect()
    }
}

fn header_of<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
