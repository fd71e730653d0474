//! Promise: a folder of documents is served as it is, and whatever happens to its files, evaluation goes on with
//! the last good state and takes up the next one by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    future::Future,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use flipt_e2e::{PATIENCE, Server, ServerOptions, Sidecar, SidecarOptions, http, until};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A document with one boolean flag of this value, and one that is always there.
fn document(on: bool) -> String {
    format!(
        "flags:\n- {{key: switch, name: Switch, type: BOOLEAN_FLAG_TYPE, enabled: {on}}}\n\
         - {{key: rock, name: Rock, type: BOOLEAN_FLAG_TYPE, enabled: true}}\n"
    )
}

fn options(folder: &Path) -> ServerOptions {
    let set = |name: &str, value: String| (format!("FLIPT_STORAGE_{name}"), value);
    ServerOptions::new().with_env([
        set("TYPE", "local".to_owned()),
        set("LOCAL_PATH", folder.display().to_string()),
        set("LOCAL_POLL_INTERVAL", "100ms".to_owned()),
    ])
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.replace("features.yml", &document(false));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes beside the place and renames, as a careful editor does.
    fn replace(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Writes line after line into the place itself; gives the longest time that the file was left alone.
    async fn write_in_pieces(&self, name: &str, text: &str) -> Duration {
        let (mut longest, mut before) = (Duration::ZERO, Instant::now());
        let mut file = fs::File::create(self.path(name)).unwrap();
        for line in text.split_inclusive('\n') {
            let writing = Instant::now();
            file.write_all(line.as_bytes()).unwrap();
            longest = longest.max(before.elapsed());
            before = writing;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        longest
    }

    async fn serve(&self) -> Server {
        Server::start(options(self.0.path())).await.unwrap()
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, look: impl FnMut() -> F) {
    until(what, PATIENCE, look).await.unwrap();
}

async fn becomes(server: &Server, flag: &str, value: bool) {
    eventually(&format!("{flag} is {value}"), || async {
        server.boolean(flag, "e").await.is_ok_and(|found| found == value)
    })
    .await;
}

/// Evaluates without a pause until it is told to stop, and counts; every answer must be that of the flag
/// that is always there.
struct Load(Arc<AtomicBool>, JoinHandle<u64>);

impl Load {
    fn on(server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, url) = (Arc::clone(&stop), server.url("/evaluate/v1/boolean"));
        let evaluating = tokio::spawn(async move {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                let body = json!({ "flagKey": "rock", "entityId": "e" });
                let answer = http::request("POST", url.clone()).json(&body).send().await.unwrap();
                assert_eq!((answer.status, answer.json()["enabled"].clone()), (200, json!(true)));
                count += 1;
            }
            count
        });
        Self(stop, evaluating)
    }

    async fn finish(self) {
        self.0.store(true, Ordering::Relaxed);
        assert!(self.1.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_may_be_edited_broken_repaired_deleted_and_replaced_while_flags_are_evaluated() {
    let folder = Folder::new();
    let server = folder.serve().await;
    let load = Load::on(&server);
    assert!(!server.boolean("switch", "e").await.unwrap());

    folder.replace("features.yml", &document(true));
    becomes(&server, "switch", true).await;

    folder.replace("features.yml", "flags:\n- {key: switch, name: Switch}\n- {key: rock}\n");
    server.says("features.yml:3: flags.1.name").await.unwrap();
    assert!(server.boolean("switch", "e").await.unwrap());
    server.says("`flipt validate` checks a folder").await.unwrap();

    folder.replace("features.yml", &document(false));
    becomes(&server, "switch", false).await;
    server.says("flag state can be loaded again").await.unwrap();

    let more = "flags: [{key: more, name: More, type: BOOLEAN_FLAG_TYPE, enabled: true}]\n";
    folder.replace("more.features.yaml", more);
    becomes(&server, "more", true).await;
    fs::remove_file(folder.path("more.features.yaml")).unwrap();
    eventually("the flag of the deleted file is gone", || async {
        server.boolean("more", "e").await.is_err_and(|error| error.to_string().contains("404"))
    })
    .await;
    load.finish().await;

    let refusals = server.logs().matches("flag state not loaded").count();
    assert_eq!(refusals, 1, "one failure is one record: {}", server.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_in_pieces_never_shows_half() {
    // Cut off after any of its first lines, the document is valid and has no flags.
    let text = format!("version: \"1.4\"\n{}{}", "# More to come.\n".repeat(10), document(true));
    for _ in 0..3 {
        let folder = Folder::new();
        let server = folder.serve().await;
        let load = Load::on(&server);
        // A file that was left alone for a second counts as written: then the machine is too busy to tell anything.
        if folder.write_in_pieces("features.yml", &text).await < Duration::from_millis(900) {
            becomes(&server, "switch", true).await;
            load.finish().await;
            return;
        }
        load.1.abort();
    }
    panic!("no file was written without a pause of a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_goes_away_and_comes_back_is_taken_up_again() {
    let folder = Folder::new();
    let server = folder.serve().await;
    let load = Load::on(&server);
    let (here, away) = (folder.0.path().to_owned(), folder.0.path().with_extension("away"));
    fs::rename(&here, &away).unwrap();
    server.says("no such file or directory").await.unwrap();
    fs::write(away.join("features.yml"), document(true)).unwrap();
    fs::rename(&away, &here).unwrap();
    becomes(&server, "switch", true).await;
    load.finish().await;
    server.says("readable again").await.unwrap();
}

#[tokio::test]
async fn a_first_load_that_fails_ends_the_start_with_file_line_and_remedy() {
    let folder = Folder::new();
    folder.replace("features.yml", "flags:\n- {key: a, name: A, rules: [{segment: nope}]}\n");
    let missing = folder.path("missing");
    for (path, texts) in [
        (folder.0.path(), &["Error: features.yml:2: ", "unknown segment \"nope\"", "define the segment"][..]),
        (&missing, &["Error: storage.local.path: stat ", "missing: no such file or directory"]),
    ] {
        let mut server = Server::spawn(options(path)).unwrap();
        eventually("the server ends", || {
            let ended = server.process().exit_status();
            async move { ended.is_some() }
        })
        .await;
        assert_eq!(server.process().exit_status().unwrap().code(), Some(1));
        for text in texts {
            server.says(text).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_and_versions_outlive_a_restart_and_change_with_the_content_alone() {
    let folder = Folder::new();
    let rules = "namespace: shop\nflags: [{key: f, name: F, variants: [{key: v}], rules: [{segment: s, distributions: [{variant: v, rollout: 100}]}]}]\n\
                 segments: [{key: s, name: S, match_type: ALL_MATCH_TYPE}]\n";
    folder.replace("shop.features.yml", rules);
    let mut server = folder.serve().await;
    let etag = async |server: &Server, namespace: &str| {
        let url = server.url(&format!("/internal/v1/evaluation/snapshot/namespace/{namespace}"));
        let answer = http::get(url).await.unwrap();
        answer.header("etag").unwrap().to_owned()
    };
    let rule = async |server: &Server| {
        let url = server.url("/api/v1/namespaces/shop/flags/f/rules");
        http::get(url).await.unwrap().json()["rules"][0]["id"].clone()
    };
    let (shop, default, id) =
        (etag(&server, "shop").await, etag(&server, "default").await, rule(&server).await);
    let url = server.url(&format!("/api/v1/namespaces/shop/flags/f/rules/{}", id.as_str().unwrap()));
    assert_eq!(http::get(url).await.unwrap().json()["id"], id);

    server.kill();
    server.restart().await.unwrap();
    assert_eq!((etag(&server, "shop").await, rule(&server).await), (shop.clone(), id));

    folder.replace("features.yml", &document(true));
    becomes(&server, "switch", true).await;
    assert_ne!(etag(&server, "default").await, default);
    assert_eq!(etag(&server, "shop").await, shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_folder_says_reaches_the_sidecars_also_after_a_restart() {
    let folder = Folder::new();
    let published = tempfile::tempdir().unwrap();
    let location = format!("file://{}", published.path().display());
    let mut server = Server::start(options(folder.0.path()).publish_to(&location)).await.unwrap();
    let sidecar = Sidecar::start(SidecarOptions::new(location)).await.unwrap();
    let reaches = async |value: bool| {
        eventually(&format!("the sidecar says {value}"), || async {
            sidecar.boolean("switch", "e").await.is_ok_and(|found| found == value)
        })
        .await;
    };
    reaches(false).await;
    folder.replace("features.yml", &document(true));
    reaches(true).await;
    server.kill();
    folder.replace("features.yml", &document(false));
    server.restart().await.unwrap();
    reaches(false).await;
    assert!(!server.logs().contains("snapshot not published"), "{}", server.logs());
}
