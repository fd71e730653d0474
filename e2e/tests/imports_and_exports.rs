//! Promise: what is exported and imported again is the same, and an import or export that fails changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flipt_e2e::{Binaries, Cli, Finished, S3, Sidecar, SidecarOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A document with every type, operator, segment combination and kind of attachment.
const RICH: &str = include_str!("../data/rich.yaml");

/// Documents of every version, with what Flipt exports after importing them.
fn recorded(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/model/tests/data/documents");
    fs::read_to_string(format!("{folder}/{name}")).unwrap()
}

/// A folder with a database that does not exist yet.
struct Database {
    folder: TempDir,
    cli: Cli,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cli = Cli::new(folder.path()).unwrap();
        Self { folder, cli }
    }

    fn with(document: &str) -> Self {
        let database = Self::new();
        database.import(document, &[]).success().unwrap();
        database
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.cli.run(arguments).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn import(&self, document: &str, options: &[&str]) -> Finished {
        fs::write(self.path("in.yaml"), document).unwrap();
        self.run(&[&["import", "in.yaml"], options].concat())
    }

    fn export(&self, options: &[&str]) -> String {
        self.run(&[&["export"], options].concat()).success().unwrap()
    }

    fn export_all(&self) -> String {
        self.export(&["--all-namespaces"])
    }

    fn import_fails(&self, document: &str, options: &[&str], texts: &[&str]) {
        let finished = self.import(document, options);
        assert_eq!(finished.code, 1, "{document}: {}", finished.stdout);
        assert!(finished.stderr.contains("Error: "), "{document}: {}", finished.stderr);
        for text in texts {
            assert!(finished.stderr.contains(text), "{text:?} is missing in: {}", finished.stderr);
        }
    }
}

/// The lines below the comment with the time, which differs.
fn below_header(text: &str) -> &str {
    assert!(text.starts_with("# exported by Flipt"), "{}", &text[..60.min(text.len())]);
    text.split_once("\n\n").unwrap().1
}

#[test]
fn a_document_exported_imported_and_exported_again_is_byte_identical_in_both_encodings() {
    let several = format!(
        "{RICH}---\n{}",
        "namespace: {key: shop, name: Shop, description: A shop}\nflags: [{key: a, name: A, enabled: true}]\n"
    );
    let first = Database::with(&several);
    for name in ["all.yaml", "all.yml", "all.json"] {
        let exported = first.path(name);
        first.run(&["export", "--all-namespaces", "-o", name]).success().unwrap();
        let original = fs::read_to_string(&exported).unwrap();
        assert!(original.len() > 20_000, "{}", original.len());
        let second = Database::new();
        second.run(&["import", exported.to_str().unwrap()]).success().unwrap();
        second.run(&["export", "--all-namespaces", "-o", name]).success().unwrap();
        let again = fs::read_to_string(second.path(name)).unwrap();
        assert_eq!(below_header(&original), below_header(&again), "{name}");
    }
    assert_eq!(first.export_all(), below_header(&fs::read_to_string(first.path("all.yaml")).unwrap()));
}

#[test]
fn documents_of_every_version_import_and_export_as_flipt_exports_them() {
    for version in ["1.0", "1.1", "1.2", "1.3", "1.4"] {
        let database = Database::with(&recorded(&format!("version-{version}.yaml")));
        assert_eq!(database.export_all(), recorded(&format!("version-{version}.exported.yaml")), "{version}");
        let sorted = database.export(&["--all-namespaces", "--sort-by-key"]);
        assert_eq!(sorted, recorded(&format!("version-{version}.sorted.yaml")), "{version}");
        database.run(&["export", "--all-namespaces", "-o", "out.json"]).success().unwrap();
        let as_json = fs::read_to_string(database.path("out.json")).unwrap();
        let expected = recorded(&format!("version-{version}.exported.json"));
        assert_eq!(below_header(&as_json).trim_end(), expected.trim_end(), "{version}");
        // And what was exported imports again.
        let again = Database::with(&database.export_all());
        assert_eq!(again.export_all(), database.export_all(), "{version}");
    }
}

#[test]
fn standard_input_is_read_and_standard_output_written() {
    let database = Database::new();
    let document = recorded("version-1.4.yaml");
    database.cli.run_with_input(&["import", "--stdin"], &document).unwrap().success().unwrap();
    assert_eq!(database.export_all(), recorded("version-1.4.exported.yaml"));
}

#[test]
fn broken_documents_are_refused_with_line_and_column() {
    let database = Database::new();
    for (name, document, line) in [
        ("in.yaml", "flags:\n- key: a\n  name: [\n", 4),
        ("in.yaml", "flags:\n- key: a\n  enabled: perhaps\n", 3),
        ("in.yaml", "flags:\n- key: a\n   name: b\n", 3),
        ("in.yaml", "flags: {a: b}\n", 1),
        ("in.yaml", "- a\n", 1),
        ("in.json", "{\"flags\": [\n  {\"key\": 5}]}\n", 2),
        ("in.json", "{\"flags\": [\n  {\"key\" \"a\"}]}\n", 2),
    ] {
        fs::write(database.path(name), document).unwrap();
        let finished = database.run(&["import", name]);
        assert_eq!(finished.code, 1, "{document}");
        assert!(finished.stderr.contains("Error: unmarshalling document"), "{}", finished.stderr);
        // In the message, or as fields of the record beside it.
        let stated = |name: &str| {
            finished.stderr.contains(&format!("{name} {line}"))
                || finished.stderr.contains(&format!("\"{name}\":{line}"))
        };
        assert!(stated("line"), "line {line} is missing in: {}", finished.stderr);
        assert!(finished.stderr.contains("column"), "{}", finished.stderr);
    }
}

#[test]
fn unknown_versions_and_members_of_later_versions_are_refused() {
    let database = Database::new();
    for (document, text) in [
        ("version: \"5.0\"\n", "unsupported version: 5.0"),
        ("version: \"1.5\"\n", "unsupported version: 1.5"),
        ("version: \"abc\"\n", "parsing document version"),
        (
            "version: \"1.0\"\nflags: [{key: a, name: A, type: BOOLEAN_FLAG_TYPE}]\n",
            "flag.type is supported in version >=1.1, found 1.0",
        ),
    ] {
        database.import_fails(document, &[], &[text]);
    }
}

#[test]
fn a_failing_import_changes_nothing() {
    let database = Database::with("flags: [{key: old, name: Old}]\n");
    let before = database.export_all();
    for (document, options, text) in [
        // All of these fail after something was already created.
        (
            "flags: [{key: new, name: New}, {key: a, name: A, rules: [{segment: nope}]}]\n",
            &[][..],
            "segment \"default/nope\" not found",
        ),
        (
            "flags: [{key: new, name: New}, {key: old, name: Old}]\n",
            &[],
            "flag \"default/old\" is not unique",
        ),
        (
            "namespace: other\nflags: [{key: new, name: New}]\n---\nnamespace: third\nflags: [{key: d, name: D}, {key: d, name: D}]\n",
            &[],
            "is not unique",
        ),
        ("flags: [{key: new, name: New}, {key: new, name: New}]\n", &["--drop"], "is not unique"),
        (
            "flags: [{key: new, name: New}, {key: b, name: B, rules: [{segment: nope}]}]\n",
            &["--skip-existing"],
            "not found",
        ),
    ] {
        database.import_fails(document, options, &[text]);
        assert_eq!(database.export_all(), before, "after {document}");
    }
}

#[test]
fn skip_existing_leaves_what_is_there_and_adds_the_rest() {
    let database =
        Database::with("flags: [{key: old, name: Old}]\nsegments: [{key: s, name: Old segment}]\n");
    let document = "flags: [{key: old, name: Changed}, {key: new, name: New}]\nsegments: [{key: s, name: Changed}, {key: t, name: New segment}]\n";
    database.import(document, &["--skip-existing"]).success().unwrap();
    let exported = database.export_all();
    for present in ["name: Old\n", "key: new", "name: Old segment", "key: t"] {
        assert!(exported.contains(present), "{present:?} is missing in {exported}");
    }
    assert!(!exported.contains("Changed"), "{exported}");
    // Once more changes nothing.
    database.import(document, &["--skip-existing"]).success().unwrap();
    assert_eq!(database.export_all(), exported);
}

#[test]
fn drop_replaces_everything() {
    let database =
        Database::with("flags: [{key: old, name: Old}]\n---\nnamespace: gone\nflags: [{key: x, name: X}]\n");
    let document = recorded("version-1.3.yaml");
    database.import(&document, &["--drop"]).success().unwrap();
    assert_eq!(database.export_all(), recorded("version-1.3.exported.yaml"));
    database.import_fails("{}", &["--drop", "--skip-existing"], &["--skip-existing"]);
}

#[test]
fn a_namespace_may_be_named_by_document_or_command_line_but_not_differently() {
    let database = Database::new();
    let document = "flags: [{key: a, name: A}]\n";
    database.import_fails(document, &["--namespace", "shop"], &["shop", "not found"]);
    assert!(!database.export_all().contains("shop"));
    database.import(document, &["--namespace", "shop", "--create-namespace"]).success().unwrap();
    assert!(database.export(&["--namespaces", "shop"]).contains("key: a"));
    database.import("flags: [{key: b, name: B}]\n", &["--namespace", "shop"]).success().unwrap();
    assert!(database.export(&["--namespaces", "shop"]).contains("key: b"));
    let other = "namespace: other\nflags: [{key: c, name: C}]\n";
    database.import_fails(other, &["--namespace", "shop"], &["namespace mismatch", "other != shop"]);
    database.import(other, &[]).success().unwrap();
    let missing = database.run(&["export", "--namespaces", "shop,nowhere"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("namespace \"nowhere\" not found"), "{}", missing.stderr);
    assert_eq!(missing.stdout, "");
}

#[test]
fn an_export_replaces_a_file_whole_or_not_at_all() {
    let database = Database::with(RICH);
    let target = database.path("flags.yaml");
    fs::write(&target, "what was there before").unwrap();
    let failing = database.run(&["export", "--namespaces", "nowhere", "-o", "flags.yaml"]);
    assert_eq!(failing.code, 1);
    assert_eq!(fs::read_to_string(&target).unwrap(), "what was there before");
    database.run(&["export", "-o", "flags.yaml"]).success().unwrap();
    assert!(fs::read_to_string(&target).unwrap().starts_with("# exported by Flipt"));
    // No half files stay behind.
    let names: Vec<String> = fs::read_dir(database.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("flipt.db"))
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let nowhere = database.run(&["export", "-o", "no/such/folder/flags.yaml"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("no/such/folder/flags.yaml"), "{}", nowhere.stderr);
}

#[test]
fn an_export_to_an_unknown_extension_is_refused_before_anything_is_written() {
    let database = Database::with("flags: [{key: a, name: A}]\n");
    for name in ["flags.txt", "flags.toml"] {
        let finished = database.run(&["export", "-o", name]);
        assert_eq!(finished.code, 1);
        assert!(finished.stderr.contains("extension"), "{}", finished.stderr);
        assert!(!database.path(name).exists(), "{name}");
    }
    let import = database.run(&["import", "flags.txt"]);
    assert_eq!(import.code, 1);
    assert!(import.stderr.contains("flags.txt"), "{}", import.stderr);
}

#[test]
fn an_export_without_a_database_fails_and_creates_nothing() {
    let database = Database::new();
    for options in [&[][..], &["--all-namespaces", "-o", "file://snapshots"], &["-o", "out.yaml"]] {
        let finished = database.run(&[&["export"], options].concat());
        assert_eq!(finished.code, 1, "{options:?} {}", finished.stdout);
        assert!(finished.stderr.contains("flipt.db"), "{}", finished.stderr);
        assert_eq!(fs::read_dir(database.folder.path()).unwrap().count(), 0, "{options:?}");
    }
}

#[test]
fn an_export_of_a_database_without_a_schema_fails_and_leaves_it_alone() {
    let database = Database::new();
    fs::write(database.path("flipt.db"), b"").unwrap();
    let finished = database.run(&["export"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("migrat"), "{}", finished.stderr);
    assert_eq!(fs::read(database.path("flipt.db")).unwrap(), b"");
}

#[test]
fn a_snapshot_holds_every_namespace_or_is_not_published() {
    let database = Database::with("flags: [{key: a, name: A}]\n");
    let finished = database.run(&["export", "-o", "file://snapshots"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("--all-namespaces"), "{}", finished.stderr);
    assert!(!database.path("snapshots").exists());
}

#[test]
fn the_guard_refuses_to_publish_nothing_over_something() {
    let database = Database::with(RICH);
    let publish = |options: &[&str]| {
        database.run(&[&["export", "--all-namespaces", "-o", "file://snapshots"], options].concat())
    };
    publish(&[]).success().unwrap();
    let pointer = || fs::read(database.path("snapshots/v1/default/current.json")).unwrap();
    let before = pointer();
    database.import("flags: []\n", &["--drop"]).success().unwrap();
    let refused = publish(&[]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert_eq!(pointer(), before);
    publish(&["--guard-allow-empty", "--guard-max-shrink", "100"]).success().unwrap();
    assert_ne!(pointer(), before);
}

#[tokio::test]
async fn the_features_written_to_s3_validate_and_equal_the_export() {
    let s3 = S3::start(&["flags"]).await.unwrap();
    let document = format!("{RICH}---\n{}", recorded("version-1.4.yaml"));
    let mut database = Database::with(&document);
    database.cli = database.cli.clone().with_env(s3.credentials());
    let place = s3.at("flags/prod");
    let receipt = database.run(&["export", "--all-namespaces", "-o", &place]).success().unwrap();
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!((&receipt["changed"], &receipt["namespaces"]), (&json!(true), &json!(4)));
    // What a stock Flipt with this prefix reads, seen from the bucket's folder.
    let features = s3.folder().join("flags/prod/features");
    database.run(&["validate", "-d", features.to_str().unwrap()]).success().unwrap();
    for namespace in ["default", "mobile", "three", "four"] {
        let file = fs::read_to_string(features.join(namespace).join("features.yaml")).unwrap();
        assert_eq!(file, database.export(&["--namespaces", namespace, "--sort-by-key"]), "{namespace}");
    }
    // And a sidecar counts the same.
    let sidecar = Sidecar::start(SidecarOptions::new(&place).with_env(s3.credentials())).await.unwrap();
    assert_eq!(sidecar.status().await.unwrap()["digest"], receipt["digest"]);
}

#[test]
fn validate_names_file_and_line_of_what_is_wrong() {
    let database = Database::new();
    let bad = "version: \"1.4\"\nflags:\n- key: a\n  name: A\n  type: NO_SUCH_TYPE\n";
    fs::write(database.path("features.yaml"), bad).unwrap();
    let finished = database.run(&["validate"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stdout.contains("features.yaml"), "{}{}", finished.stdout, finished.stderr);
    let as_json = database.run(&["validate", "-F", "json", "--issue-exit-code", "7"]);
    assert_eq!(as_json.code, 7);
    let issues: Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!(issues[0]["location"]["file"], "features.yaml");
    assert!(issues[0]["location"]["line"].as_u64().unwrap() >= 3, "{issues}");
}

#[test]
fn many_flags_are_imported_within_a_minute_even_by_a_debug_build() {
    let database = Database::new();
    let document = flipt_e2e::documents::many_flags(1_200);
    let start = std::time::Instant::now();
    database.import(&document, &[]).success().unwrap();
    let elapsed = start.elapsed();
    // `make bench` holds the release build to one second.
    assert!(elapsed < std::time::Duration::from_secs(60), "{elapsed:?}");
    assert_eq!(database.export_all().matches("- key: flag-").count(), 1_200);
}

/// Runs a command line at a terminal at which somebody types this.
fn at_a_terminal(folder: &Path, command: &str, typed: &str) -> (bool, String) {
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", command, "/dev/null"])
        .env("FLIPT_DB_URL", format!("file:{}", folder.join("flipt.db").display()))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of util-linux");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn dropping_everything_is_asked_about_at_a_terminal_and_only_there() {
    let database = Database::with(RICH);
    let before = database.export_all();
    let small = "namespace: default\nflags:\n- key: only\n  name: Only\n";
    fs::write(database.path("small.yaml"), small).unwrap();
    let flipt = Binaries::find().unwrap().flipt;
    let import = |options: &str, typed: &str| {
        let command = format!("{} import --drop {options} small.yaml", flipt.display());
        at_a_terminal(database.folder.path(), &command, typed)
    };
    let (succeeded, asked) = import("", "n\n");
    assert!(!succeeded && asked.contains("Remove every namespace, flag and segment in"), "{asked}");
    assert_eq!(database.export_all(), before);
    let (succeeded, asked) = import("--yes", "");
    assert!(succeeded && !asked.contains("Remove every"), "{asked}");
    assert!(database.export_all().contains("key: only"));
    database.import(RICH, &["--drop"]).success().unwrap();
    assert_eq!(database.export_all(), before);
    let (succeeded, asked) = import("", "y\n");
    assert!(succeeded, "{asked}");
    assert!(database.export_all().contains("key: only"));
}
