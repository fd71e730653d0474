//! Promise: with `--address`, commands do on a running server what they do on its database, over REST and gRPC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use flipt_e2e::{Binaries, Cli, Finished, Process, Server, ServerOptions, documents::many_flags, until};
use serde_json::{Value, json};

/// Two variant flags and two boolean ones with what the API lets in: all kinds of rules, rollouts, attachments and
/// metadata.
const RICH: &str = r#"
version: "1.4"
flags:
- key: v
  name: V
  description: "two\nlines"
  enabled: true
  metadata: {owner: team, cost: 1.5, tags: [a, {b: null}]}
  variants:
  - {key: a, name: A, description: d, attachment: {z: [1, null, "<"], a: {}}}
  - {key: b, default: true, attachment: text}
  - {key: c}
  rules:
  - segment: s
    distributions: [{variant: a, rollout: 33.33}, {variant: b, rollout: 66.67}]
  - segment: {keys: [s, t], operator: AND_SEGMENT_OPERATOR}
    distributions: [{variant: c, rollout: 100}]
  - segment: {keys: [t, s]}
- {key: w, name: W}
- key: b
  name: B
  type: BOOLEAN_FLAG_TYPE
  rollouts:
  - {description: both, segment: {keys: [s, t], operator: AND_SEGMENT_OPERATOR, value: true}}
  - {segment: {key: t}}
  - {threshold: {percentage: 0.1, value: true}}
- {key: c, name: C, type: BOOLEAN_FLAG_TYPE, enabled: true}
segments:
- key: s
  name: S
  description: D
  match_type: ANY_MATCH_TYPE
  constraints:
  - {type: STRING_COMPARISON_TYPE, property: p, operator: isoneof, value: '["a","b"]', description: why}
  - {type: NUMBER_COMPARISON_TYPE, property: p/q, operator: gte, value: "18"}
  - {type: BOOLEAN_COMPARISON_TYPE, property: p, operator: "true"}
  - {type: DATETIME_COMPARISON_TYPE, property: p, operator: lt, value: "2026-01-02T03:04:05Z"}
  - {type: ENTITY_ID_COMPARISON_TYPE, property: entityId, operator: neq, value: x}
- {key: t, name: T, match_type: ALL_MATCH_TYPE}
"#;

/// A running server with a command line that knows nothing but its addresses.
struct Running {
    server: Server,
    cli: Cli,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let server = Server::start(ServerOptions::new()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cli = Cli::new(folder.path()).unwrap();
        Self { server, cli, folder }
    }

    fn addresses(&self) -> [String; 2] {
        [self.server.url(""), self.server.grpc_url().replace("http://", "grpc://")]
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.cli.run(arguments).unwrap()
    }

    fn import(&self, address: &str, document: &str, options: &[&str]) -> Finished {
        fs::write(self.folder.path().join("in.yaml"), document).unwrap();
        self.run(&[&["import", "--address", address, "in.yaml"], options].concat())
    }

    /// What the database holds, read without the server.
    fn state(&self) -> String {
        self.server.cli().unwrap().run(&["export", "--all-namespaces"]).unwrap().success().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_through_a_server_is_what_goes_in_directly() {
    let running = Running::start().await;
    // More namespaces and flags than a page of a list has.
    let mut document = RICH.to_owned();
    for index in 0..30 {
        document
            .push_str(&format!("---\nnamespace: {{key: n{index:02}, name: N {index}, description: d}}\n"));
        document.push_str("flags: [{key: only, name: Only, metadata: {a: 1.5, b: [x]}}]\n");
    }
    document.push_str(&format!("---\nnamespace: many\n{}", many_flags(60).replace("version: \"1.4\"\n", "")));
    let direct = tempfile::tempdir().unwrap();
    let direct = Cli::new(direct.path()).unwrap();
    direct.run_with_input(&["import", "--stdin"], &document).unwrap().success().unwrap();
    let expected = direct.run(&["export", "--all-namespaces"]).unwrap().success().unwrap();
    let sorted = direct.run(&["export", "--all-namespaces", "--sort-by-key"]).unwrap().success().unwrap();
    for address in running.addresses() {
        running.import(&address, &document, &["--drop"]).success().unwrap();
        assert_eq!(running.state(), expected, "{address}");
        for reader in running.addresses() {
            let export = ["export", "--all-namespaces", "--address", &reader];
            assert_eq!(running.run(&export).success().unwrap(), expected, "{address} {reader}");
            let export = [&export[..], &["--sort-by-key"]].concat();
            assert_eq!(running.run(&export).success().unwrap(), sorted, "{address} {reader}");
        }
        let two = running.run(&["export", "--namespaces", "n07,default", "--address", &address]);
        let two = two.success().unwrap();
        assert!(two.starts_with("version: \"1.4\"\nnamespace:\n  key: n07\n"), "{two}");
        assert_eq!(two.matches("\nnamespace:\n").count(), 2);
    }
    // Nothing of this machine was read or written.
    assert!(!running.folder.path().join("flipt.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_namespaces_and_skipping_work_through_a_server_too() {
    let running = Running::start().await;
    let document = "flags: [{key: a, name: A}]\nsegments: [{key: s, name: S}]\n";
    for (index, address) in running.addresses().iter().enumerate() {
        let namespace = format!("ns{index}");
        let missing = running.import(address, document, &["--namespace", &namespace]);
        assert_eq!(missing.code, 1);
        assert!(missing.stderr.contains("not found"), "{}", missing.stderr);
        let options = ["--namespace", &namespace, "--create-namespace"];
        running.import(address, document, &options).success().unwrap();
        let more = format!(
            "namespace: {namespace}\n{}",
            document.replace("name: A}", "name: B}, {key: b, name: B}")
        );
        let stdin = ["import", "--stdin", "--skip-existing", "--address", address];
        running.cli.run_with_input(&stdin, &more).unwrap().success().unwrap();
        let export = running.run(&["export", "--namespaces", &namespace, "--address", address]);
        let export = export.success().unwrap();
        assert!(export.contains("name: A\n") && export.contains("key: b\n"), "{export}");
        let again = running.import(address, &more, &[]);
        assert_eq!(
            again.stderr.lines().last().unwrap(),
            format!(
                "Error: creating flag: rpc error: code = InvalidArgument desc = flag \"{namespace}/a\" is not unique"
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_fails_half_way_leaves_nothing_behind() {
    let running = Running::start().await;
    let [rest, _] = running.addresses();
    running.import(&rest, RICH, &[]).success().unwrap();
    let before = running.state();
    for address in running.addresses() {
        for document in [
            "flags: [{key: new, name: New}]\nsegments: [{key: new, name: New, constraints: [{type: NUMBER_COMPARISON_TYPE, property: p, operator: prefix, value: x}]}]\n",
            "namespace: new\nflags: [{key: new, name: New, rules: [{segment: nope}]}]\nsegments: [{key: new, name: New}]\n",
            "namespace: new\nflags: [{key: new, name: New}]\n---\nnamespace: newer\nflags: [{key: 'no key', name: New}]\n",
        ] {
            let failed = running.import(&address, document, &[]);
            assert_eq!(failed.code, 1, "{document}");
            assert!(failed.stderr.contains("Error: creating "), "{}", failed.stderr);
            assert_eq!(running.state(), before, "{address} {document}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_whose_import_fails_brings_everything_back() {
    let running = Running::start().await;
    let several = format!("{RICH}---\nnamespace: {{key: shop, name: Shop}}\nflags: [{{key: a, name: A}}]\n");
    for address in running.addresses() {
        running.import(&address, &several, &["--drop"]).success().unwrap();
        let before = running.state();
        let document = "namespace: new\nflags: [{key: new, name: New}, {key: 'no key', name: New}]\n";
        let failed = running.import(&address, document, &["--drop"]);
        assert_eq!(failed.code, 1);
        assert!(failed.stderr.contains("invalid field key"), "{}", failed.stderr);
        assert!(failed.stderr.contains("restored"), "{}", failed.stderr);
        assert_eq!(running.state(), before, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_interrupted_takes_itself_back() {
    let running = Running::start().await;
    let before = running.state();
    for address in running.addresses() {
        fs::write(running.folder.path().join("many.yaml"), many_flags(2_000)).unwrap();
        let document = running.folder.path().join("many.yaml").display().to_string();
        let log = running.folder.path().join("import.log");
        let arguments = ["import", "--address", &address, &document].map(str::to_owned).to_vec();
        let mut import =
            Process::start(&Binaries::find().unwrap().flipt, arguments, Vec::new(), &log).unwrap();
        let flags = running.server.url("/api/v1/namespaces/default/flags?limit=1");
        until("the import has begun", Duration::from_secs(20), || {
            let asking = flipt_e2e::http::get(flags.clone());
            async move {
                let answer = asking.await.unwrap();
                serde_json::from_slice::<Value>(&answer.body).unwrap()["totalCount"] != 0
            }
        })
        .await
        .unwrap();
        let status = import.terminate(Duration::from_secs(60)).await.unwrap();
        assert_eq!(status.code(), Some(130), "{}", import.logs());
        assert_eq!(running.state(), before, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_named_and_the_token_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path()).unwrap();
    fs::write(folder.path().join("in.yaml"), "flags: []\n---\nnamespace: a\n").unwrap();
    let port = flipt_e2e::free_port();
    for scheme in ["http", "https", "grpc", "grpcs"] {
        let address = format!("{scheme}://127.0.0.1:{port}");
        for command in [&["export"][..], &["import", "in.yaml"], &["evaluate", "flag"]] {
            let arguments = [command, &["--address", &address, "--token", "s3cret-token"]].concat();
            let finished = cli.run(&arguments).unwrap();
            assert_eq!(finished.code, 1, "{arguments:?}");
            assert_eq!(finished.stdout, "");
            assert!(finished.stderr.contains(&format!("127.0.0.1:{port}")), "{}", finished.stderr);
            assert!(finished.stderr.contains("refused"), "{}", finished.stderr);
            assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
        }
    }
    let finished = cli.run(&["export", "--address", "http://127.0.0.1:1", "--token", "a\nb"]).unwrap();
    assert!(finished.stderr.contains("the token holds characters"), "{}", finished.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_otherwise_than_flipt_is_told_apart_from_an_error_of_flipt() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path()).unwrap();
    for (answer, part) in [
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 14\r\n\r\n<h1>proxy</h1>", "502 Bad Gateway"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n<h1>hello</h1>", "<h1>hello</h1>"),
        (
            "HTTP/1.1 301 Moved Permanently\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n",
            "points to https://elsewhere.example/",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 42\r\n\r\n{\"code\":7,\"message\":\"no\",\"details\":[]}    ",
            "rpc error: code = PermissionDenied desc = no",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let finished =
            cli.run(&["export", "--address", &format!("{address}/base/"), "--token", "t"]).unwrap();
        assert_eq!(finished.code, 1);
        assert!(finished.stderr.contains("Error: getting namespaces: "), "{}", finished.stderr);
        assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
        let request = served.join().unwrap();
        assert!(request.starts_with("GET /base/api/v1/namespaces/default HTTP/1.1"), "{request}");
        assert!(request.contains("authorization: Bearer t\r\n"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_a_flag_shows_its_changes_until_asked_to_end() {
    let running = Running::start().await;
    let flag = json!({ "key": "f", "name": "F", "type": "BOOLEAN_FLAG_TYPE" });
    running.server.change("POST", "/api/v1/namespaces/default/flags", flag.clone()).await.unwrap();
    let log = running.folder.path().join("watch.log");
    let [rest, _] = running.addresses();
    let arguments = ["evaluate", "f", "--address", &rest, "--watch", "--interval", "50ms"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let mut watch = Process::start(&Binaries::find().unwrap().flipt, arguments, Vec::new(), &log).unwrap();
    let patience = Duration::from_secs(20);
    let shows = |text: &'static str| {
        let log = log.clone();
        move || {
            let shown = fs::read_to_string(&log).unwrap().contains(text);
            async move { shown }
        }
    };
    until("the flag is off", patience, shows("\"enabled\":false")).await.unwrap();
    let on = json!({ "name": "F", "enabled": true });
    running.server.change("PUT", "/api/v1/namespaces/default/flags/f", on).await.unwrap();
    until("the flag is on", patience, shows("\"enabled\":true")).await.unwrap();
    running.server.change("DELETE", "/api/v1/namespaces/default/flags/f", Value::Null).await.unwrap();
    until("the error is shown", patience, shows("failed to evaluate: ")).await.unwrap();
    running.server.change("POST", "/api/v1/namespaces/default/flags", flag).await.unwrap();
    let status = watch.terminate(patience).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", watch.logs());
}
