//! `make demo`: the whole main job on one machine, with real programs and nothing else installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use flipt_e2e::{
    Auth, Claims, Cli, Failure, Result, S3, Server, ServerOptions, Sidecar, SidecarOptions, Signer, http,
    write_jwks,
};
use serde_json::json;
use tempfile::TempDir;

const DOCUMENT: &str = include_str!("../../data/demo.yaml");
const FLAG: &str = "maintenance-banner";
const POD: &str = "3f1c6a52-demo-pod";
/// The promise: from the API's answer to the sidecar's new decision, with a poll every second.
const PROMISED: Duration = Duration::from_secs(3);
/// How often the loop looks.
const LOOK: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> ExitCode {
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(other) => {
            eprintln!("Error: unknown argument {other}; only --once is known");
            return ExitCode::FAILURE;
        }
    };
    let result = async {
        let demo = Demo::start().await?;
        if once { demo.perform().await } else { demo.wait().await }
    }
    .await;
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(reason)) => {
            eprintln!("\nError: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that runs. It ends with its value.
struct Demo {
    sidecar: Sidecar,
    server: Server,
    s3: S3,
    tokens: Tokens,
    _folder: TempDir,
}

/// Files with tokens to paste.
struct Tokens {
    valid: PathBuf,
    wrong: PathBuf,
    valid_text: String,
    wrong_text: String,
}

fn step(text: &str, start: Instant) {
    println!("  {text:<58} {:>6.0} ms", start.elapsed().as_secs_f64() * 1_000.0);
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("writing {}: {error}", path.display())))
}

impl Demo {
    async fn start() -> Result<Self> {
        println!("Starting");
        let folder =
            TempDir::new().map_err(|error| Failure::new(format!("no folder for the demo: {error}")))?;

        let start = Instant::now();
        let s3 = S3::start(&["flags"]).await?;
        step("an S3 server with the bucket `flags`", start);

        let start = Instant::now();
        let data = folder.path().join("server");
        std::fs::create_dir(&data)
            .map_err(|error| Failure::new(format!("no folder for the server: {error}")))?;
        Cli::new(&data)?.run_with_input(&["import", "--stdin"], DOCUMENT)?.success()?;
        step("a database, with an example document imported", start);

        let start = Instant::now();
        let options =
            ServerOptions::new().in_folder(&data).publish_to(&s3.at("flags/demo")).with_env(s3.credentials());
        let server = Server::start(options).await?;
        step("the server, which publishes to the bucket", start);

        let start = Instant::now();
        let signer = Signer::rsa("demo-cluster-key");
        let jwks = folder.path().join("jwks.json");
        write_jwks(&jwks, &[&signer])?;
        let tokens = Tokens {
            valid: folder.path().join("token"),
            wrong: folder.path().join("token-of-another-cluster"),
            valid_text: signer.token(&Claims::of("shop", "checkout", POD)),
            wrong_text: Signer::rsa("demo-cluster-key").token(&Claims::of("shop", "checkout", POD)),
        };
        write(&tokens.valid, &tokens.valid_text)?;
        write(&tokens.wrong, &tokens.wrong_text)?;
        step("a signing key that stands for the cluster's", start);

        let start = Instant::now();
        let options = SidecarOptions::new(s3.at("flags/demo"))
            .with_env(s3.credentials())
            .admitting(Auth::SamePod { uid: POD.to_owned() }, &jwks);
        let sidecar = Sidecar::start(options).await?;
        step("a sidecar, with a snapshot loaded from the bucket", start);
        Ok(Self { sidecar, server, s3, tokens, _folder: folder })
    }

    /// Shows what to do by hand, and waits for Ctrl-C.
    async fn wait(self) -> Result<()> {
        let evaluate = self.sidecar.url("/evaluate/v1/boolean");
        let body = format!(r#"{{"flagKey":"{FLAG}","entityId":"user-1"}}"#);
        let authorized = |file: &Path| format!("-H \"Authorization: Bearer $(cat {})\"", file.display());
        println!(
            "
Running
  server   {} (REST), {} (gRPC)
  sidecar  {} (HTTP, OFREP), {} (gRPC)
  status   curl -s {}
  metrics  curl -s {}

Ask the sidecar, with the token of its own pod: 200
  curl -s {evaluate} {} -d '{body}'

Without a token, and with one of another cluster: 401
  curl -s {evaluate} -d '{body}'
  curl -s {evaluate} {} -d '{body}'

Flip the flag in the server, then ask the sidecar again
  curl -s -X PUT {} -d '{{\"name\":\"Maintenance banner\",\"enabled\":true}}'

Ctrl-C stops everything.",
            self.server.url(""),
            self.server.grpc_url(),
            self.sidecar.url(""),
            self.sidecar.grpc_url(),
            self.sidecar.url("/status"),
            self.sidecar.health_url("/metrics"),
            authorized(&self.tokens.valid),
            authorized(&self.tokens.wrong),
            self.server.url(&format!("/api/v1/namespaces/default/flags/{FLAG}")),
        );
        tokio::signal::ctrl_c()
            .await
            .map_err(|error| Failure::new(format!("waiting for Ctrl-C: {error}")))?;
        println!("\nStopped.");
        Ok(())
    }

    /// Performs the main job once and says how long each step took.
    async fn perform(self) -> Result<()> {
        println!("\nCallers");
        for (who, token, expected) in [
            ("without a token", None, 401),
            ("with a token of another cluster", Some(self.tokens.wrong_text.as_str()), 401),
            ("with the token of its own pod", Some(self.tokens.valid_text.as_str()), 200),
        ] {
            let start = Instant::now();
            let status = self.ask(token).await?.status;
            step(&format!("the sidecar answers {status} {who}"), start);
            if status != expected {
                return Err(Failure::new(format!(
                    "the sidecar answered {status} {who}; expected {expected}"
                )));
            }
        }

        println!("\nA change");
        let before = self.decision().await?;
        if before {
            return Err(Failure::new(format!("{FLAG} is on before anybody switched it on")));
        }
        let store = self.s3.store("flags/demo").await?;
        let published_before = revision(&*store).await?;
        let sent = Instant::now();
        self.server
            .change(
                "PUT",
                &format!("/api/v1/namespaces/default/flags/{FLAG}"),
                json!({ "name": "Maintenance banner", "enabled": true }),
            )
            .await?;
        step("the server has answered the change", sent);
        let answered = Instant::now();
        if !self.server.boolean(FLAG, "user-1").await? {
            return Err(Failure::new(
                "the server still evaluates the old state after it answered the change",
            ));
        }
        step("the server evaluates the new state", answered);
        while revision(&*store).await? == published_before {
            self.check_patience(answered)?;
            tokio::time::sleep(LOOK).await;
        }
        step("the snapshot is in the bucket", answered);
        while !self.decision().await? {
            self.check_patience(answered)?;
            tokio::time::sleep(LOOK).await;
        }
        step("the sidecar decides anew", answered);
        println!(
            "\nPropagation: {:.0} ms from the server's answer to the sidecar's new decision.",
            answered.elapsed().as_secs_f64() * 1_000.0
        );
        Ok(())
    }

    fn check_patience(&self, since: Instant) -> Result<()> {
        if since.elapsed() <= PROMISED {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the change took longer than {} s\n--- server\n{}\n--- sidecar\n{}",
            PROMISED.as_secs(),
            self.server.logs(),
            self.sidecar.logs()
        )))
    }

    async fn ask(&self, token: Option<&str>) -> Result<http::Answer> {
        self.sidecar
            .post("/evaluate/v1/boolean", &json!({ "flagKey": FLAG, "entityId": "user-1" }), token)
            .await
    }

    async fn decision(&self) -> Result<bool> {
        let answer = self.ask(Some(&self.tokens.valid_text)).await?.ok()?;
        answer["enabled"].as_bool().ok_or_else(|| Failure::new(format!("no decision in {answer}")))
    }
}

async fn revision(store: &dyn flipt_snapshots::Store) -> Result<Option<u64>> {
    let pointer = flipt_snapshots::publish::current(store, "default")
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(pointer.map(|pointer| pointer.revision))
}
