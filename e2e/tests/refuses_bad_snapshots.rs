//! Promise: whatever stands in S3, the sidecar keeps deciding by the last good snapshot and names the trouble.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use flipt_e2e::{Cli, PATIENCE, S3, Sidecar, SidecarOptions, until, until_some};
use flipt_snapshots::{
    Digest, Store,
    format::Keys,
    store::{Got, Headers, Precondition},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADERS: Headers = Headers { content_type: "application/octet-stream", cache_control: "no-cache" };
const POINTER: &str = "v1/default/current.json";

/// Snapshots are published by hand and damaged by hand; a sidecar follows them.
struct Ground {
    s3: S3,
    store: Box<dyn Store>,
    cli: Cli,
    sidecar: Sidecar,
    _folder: TempDir,
}

impl Ground {
    /// With the flag `checkout` on, published and loaded.
    async fn new() -> Self {
        let s3 = S3::start(&["flags"]).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cli = Cli::new(folder.path()).unwrap().with_env(s3.credentials());
        let store = s3.store("flags").await.unwrap();
        publish(&cli, &s3, true);
        let options = SidecarOptions::new(s3.at("flags")).with_env(s3.credentials());
        let sidecar = Sidecar::start(options).await.unwrap();
        assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
        Self { s3, store, cli, sidecar, _folder: folder }
    }

    async fn read(&self, key: &str) -> Vec<u8> {
        match self.store.get(key, None, u64::MAX).await.unwrap() {
            Got::Found { bytes, .. } => bytes,
            other => panic!("{key}: {other:?}"),
        }
    }

    async fn write(&self, key: &str, bytes: Vec<u8>) {
        self.store.put(key, bytes, Precondition::None, HEADERS).await.unwrap();
    }

    async fn pointer(&self) -> Value {
        serde_json::from_slice(&self.read(POINTER).await).unwrap()
    }

    /// Publishes the flag switched off, as a pointer and object that `damage` has had its way with. The object
    /// is damaged before the pointer names it, so that there is no moment at which it is good.
    async fn publish_damaged(&self, damage: impl FnOnce(Value, Vec<u8>) -> (Value, Vec<u8>)) {
        let before = self.read(POINTER).await;
        let elsewhere = self.s3.at("flags/elsewhere");
        import(&self.cli, false);
        self.cli.run(&["export", "--all-namespaces", "-o", &elsewhere]).unwrap().success().unwrap();
        let pointer: Value =
            serde_json::from_slice(&self.read(&format!("elsewhere/{POINTER}")).await).unwrap();
        let path = pointer["path"].as_str().unwrap().to_owned();
        let object = self.read(&format!("elsewhere/v1/default/{path}")).await;
        let (pointer, object) = damage(pointer, object);
        let path = pointer["path"].as_str().unwrap();
        self.write(&format!("v1/default/{path}"), object).await;
        self.write(POINTER, pointer.to_string().into_bytes()).await;
        assert_ne!(self.read(POINTER).await, before);
    }

    /// Waits until the status names this trouble; then the old decision must still hold.
    async fn is_refused(&self, upstream: &str, text: &str) {
        let status = until_some(&format!("upstream is {upstream}"), PATIENCE, || async {
            Some(self.sidecar.status().await.unwrap()).filter(|status| status["upstream"] == upstream)
        })
        .await
        .unwrap_or_else(|failure| panic!("{failure}\n{}", self.sidecar.logs()));
        assert!(status["lastError"].as_str().unwrap().contains(text), "{text:?} is missing in {status}");
        assert_eq!(status["loaded"], true);
        assert_eq!(self.sidecar.boolean("checkout", "e").await, Ok(true));
        assert_eq!(self.sidecar.probe("/readyz").await, Ok(200));
        let polls = format!("flipt_snapshot_poll_total{{result=\"{upstream}\"}}");
        assert!(self.sidecar.metric(&polls).await.unwrap() >= Some(1.0), "{polls}");
        self.sidecar.says(upstream).await.unwrap();
    }

    /// The next change that is published is taken without a restart.
    async fn recovers(&self) {
        let document = "flags: [{key: new, name: New}]\n";
        self.cli.run_with_input(&["import", "--stdin"], document).unwrap().success().unwrap();
        self.is_repaired().await;
    }

    /// The next publication repairs it, even if nothing has changed.
    async fn is_repaired(&self) {
        let export = ["export", "--all-namespaces", "-o", &self.s3.at("flags")];
        self.cli.run(&export).unwrap().success().unwrap();
        until("a good snapshot is loaded", PATIENCE, || async {
            self.sidecar.boolean("checkout", "e").await == Ok(false)
                && self.sidecar.status().await.unwrap()["upstream"] == "ok"
        })
        .await
        .unwrap_or_else(|failure| panic!("{failure}\n{}", self.sidecar.logs()));
    }
}

fn import(cli: &Cli, enabled: bool) {
    let document = format!(
        "flags: [{{key: checkout, name: Checkout, type: BOOLEAN_FLAG_TYPE, enabled: {enabled}}}, {{key: other, name: Other}}]\n"
    );
    cli.run_with_input(&["import", "--stdin", "--drop"], &document).unwrap().success().unwrap();
}

fn publish(cli: &Cli, s3: &S3, enabled: bool) {
    import(cli, enabled);
    cli.run(&["export", "--all-namespaces", "-o", &s3.at("flags")]).unwrap().success().unwrap();
}

fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// Names another object that is `raw` compressed, with everything about it right.
fn name(pointer: &mut Value, raw: &[u8], raw_size: usize) -> Vec<u8> {
    let (digest, object) = (Digest::of(raw), gzip(raw));
    pointer["digest"] = json!(digest.to_string());
    pointer["path"] = json!(Keys::object_path(&digest));
    pointer["size"] = json!(object.len());
    pointer["rawSize"] = json!(raw_size);
    object
}

#[tokio::test]
async fn a_corrupt_object() {
    let ground = Ground::new().await;
    ground
        .publish_damaged(|pointer, mut object| {
            let middle = object.len() / 2;
            object[middle..middle + 8].fill(0xff);
            (pointer, object)
        })
        .await;
    ground.is_refused("corrupt", "objects/sha256").await;
    ground.recovers().await;
}

#[tokio::test]
async fn a_truncated_object() {
    let ground = Ground::new().await;
    ground
        .publish_damaged(|pointer, mut object| {
            object.truncate(object.len() / 2);
            (pointer, object)
        })
        .await;
    ground.is_refused("corrupt", "truncated gzip").await;
    ground.is_repaired().await;
}

#[tokio::test]
async fn an_object_that_is_no_gzip() {
    let ground = Ground::new().await;
    ground.publish_damaged(|pointer, _| (pointer, b"<html>an error page</html>".to_vec())).await;
    ground.is_refused("corrupt", "objects/sha256").await;
    ground.recovers().await;
}

#[tokio::test]
async fn an_object_of_another_digest() {
    let ground = Ground::new().await;
    ground
        .publish_damaged(|mut pointer, _| {
            // A good snapshot, but not the one that is named.
            let raw = br#"{"namespaces":[]}"#;
            pointer["rawSize"] = json!(raw.len());
            (pointer, gzip(raw))
        })
        .await;
    ground.is_refused("corrupt", "digest").await;
    ground.recovers().await;
}

#[tokio::test]
async fn an_object_with_the_right_digest_that_is_no_snapshot() {
    let ground = Ground::new().await;
    ground
        .publish_damaged(|mut pointer, _| {
            let raw = br#"{"namespaces":[{"key":5}]}"#;
            let object = name(&mut pointer, raw, raw.len());
            (pointer, object)
        })
        .await;
    ground.is_refused("corrupt", "no snapshot").await;
    ground.recovers().await;
}

#[tokio::test]
async fn an_empty_snapshot_that_its_pointer_does_not_announce() {
    let ground = Ground::new().await;
    ground
        .publish_damaged(|mut pointer, _| {
            let raw = br#"{"namespaces":[]}"#;
            let object = name(&mut pointer, raw, raw.len());
            (pointer, object)
        })
        .await;
    ground.is_refused("corrupt", "0 flags").await;
    ground.recovers().await;
}

#[tokio::test]
async fn a_bomb_that_announces_itself() {
    let ground = Ground::new().await;
    let bomb = vec![b' '; 80 * 1024 * 1024];
    ground
        .publish_damaged(|mut pointer, _| {
            let object = name(&mut pointer, &bomb, bomb.len());
            (pointer, object)
        })
        .await;
    ground.is_refused("too_large", "too large").await;
    ground.recovers().await;
}

#[tokio::test]
async fn a_bomb_that_lies_about_its_size() {
    let mut ground = Ground::new().await;
    let bomb = vec![b' '; 80 * 1024 * 1024];
    ground
        .publish_damaged(|mut pointer, _| {
            let object = name(&mut pointer, &bomb, 100);
            (pointer, object)
        })
        .await;
    ground.is_refused("corrupt", "unpacks to more than").await;
    let peak = peak_memory(ground.sidecar.process().id());
    assert!(peak < 64 * 1024 * 1024, "the bomb was unpacked: {peak} bytes at the peak");
    ground.recovers().await;
}

/// Most memory that a process ever had at once, in bytes.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_lower_revision() {
    let ground = Ground::new().await;
    let loaded = ground.pointer().await["revision"].as_u64().unwrap();
    ground
        .publish_damaged(|mut pointer, object| {
            pointer["revision"] = json!(loaded - 1);
            (pointer, object)
        })
        .await;
    ground.is_refused("revision_regressed", "back to revision").await;
    // Whoever publishes next repairs it.
    ground.recovers().await;
}

#[tokio::test]
async fn a_snapshot_of_another_database() {
    let ground = Ground::new().await;
    let good = ground.read(POINTER).await;
    ground
        .publish_damaged(|mut pointer, object| {
            pointer["epoch"] = json!("another-database");
            (pointer, object)
        })
        .await;
    ground.is_refused("epoch_changed", "another-database").await;
    ground.write(POINTER, good).await;
    ground.recovers().await;
}

#[tokio::test]
async fn a_deleted_pointer() {
    let ground = Ground::new().await;
    ground.store.delete(POINTER).await.unwrap();
    ground.is_refused("missing", "current.json").await;
    import(&ground.cli, false);
    ground.is_repaired().await;
}

#[tokio::test]
async fn a_deleted_object() {
    let ground = Ground::new().await;
    // A pointer to it is written while the object is damaged, so that it cannot be loaded before it is gone.
    ground.publish_damaged(|pointer, _| (pointer, Vec::new())).await;
    let path = ground.pointer().await["path"].as_str().unwrap().to_owned();
    ground.store.delete(&format!("v1/default/{path}")).await.unwrap();
    ground.is_refused("missing", "does not exist").await;
    ground.is_repaired().await;
}

#[tokio::test]
async fn a_newer_schema() {
    let ground = Ground::new().await;
    let good = ground.read(POINTER).await;
    ground
        .publish_damaged(|mut pointer, object| {
            pointer["schemaVersion"] = json!(99);
            pointer["minReader"] = json!(99);
            (pointer, object)
        })
        .await;
    ground.is_refused("schema_too_new", "schema version 99").await;
    ground.write(POINTER, good).await;
    ground.recovers().await;
}

#[tokio::test]
async fn a_pointer_that_is_none() {
    let ground = Ground::new().await;
    let good = ground.read(POINTER).await;
    ground.write(POINTER, b"{\"kind\": \"flipt-sn".to_vec()).await;
    ground.is_refused("corrupt", "current.json").await;
    ground.write(POINTER, vec![b'x'; 100 * 1024]).await;
    ground.is_refused("too_large", "current.json").await;
    ground.write(POINTER, good).await;
    import(&ground.cli, false);
    ground.recovers().await;
}

#[tokio::test]
async fn credentials_that_are_no_longer_accepted() {
    let ground = Ground::new().await;
    // The same sidecar's view after its key was withdrawn: started on its cache with a wrong one.
    let options = SidecarOptions::new(ground.s3.at("flags")).with_env(ground.s3.wrong_credentials());
    let stranger = Sidecar::start_listening(options).await.unwrap();
    let status = until_some("upstream is forbidden", PATIENCE, || async {
        Some(stranger.status().await.unwrap()).filter(|status| status["upstream"] == "forbidden")
    })
    .await
    .unwrap();
    assert!(status["lastError"].as_str().unwrap().contains("credentials"), "{status}");
    assert_eq!(status["loaded"], false);
    assert!(!stranger.logs().contains("not-the-secret"));
}
