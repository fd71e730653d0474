//! Promise: a configuration file can be made and changed, and is never broken by that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use flipt_e2e::{Cli, Finished};

fn cli(folder: &Path, editor: &str) -> Cli {
    let environment = [("EDITOR", editor), ("FLIPT_DB_URL", "")];
    Cli::new(folder).unwrap().with_env(environment.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// An editor that puts a text in the place of the file.
fn editor(folder: &Path, text: &str) -> String {
    let (new, script) = (folder.join("new.yml"), folder.join("editor.sh"));
    fs::write(&new, text).unwrap();
    fs::write(&script, format!("#!/bin/sh\ntest \"$1\" = --wait && cp {} \"$2\"\n", new.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{} --wait", script.display())
}

#[test]
fn the_file_with_the_defaults_is_private_and_valid() {
    let folder = tempfile::tempdir().unwrap();
    let cli = cli(folder.path(), "");
    // Without a terminal nobody can be asked: the user's own place is taken, if it is free.
    let made = cli.run(&["config", "init"]).unwrap();
    let path = folder.path().join(".config/flipt/config.yml");
    assert_eq!(made.success().unwrap(), format!("Configuration file written to {}\n", path.display()));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(cli.run(&["config", "validate"]).unwrap().code, 0);
    assert!(cli.run(&["config", "show"]).unwrap().success().unwrap().contains("config.yml:"));

    fs::write(&path, "server: {http_port: 1}\n").unwrap();
    let refused = cli.run(&["cfg", "init"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), "server: {http_port: 1}\n");
    cli.run(&["config", "init", "-y"]).unwrap().success().unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("# yaml-language-server: $schema=https://"));
    cli.run(&["--config", "deep/er/mine.yml", "config", "init"]).unwrap().success().unwrap();
    assert_eq!(mode(&folder.path().join("deep/er/mine.yml")), 0o600);
}

#[test]
fn what_the_editor_leaves_is_written_if_a_server_would_start_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yml");
    let edit = |text: &str| -> Finished {
        cli(folder.path(), &editor(folder.path(), text))
            .run(&["config", "edit", "--config", "c.yml"])
            .unwrap()
    };
    let before = "server:\n  http_port: 1234\n";
    fs::write(&path, before).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

    let broken = "server:\n  http_port: eighty\n";
    let refused = edit(broken);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("'server.http_port' cannot parse"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    // The work is not lost.
    let copy = refused.stderr.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(fs::read_to_string(copy).unwrap(), broken);
    fs::remove_file(copy).unwrap();

    let good = "server:\n  http_port: 4321\n  htpp_port: 1\n";
    let edited = edit(good);
    assert_eq!(edited.code, 0, "{}", edited.stderr);
    assert!(edited.stderr.contains("unknown key server.htpp_port"), "{}", edited.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.yml"), "log: {level: warn}\n").unwrap();
    for (editor, part) in [("false", "exit status: 1"), ("/no/such/editor", "$EDITOR")] {
        let failed = cli(folder.path(), editor).run(&["config", "edit", "--config", "c.yml"]).unwrap();
        assert_eq!(failed.code, 1);
        assert!(failed.stderr.contains(part), "{}", failed.stderr);
        assert_eq!(fs::read_to_string(folder.path().join("c.yml")).unwrap(), "log: {level: warn}\n");
    }
}
