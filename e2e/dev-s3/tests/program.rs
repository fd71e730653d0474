//! Promises of the program: how it starts, whom it refuses, how it stops.
//!
//! What it answers to signed requests is tested by the client's own suite, in `core/snapshots`.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The program in a folder of its own; killed if the test fails before it was stopped.
struct Running {
    child: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(root: &std::path::Path) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dev-s3"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--access-key",
            "AKID",
            "--secret-key",
            "hunter2",
            "--bucket",
            "flags",
        ])
        .arg("--root")
        .arg(root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.strip_prefix("listening on ").expect("the line that tells the address").trim().to_owned();
    Running { child, address }
}

#[test]
fn creates_the_bucket_and_refuses_unsigned_requests() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("made/by/itself");
    let running = start(&root);
    assert!(root.join("flags").is_dir());
    std::fs::write(root.join("flags/secret"), "content").unwrap();
    let mut connection = TcpStream::connect(&running.address).unwrap();
    write!(
        connection,
        "GET /flags/secret HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        running.address
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(!answer.contains("content\n") && !answer.ends_with("content"), "{answer}");
}

#[test]
fn stops_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path());
    // A connection that says nothing must not keep it alive.
    let _idle = TcpStream::connect(&running.address).unwrap();
    let told = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn refuses_a_bucket_name_that_leaves_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["..", "../x", "a/b", "UPPER", "ab"] {
        let error = flipt_dev_s3::create_bucket(folder.path(), name).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{name}");
    }
}
