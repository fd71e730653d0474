//! Promise: feature files become OCI image layouts that other tools can read, and nothing outside them is touched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use flipt_e2e::{Cli, Finished};
use serde_json::Value;

const FEATURES: &str = "namespace: one\nflags: [{key: f, name: F}]\n---\nflags: [{key: g, name: G, rules: [{segment: elsewhere}]}]\n";

struct Bundles {
    folder: tempfile::TempDir,
    cli: Cli,
}

impl Bundles {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("bundles").display().to_string();
        let cli = Cli::new(folder.path()).unwrap();
        let cli = cli.with_env([("FLIPT_STORAGE_OCI_BUNDLES_DIRECTORY".to_owned(), directory)]);
        fs::write(folder.path().join("features.yml"), FEATURES).unwrap();
        Self { folder, cli }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.cli.run(&[&["bundle"], arguments].concat()).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        let text = fs::read(self.folder.path().join("bundles").join(path)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn blob(&self, repository: &str, digest: &str) -> Value {
        self.json(&format!("{repository}/blobs/{}", digest.replace(':', "/")))
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_bundle_is_an_image_layout_with_a_layer_per_document() {
    let bundles = Bundles::new();
    let digest = bundles.run(&["build", "mine:v1"]).success().unwrap().trim().to_owned();
    assert_eq!(bundles.json("mine/oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = bundles.json("mine/index.json");
    assert_eq!(index["manifests"][0]["digest"], digest.as_str());
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "v1");
    let manifest = bundles.blob("mine", &digest);
    assert_eq!(manifest["artifactType"], "application/vnd.io.flipt.features.v1");
    let layers = manifest["layers"].as_array().unwrap();
    let namespaces: Vec<&Value> =
        layers.iter().map(|layer| &layer["annotations"]["io.flipt.features.namespace"]).collect();
    assert_eq!(namespaces, ["one", "default"]);
    for layer in layers {
        let document = bundles.blob("mine", layer["digest"].as_str().unwrap());
        assert_eq!(document["flags"].as_array().unwrap().len(), 1);
    }
    // Every blob that is named is there, and nothing else is.
    assert_eq!(files(&bundles.folder.path().join("bundles/mine/blobs/sha256")), 4);
}

#[test]
fn a_tag_moves_to_the_newest_bundle_and_copies_are_whole() {
    let bundles = Bundles::new();
    let first = bundles.run(&["build", "mine"]).success().unwrap();
    fs::write(bundles.folder.path().join("features.yml"), "flags: [{key: other, name: O}]\n").unwrap();
    let second = bundles.run(&["build", "mine:latest"]).success().unwrap();
    assert_ne!(first, second);
    let copied = bundles.run(&["push", "mine:latest", "flipt://local/deep/copy:v2"]).success().unwrap();
    assert_eq!(copied, second);
    let listed = bundles.run(&["list"]).success().unwrap();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["DIGEST", "REPO", "TAG", "CREATED"]);
    let short = |digest: &str| digest.trim_start_matches("sha256:")[..7].to_owned();
    assert_eq!(rows[1][..3], [&short(&second), "deep/copy", "v2"]);
    assert!(listed.contains(&format!("{}   mine        latest", short(&second))), "{listed}");
    assert!(listed.contains(&format!("{}   mine                 ", short(&first))), "{listed}");
    // What is no layout is passed over.
    fs::create_dir(bundles.folder.path().join("bundles/empty")).unwrap();
    assert_eq!(bundles.run(&["list"]).success().unwrap(), listed);
}

#[test]
fn names_that_lead_out_of_the_directory_are_refused() {
    let bundles = Bundles::new();
    for name in ["flipt://local/../../evil:v1", "flipt://local//tmp/evil", "mine:.v1", "Mine"] {
        let refused = bundles.run(&["build", name]);
        assert_eq!(refused.code, 1, "{name}");
        assert!(refused.stderr.contains("invalid reference"), "{}", refused.stderr);
    }
    for arguments in [&["build", "ghcr.io/org/mine:v1"][..], &["pull", "ghcr.io/org/mine:v1"]] {
        let refused = bundles.run(arguments);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("ghcr.io"), "{}", refused.stderr);
    }
    assert!(!bundles.folder.path().join("bundles").exists());
}
