//! Promise: shells complete commands, every command is explained, and progress is shown to people only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path, process::Command};

use flipt_e2e::{Binaries, Cli, Server, ServerOptions, documents::many_flags};

fn cli() -> (tempfile::TempDir, Cli) {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path()).unwrap();
    (folder, cli)
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join(program).is_file())
}

#[test]
fn bash_completes_commands_and_options() {
    let (folder, cli) = cli();
    fs::write(folder.path().join("flipt.bash"), cli.run(&["completion", "bash"]).unwrap().success().unwrap())
        .unwrap();
    let complete = |words: &str, at: usize| {
        let script = format!(
            "set -e; . ./flipt.bash; COMP_WORDS=({words}); COMP_CWORD={at}; _flipt flipt \"${{COMP_WORDS[{at}]}}\" \"\"; echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("flipt exp", 1), "export");
    assert_eq!(complete("flipt import --create", 2), "--create-namespace");
    assert_eq!(complete("flipt config in", 2), "init");
}

#[test]
fn other_shells_can_read_their_scripts() {
    let (folder, cli) = cli();
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute"), ("powershell", "")] {
        let script = cli.run(&["completion", shell]).unwrap().success().unwrap();
        for name in ["export", "evaluate", "create-namespace"] {
            assert!(script.contains(name), "{name} is missing for {shell}");
        }
        if is_installed(shell) {
            let path = folder.path().join(shell);
            fs::write(&path, script).unwrap();
            assert!(Command::new(shell).args([check.as_ref(), path.as_os_str()]).status().unwrap().success());
        }
    }
    let unknown = cli.run(&["completion", "tcsh"]).unwrap();
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("bash, zsh, fish, powershell"), "{}", unknown.stderr);
    let none = cli.run(&["completion"]).unwrap();
    assert_eq!(none.stderr, "Error: accepts 1 arg(s), received 0\n");
}

#[test]
fn every_command_has_a_page() {
    let (folder, cli) = cli();
    let told = cli.run(&["doc"]).unwrap().success().unwrap();
    assert_eq!(told, "Documentation generated in: ./tmp/docs\n");
    let page = |name: &str| fs::read_to_string(folder.path().join("tmp/docs").join(name)).unwrap();
    for name in ["export", "import", "migrate", "validate", "evaluate", "bundle_push", "config_init"] {
        let page = page(&format!("flipt_{name}.md"));
        assert!(page.starts_with(&format!("# flipt {}\n", name.replace('_', " "))), "{page}");
    }
    assert!(page("flipt.md").contains("(flipt_export.md)"));
    assert!(page("flipt_bundle.md").contains("(flipt_bundle_build.md)"));
}

#[test]
fn commands_without_a_sub_command_explain_themselves() {
    let (_folder, cli) = cli();
    for (command, part) in [("bundle", "build"), ("config", "init"), ("cfg", "init")] {
        let alone = cli.run(&[command]).unwrap().success().unwrap();
        assert_eq!(alone, cli.run(&[command, "--help"]).unwrap().success().unwrap());
        assert!(alone.contains(part), "{alone}");
    }
}

/// Runs `flipt` on a terminal, and gives what that shows.
fn on_a_terminal(folder: &Path, arguments: &str) -> String {
    let flipt = Binaries::find().unwrap().flipt;
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &format!("{} {arguments}", flipt.display()), "/dev/null"])
        .env("FLIPT_DB_URL", "file:flipt.db")
        .env("TERM", "xterm")
        .current_dir(folder)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    assert!(
        is_installed("script"),
        "no terminal to test on: the program script (Debian: bsdutils) is missing"
    );
    let server = Server::start(ServerOptions::new()).await.unwrap();
    let (folder, cli) = cli();
    fs::write(folder.path().join("many.yaml"), many_flags(120)).unwrap();
    let address = server.url("");
    let quiet = cli.with_env([("FLIPT_LOG_LEVEL".to_owned(), "error".to_owned())]);
    for command in [
        &["import", "many.yaml"][..],
        &["import", "--drop", "--address", &address, "many.yaml"],
        &["export", "--address", &address, "-o", "out.yaml"],
        &["migrate"],
    ] {
        let piped = quiet.run(command).unwrap();
        assert_eq!((piped.code, piped.stdout.as_str(), piped.stderr.as_str()), (0, "", ""), "{command:?}");
    }
    let shown = on_a_terminal(folder.path(), &format!("import --drop --yes --address {address} many.yaml"));
    // How often it is drawn depends on the machine; of how many it counts does not.
    assert!(shown.contains("reading what is there ") && shown.contains("/120 "), "{shown:?}");
    assert!(shown.contains("importing 120 flags"), "{shown:?}");
    // Counted, and wiped away at the end.
    assert!(shown.contains("/340") && shown.trim_end().ends_with("\u{1b}[2K"), "{shown:?}");
}

#[test]
fn what_a_person_is_asked_can_be_answered() {
    assert!(
        is_installed("script"),
        "no terminal to test on: the program script (Debian: bsdutils) is missing"
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there.yml"), "log: {}\n").unwrap();
    let flipt = Binaries::find().unwrap().flipt;
    let answer = |answers: &str| {
        let command = format!(
            "printf '{answers}' | script --quiet --return --command '{} config init --config there.yml' /dev/null",
            flipt.display()
        );
        Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output().unwrap()
    };
    let shown = answer("\\nn\\n");
    assert!(shown.status.success());
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("Configuration file path:") && shown.contains("Overwrite?"), "{shown:?}");
    assert_eq!(fs::read_to_string(folder.path().join("there.yml")).unwrap(), "log: {}\n");
    answer("other.yml\\n");
    assert!(folder.path().join("other.yml").is_file());
    answer("\\ny\\n");
    assert!(fs::read_to_string(folder.path().join("there.yml")).unwrap().contains("http_port"));
}

#[test]
fn the_documented_extra_schema_is_applied_with_path_and_line() {
    let (folder, cli) = cli();
    let manual = include_str!("../../docs/OPERATING.md");
    let schema = manual.split("```cue\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(folder.path().join("rules.cue"), schema).unwrap();
    let good = "flags:\n- {key: a-b, name: A, description: d, metadata: {owner: web}}\nsegments:\n- {key: s, name: S, match_type: ANY_MATCH_TYPE, description: Good.}\n";
    let check = |document: &str, options: &[&str]| {
        fs::write(folder.path().join("features.yml"), document).unwrap();
        cli.run(&[&["validate", "--extra-schema", "rules.cue"], options].concat()).unwrap()
    };
    let passed = check(good, &[]);
    assert_eq!((passed.code, passed.stdout.as_str()), (0, ""), "{}", passed.stderr);
    for (document, line, message) in [
        (good.replace("a-b", "A_B"), 2, "flags.0.key: invalid value \"A_B\" (out of bound =~\"^[a-z-]+$\")"),
        (good.replace("description: d, ", ""), 2, "flags.0.description: incomplete value string & !=\"\""),
        (
            good.replace("owner: web", "owner: ops"),
            2,
            "flags.0.metadata.owner: conflicting values \"ops\" and \"web\" | \"mobile\"",
        ),
        (
            good.replace("Good.", "Bad"),
            4,
            "segments.0.description: invalid value \"Bad\" (out of bound =~\"\\\\.$\")",
        ),
    ] {
        let refused = check(&document, &["-F", "json", "--issue-exit-code", "7"]);
        assert_eq!(refused.code, 7, "{document}: {}", refused.stderr);
        let issues: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
        let expected =
            serde_json::json!([{ "message": message, "location": { "file": "features.yml", "line": line } }]);
        assert_eq!(issues, expected);
    }
    fs::write(folder.path().join("rules.cue"), "#Flag: {\n  owner: string\n}\n").unwrap();
    let broken = check(good, &[]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("rules.cue:2: #Flag has no field \"owner\""), "{}", broken.stderr);
}
