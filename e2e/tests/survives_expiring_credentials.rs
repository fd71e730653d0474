//! Promise: credentials that expire while a sidecar runs do not keep it from S3.
//!
//! In a cluster they last an hour, or a minute in the harshest test. Here it is seconds, so that many generations of
//! them pass in one test; the stand-ins for STS and S3 know only what is asked of them, and refuse every key that is
//! older than it may be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{SecondsFormat, Utc};
use flipt_e2e::{Cli, Sidecar, SidecarOptions, until};

/// How long a key is accepted.
const LIFE_MS: u128 = 4_000;

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// A key that tells when it was given out.
fn new_key(seen: &Mutex<Seen>) -> String {
    let now = now_ms();
    seen.lock().unwrap().newest_ms = now;
    format!("AKIA{now}")
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// What the stand-ins saw.
#[derive(Default)]
struct Seen {
    /// Keys that reads were accepted with.
    accepted: BTreeSet<String>,
    expired: usize,
    /// Keys that STS gave out.
    assumed: usize,
    /// When the newest key was given out.
    newest_ms: u128,
}

/// Stands for S3, which has what is in a folder, and for STS.
struct Cloud {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Cloud {
    fn new(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (root, notes) = (root.clone(), Arc::clone(&notes));
                std::thread::spawn(move || serve(socket.unwrap(), &root, &notes));
            }
        });
        Self { url, seen }
    }
}

fn serve(mut socket: TcpStream, root: &Path, seen: &Mutex<Seen>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let answered = if head.starts_with("POST ") {
        seen.lock().unwrap().assumed += 1;
        // Ten seconds before that, clients look for new ones.
        let end = (Utc::now() + Duration::from_secs(12)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
            new_key(seen)
        );
        answer("200 OK", "content-type: text/xml\r\n", body.as_bytes())
    } else {
        let key = head.split("Credential=").nth(1).unwrap_or_default().split('/').next().unwrap().to_owned();
        let born: u128 = key.trim_start_matches("AKIA").parse().unwrap_or_default();
        let mut seen = seen.lock().unwrap();
        if now_ms() - born > LIFE_MS {
            seen.expired += 1;
            let body =
                b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
            answer("400 Bad Request", "content-type: application/xml\r\n", body)
        } else {
            seen.accepted.insert(key);
            let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap();
            match fs::read(root.join(path.trim_start_matches("/flags/"))) {
                Ok(bytes) => answer("200 OK", "etag: \"x\"\r\n", &bytes),
                Err(_) => answer("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"),
            }
        }
    };
    let _ = socket.write_all(&answered);
    // Whoever still sends gets to its end.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
    let _ = socket.read(&mut [0; 4096]);
}

/// Flags in a folder, as they stand in a bucket.
fn published(folder: &tempfile::TempDir) -> PathBuf {
    let cli = Cli::new(folder.path()).unwrap();
    let document = "flags: [{key: on, name: On, type: BOOLEAN_FLAG_TYPE, enabled: true}]\n";
    cli.run(&["migrate"]).unwrap().success().unwrap();
    cli.run_with_input(&["import", "--stdin"], document).unwrap().success().unwrap();
    cli.run(&["export", "--all-namespaces", "-o", "file://bucket"]).unwrap().success().unwrap();
    folder.path().join("bucket")
}

async fn follows_for_generations(cloud: &Cloud, options: SidecarOptions) {
    let sidecar = Sidecar::start(options).await.unwrap();
    until("many keys have come and gone", Duration::from_secs(60), || async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let status = sidecar.status().await.unwrap();
        let seen = cloud.seen.lock().unwrap();
        // On a busy machine, the newest key may be over before it is used, or replaced.
        let is_over = now_ms().saturating_sub(seen.newest_ms) >= 3_000;
        assert!(status["upstream"] == "ok" || is_over, "{status}\n{}", sidecar.logs());
        seen.accepted.len() >= 6
    })
    .await
    .unwrap_or_else(|failure| panic!("{failure}\n{}", sidecar.logs()));
    assert_eq!(sidecar.boolean("on", "e").await, Ok(true));
}

fn settings(cloud: &Cloud, more: &[(&str, String)]) -> SidecarOptions {
    let source = format!("s3://flags?region=us-east-1&endpoint={}&pathStyle=true", cloud.url);
    let quiet = ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned());
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    SidecarOptions::new(source).without_cache().with_env(more.chain([quiet]))
}

#[tokio::test]
async fn a_role_by_web_identity_is_assumed_again_before_its_credentials_end() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::new(published(&folder));
    let token = folder.path().join("token");
    fs::write(&token, "a.b.c").unwrap();
    let more = [
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/flags".to_owned()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
        ("AWS_ENDPOINT_URL_STS", cloud.url.clone()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    follows_for_generations(&cloud, settings(&cloud, &more)).await;
    let seen = cloud.seen.lock().unwrap();
    assert!(seen.assumed >= 6);
    // A request that was signed just before the end may arrive after it, and is made again with the next key.
    assert!(seen.expired < seen.assumed, "keys are used beyond their time: {} times", seen.expired);
}

/// Puts a new key into a file of credentials.
fn replace_key(file: &Path, seen: &Mutex<Seen>) {
    let next = file.with_extension("new");
    let key = new_key(seen);
    fs::write(&next, format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")).unwrap();
    fs::rename(&next, file).unwrap();
}

#[tokio::test]
async fn a_file_whose_keys_are_replaced_is_read_again_when_s3_says_they_are_over() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::new(published(&folder));
    let file = folder.path().join("credentials");
    replace_key(&file, &cloud.seen);
    let more = [("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string())];
    let seen = Arc::clone(&cloud.seen);
    let replacing = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            replace_key(&file, &seen);
        }
    });
    follows_for_generations(&cloud, settings(&cloud, &more)).await;
    replacing.abort();
    assert!(cloud.seen.lock().unwrap().expired >= 5);
}
