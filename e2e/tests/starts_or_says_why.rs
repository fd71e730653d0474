//! Promise: a program that cannot start says what is wrong and where; one that can, starts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, net::TcpListener, path::PathBuf};

use flipt_e2e::{
    Cli, Finished, PATIENCE, Process, S3, Server, ServerOptions, Sidecar, SidecarOptions, Signer, free_port,
    until, until_some, write_jwks,
};
use serde_json::json;
use tempfile::TempDir;

fn pairs(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Ends with a code other than 0, and with all these texts in what it wrote.
async fn fails(process: &mut Process, texts: &[&str]) {
    let status =
        process.wait(PATIENCE).await.unwrap_or_else(|failure| panic!("{failure}\n{}", process.logs()));
    let logs = process.logs();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {logs}");
    assert!(logs.contains("Error: ") || logs.contains("error: "), "{logs}");
    for text in texts {
        assert!(logs.contains(text), "{text:?} is missing in: {logs}");
    }
    assert!(!logs.contains("panicked"), "{logs}");
}

async fn server_fails(environment: &[(&str, &str)], texts: &[&str]) {
    let mut server = Server::spawn(ServerOptions::new().with_env(pairs(environment))).unwrap();
    fails(server.process(), texts).await;
    assert_eq!(server.process().exit_status().unwrap().code(), Some(1));
}

/// A configuration file, and the commands that read it.
struct Configuration {
    folder: TempDir,
    cli: Cli,
}

impl Configuration {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("flipt.yml"), text).unwrap();
        let cli = Cli::new(folder.path()).unwrap();
        Self { folder, cli }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("flipt.yml")
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.cli.run(&[&["--config", "flipt.yml"], arguments].concat()).unwrap()
    }

    fn options(&self) -> ServerOptions {
        ServerOptions::new().with_arguments(&["--config", self.path().to_str().unwrap()])
    }
}

#[tokio::test]
async fn the_server_names_a_port_that_is_in_use_and_the_setting() {
    let taken = free_port();
    let _listener = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let port = taken.to_string();
    for (variable, key) in
        [("FLIPT_SERVER_HTTP_PORT", "server.http_port"), ("FLIPT_SERVER_GRPC_PORT", "server.grpc_port")]
    {
        server_fails(&[(variable, &port)], &[&port, "in use", key, variable]).await;
    }
}

#[tokio::test]
async fn the_sidecar_names_a_port_that_is_in_use_and_the_setting() {
    let taken = free_port();
    let _listener = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let address = format!("127.0.0.1:{taken}");
    let folder = tempfile::tempdir().unwrap();
    let source = format!("file://{}", folder.path().display());
    for setting in ["--listen", "--grpc-listen", "--health-listen"] {
        // Given twice, a setting of one value is refused, so only environment variables can stand in for it.
        let mut arguments = vec!["--source", &source, "--auth-mode", "none", setting, &address];
        let others = [
            ("--listen", "127.0.0.1:0"),
            ("--grpc-listen", "127.0.0.1:0"),
            ("--health-listen", "127.0.0.1:0"),
        ];
        for (name, value) in others.iter().filter(|(name, _)| *name != setting) {
            arguments.extend([*name, *value]);
        }
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let program = flipt_e2e::Binaries::find().unwrap().sidecar;
        let log = folder.path().join("sidecar.log");
        let mut process = Process::start(&program, arguments, Vec::new(), &log).unwrap();
        fails(&mut process, &[setting, &address, "in use"]).await;
    }
}

#[tokio::test]
async fn a_wrong_value_stops_the_server_and_names_key_place_and_what_is_allowed() {
    for (environment, texts) in [
        (("FLIPT_SERVER_HTTP_PORT", "eighty"), ["server.http_port", "FLIPT_SERVER_HTTP_PORT", "65535"]),
        (("FLIPT_LOG_ENCODING", "xml"), ["log.encoding", "FLIPT_LOG_ENCODING", "console"]),
        (
            ("FLIPT_STORAGE_TYPE", "git"),
            ["git repository must be specified", "storage.git.repository", "URL of a repository"],
        ),
        (("FLIPT_STORAGE_TYPE", "cloud"), ["storage.type", "FLIPT_STORAGE_TYPE", "database"]),
        // Flipt's own words, which scripts may know.
        (("FLIPT_STORAGE_TYPE", "cloud"), ["Error: unexpected storage type", "\"cloud\"", "refused"]),
        (
            ("FLIPT_SNAPSHOTS_PUBLISH_URL", "ftp://x"),
            ["snapshots.publish.url", "FLIPT_SNAPSHOTS_PUBLISH_URL", "s3://"],
        ),
        (("FLIPT_SNAPSHOTS_PUBLISH_HEARTBEAT", "soon"), ["snapshots.publish.heartbeat", "HEARTBEAT", "soon"]),
        (("FLIPT_DB_URL", "oracle://scott:tiger@x"), ["opening db", "driver", "oracle"]),
        (("FLIPT_DB_URL", "oracle://scott:tiger@x"), ["db.url", "postgres://", "file:"]),
    ] {
        server_fails(&[environment], &texts).await;
    }
    // Right, but not built yet.
    let git = [("FLIPT_STORAGE_TYPE", "git"), ("FLIPT_STORAGE_GIT_REPOSITORY", "https://localhost/r.git")];
    server_fails(&git, &["Error: storage.type: git is not supported yet; use database or local"]).await;
    let configuration =
        Configuration::new("server:\n  host: 127.0.0.1\n  protocol: gopher\nlog:\n  encoding: xml\n");
    let mut server = Server::spawn(configuration.options()).unwrap();
    // Both at once, each with line and column.
    let texts = [
        "server.protocol",
        "flipt.yml:3:13",
        "http, https",
        "log.encoding",
        "flipt.yml:5:13",
        "console, json",
    ];
    fails(server.process(), &texts).await;
}

#[tokio::test]
async fn a_password_in_a_wrong_database_url_is_not_printed() {
    let mut server =
        Server::spawn(ServerOptions::new().with_env(pairs(&[("FLIPT_DB_URL", "oracle://scott:tiger@x")])))
            .unwrap();
    fails(server.process(), &["oracle"]).await;
    assert!(!server.logs().contains("tiger"), "{}", server.logs());
}

#[tokio::test]
async fn an_unknown_key_is_warned_about_with_place_and_nearest_key() {
    let configuration = Configuration::new("server:\n  htpp_port: 8081\n");
    let server = Server::start(configuration.options()).await.unwrap();
    let logs = server.logs();
    for text in ["unknown key server.htpp_port", "flipt.yml:2:3", "did you mean server.http_port?"] {
        assert!(logs.contains(text), "{text:?} is missing in: {logs}");
    }
}

#[tokio::test]
async fn an_unknown_key_fails_strict_servers_and_config_validate() {
    let configuration = Configuration::new("server:\n  htpp_port: 8081\n");
    let texts = ["unknown key server.htpp_port", "flipt.yml:2:3", "did you mean server.http_port?"];
    let mut server = Server::spawn(configuration.options().with_arguments(&["--strict-config"])).unwrap();
    fails(server.process(), &texts).await;
    let validated = configuration.run(&["config", "validate"]);
    assert_eq!(validated.code, 1);
    for text in texts {
        assert!(validated.stderr.contains(text), "{}", validated.stderr);
    }
    let shown = configuration.run(&["config", "show"]);
    assert_eq!(shown.code, 0);
    assert!(shown.stderr.contains("did you mean"), "{}", shown.stderr);

    let good = Configuration::new("server:\n  http_port: 8081\n");
    assert_eq!(good.run(&["config", "validate"]).code, 0);
    let unknown = good.cli.clone().with_env(pairs(&[("FLIPT_SERVER_HTPP_PORT", "1")]));
    let validated = unknown.run(&["--config", "flipt.yml", "config", "validate"]).unwrap();
    assert_eq!(validated.code, 1);
    assert!(validated.stderr.contains("FLIPT_SERVER_HTPP_PORT"), "{}", validated.stderr);
}

#[test]
fn config_prints_what_is_in_force_with_secrets_masked() {
    let configuration = Configuration::new("server:\n  http_port: 8081\n");
    let cli = configuration.cli.clone().with_env(pairs(&[
        ("FLIPT_SERVER_GRPC_PORT", "9001"),
        ("FLIPT_DB_URL", "postgres://scott:tiger@db/flipt"),
    ]));
    let shown = cli.run(&["--config", "flipt.yml", "config", "show"]).unwrap().success().unwrap();
    assert!(shown.contains("8081") && shown.contains("9001"), "{shown}");
    assert!(!shown.contains("tiger"), "{shown}");
    // What it prints is a configuration again.
    let again = Configuration::new(&configuration.run(&["config", "show"]).success().unwrap());
    assert_eq!(again.run(&["config", "validate"]).code, 0);
}

#[tokio::test]
async fn a_configuration_file_that_cannot_be_read_is_named() {
    let configuration = Configuration::new("server:\n  host: [127.0.0.1\n  http_port: 1\n");
    let mut server = Server::spawn(configuration.options()).unwrap();
    fails(server.process(), &["flipt.yml", "line", "column"]).await;
    for (name, text) in [("nowhere.yml", "No such file"), ("flipt.ini", "ini")] {
        fs::write(configuration.folder.path().join("flipt.ini"), "a=b").unwrap();
        let finished = configuration.cli.run(&["--config", name, "config", "show"]).unwrap();
        assert_eq!(finished.code, 1);
        assert!(finished.stderr.contains(text), "{}", finished.stderr);
    }
    // A folder is no file; unlike permissions, that holds for root, too.
    fs::create_dir(configuration.folder.path().join("folder.yml")).unwrap();
    let finished = configuration.cli.run(&["--config", "folder.yml", "config", "show"]).unwrap();
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("folder.yml"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    // Below a file there can be nothing.
    let below = format!("file:{}/sub/flipt.db", file.display());
    server_fails(&[("FLIPT_DB_URL", &below)], &["opening db", &file.display().to_string()]).await;
    // A folder where the database should be.
    let occupied = format!("file:{}", folder.path().display());
    server_fails(&[("FLIPT_DB_URL", &occupied)], &["opening db", &folder.path().display().to_string()]).await;
    // Something else where the database should be.
    fs::write(&file, "this is a text and certainly no database, however long one reads on in it ".repeat(20))
        .unwrap();
    let other = format!("file:{}", file.display());
    server_fails(&[("FLIPT_DB_URL", &other)], &["file", "not a database"]).await;
    assert!(fs::read_to_string(&file).unwrap().starts_with("this is a text"));
}

#[tokio::test]
async fn a_missing_bucket_is_named_by_server_and_sidecar_and_neither_ends() {
    let s3 = S3::start(&["other"]).await.unwrap();
    let place = s3.at("flags/prod");
    let mut server =
        Server::start(ServerOptions::new().publish_to(&place).with_env(s3.credentials())).await.unwrap();
    server.says("snapshot not published").await.unwrap();
    let logs = server.logs();
    assert!(logs.contains("s3://flags/prod") && logs.contains("does not exist"), "{logs}");
    let flag = json!({ "key": "on", "name": "On", "type": "BOOLEAN_FLAG_TYPE", "enabled": true });
    server.change("POST", "/api/v1/namespaces/default/flags", flag).await.unwrap();
    assert_eq!(server.process().exit_status(), None);

    let options = SidecarOptions::new(&place).with_env(s3.credentials());
    let mut sidecar = Sidecar::start_listening(options).await.unwrap();
    let status = until_some("the sidecar says so", PATIENCE, || async {
        Some(sidecar.status().await.unwrap()).filter(|status| status["upstream"] == "missing")
    })
    .await
    .unwrap();
    let error = status["lastError"].as_str().unwrap();
    assert!(error.contains("s3://flags/prod") && error.contains("create it"), "{error}");
    assert_eq!(sidecar.process().exit_status(), None);

    // The command line ends, with the code for a store that fails.
    let export = server.cli().unwrap().with_env(s3.credentials());
    let finished = export.run(&["export", "--all-namespaces", "-o", &place]).unwrap();
    assert_eq!(finished.code, 5, "{}", finished.stderr);
    assert!(finished.stderr.contains("s3://flags/prod"), "{}", finished.stderr);

    // Once somebody has created the bucket, it all works without a restart.
    fs::create_dir(s3.folder().join("flags")).unwrap();
    until("the sidecar answers", 2 * PATIENCE, || async { sidecar.boolean("on", "e").await == Ok(true) })
        .await
        .unwrap_or_else(|failure| panic!("{failure}\n{}\n{}", server.logs(), sidecar.logs()));
}

#[tokio::test]
async fn wrong_credentials_are_named_by_server_and_sidecar_and_never_printed() {
    let s3 = S3::start(&["flags"]).await.unwrap();
    let place = s3.at("flags/prod");
    let server = Server::start(ServerOptions::new().publish_to(&place).with_env(s3.wrong_credentials()))
        .await
        .unwrap();
    server.says("snapshot not published").await.unwrap();
    let logs = server.logs();
    assert!(logs.contains("s3://flags/prod") && logs.contains("credentials are not accepted"), "{logs}");
    assert_eq!(flipt_e2e::http::get(server.url("/health")).await.unwrap().status, 200);
    let options = SidecarOptions::new(&place).with_env(s3.wrong_credentials());
    let sidecar = Sidecar::start_listening(options).await.unwrap();
    let status = until_some("the sidecar says so", PATIENCE, || async {
        Some(sidecar.status().await.unwrap()).filter(|status| status["upstream"] == "forbidden")
    })
    .await
    .unwrap();
    let error = status["lastError"].as_str().unwrap();
    assert!(error.contains("s3://flags/prod") && error.contains("credentials are not accepted"), "{error}");
    for text in [server.logs(), sidecar.logs(), status.to_string()] {
        assert!(!text.contains("not-the-secret"), "{text}");
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_at_is_named() {
    let place =
        format!("s3://flags?region=us-east-1&endpoint=http://127.0.0.1:{}&pathStyle=true", free_port());
    let s3 = S3::start(&[]).await.unwrap();
    let server =
        Server::start(ServerOptions::new().publish_to(&place).with_env(s3.credentials())).await.unwrap();
    server.says("cannot be reached").await.unwrap();
    assert!(server.logs().contains("s3://flags"), "{}", server.logs());
}

#[tokio::test]
async fn the_sidecar_names_settings_that_are_missing_or_do_not_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let program = flipt_e2e::Binaries::find().unwrap().sidecar;
    let cases: [(&[&str], &[&str]); 8] = [
        (&[], &["--source"]),
        (&["--source", "file:///x"], &["--pod-uid"]),
        (&["--source", "ftp://x"], &["--source", "s3://", "file://"]),
        (
            &["--source", "file:///x", "--auth-mode", "maybe"],
            &["--auth-mode", "same-pod", "allowlist", "none"],
        ),
        (&["--source", "file:///x", "--auth-mode", "allowlist"], &["--auth-allow"]),
        (
            &["--source", "file:///x", "--auth-mode", "none", "--poll-interval", "10ms"],
            &["--poll-interval", "1s"],
        ),
        (
            &["--source", "file:///x", "--auth-mode", "none", "--start-policy", "never"],
            &["--start-policy", "open-after"],
        ),
        (
            &["--source", "file:///x", "--auth-mode", "none", "--enviroment", "x"],
            &["--enviroment", "--environment"],
        ),
    ];
    for (arguments, texts) in cases {
        let log = folder.path().join(format!("{}.log", arguments.join("-").replace('/', "")));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut process = Process::start(&program, arguments, Vec::new(), &log).unwrap();
        fails(&mut process, texts).await;
    }
}

#[tokio::test]
async fn the_sidecar_takes_its_settings_from_the_environment_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = folder.path().join("snapshots");
    let place = format!("file://{}", snapshots.display());
    let cli = Cli::new(folder.path()).unwrap();
    cli.run_with_input(
        &["import", "--stdin"],
        "flags: [{key: on, name: On, type: BOOLEAN_FLAG_TYPE, enabled: true}]\n",
    )
    .unwrap()
    .success()
    .unwrap();
    cli.run(&["export", "--all-namespaces", "-o", &place]).unwrap().success().unwrap();
    // Without `--auth-issuer`, the issuer stands in a file beside the keys.
    let jwks = folder.path().join("jwks.json");
    let key = Signer::p256("k");
    write_jwks(&jwks, &[&key]).unwrap();
    fs::write(folder.path().join("issuer"), format!("{}\n", flipt_e2e::Claims::ISSUER)).unwrap();
    let (http, grpc, health) = (free_port(), free_port(), free_port());
    let environment = pairs(&[
        ("FLIPT_SIDECAR_SOURCE", &place),
        ("FLIPT_SIDECAR_LISTEN", &format!("127.0.0.1:{http}")),
        ("FLIPT_SIDECAR_GRPC_LISTEN", &format!("127.0.0.1:{grpc}")),
        ("FLIPT_SIDECAR_HEALTH_LISTEN", &format!("127.0.0.1:{health}")),
        ("FLIPT_SIDECAR_AUTH_JWKS_FILE", jwks.to_str().unwrap()),
        ("FLIPT_SIDECAR_POD_UID", "pod-1"),
    ]);
    let program = flipt_e2e::Binaries::find().unwrap().sidecar;
    let process =
        Process::start(&program, Vec::new(), environment, &folder.path().join("sidecar.log")).unwrap();
    let token = key.token(&flipt_e2e::Claims::of("shop", "checkout", "pod-1"));
    until("it answers", PATIENCE, || async {
        flipt_e2e::http::request("POST", format!("http://127.0.0.1:{http}/evaluate/v1/boolean"))
            .json(&json!({ "flagKey": "on", "entityId": "e" }))
            .bearer(Some(&token))
            .send()
            .await
            .is_ok_and(|answer| answer.status == 200)
    })
    .await
    .unwrap_or_else(|failure| panic!("{failure}\n{}", process.logs()));
}

#[test]
fn mistakes_on_the_command_line_end_with_1_and_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path()).unwrap();
    for (arguments, text) in [
        (&["--foo"][..], "unknown flag: --foo"),
        (&["foo"], "unknown command \"foo\" for \"flipt\""),
        (&["import"], "import filename required"),
        (&["import", "nowhere.yaml"], "opening import file: open nowhere.yaml: no such file or directory"),
        (&["export", "-o", "ftp://x", "--all-namespaces"], "s3://"),
    ] {
        let finished = cli.run(arguments).unwrap();
        assert_eq!(finished.code, 1, "{arguments:?}");
        assert!(finished.stderr.contains(text), "{text:?} is missing in: {}", finished.stderr);
    }
    let version = cli.run(&["--version"]).unwrap().success().unwrap();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}
