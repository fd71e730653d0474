//! The manifests of the repository are those of the types, and are what people are told they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path};

use flipt_crds::{CATEGORY, GROUP, VERSION, manifests};

#[test]
fn the_manifests_of_the_repository_are_current() {
    keeps_current(concat!(env!("CARGO_MANIFEST_DIR"), "/generated"));
}

#[test]
fn the_chart_installs_the_same() {
    keeps_current(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/flipt/files/crds"));
}

/// The folder holds the definitions of all kinds as they are, and nothing else.
fn keeps_current(folder: &str) {
    let folder = Path::new(folder);
    let mut expected = BTreeSet::new();
    for manifest in manifests() {
        let path = folder.join(&manifest.file_name);
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == manifest.to_yaml().unwrap(), "{} is out of date: run `make crds`", path.display());
        expected.insert(path);
    }
    let stored: BTreeSet<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(stored, expected, "a manifest without a kind: remove it");
}

#[test]
fn every_kind_is_of_the_one_group_and_has_what_people_use() {
    let mut short_names = BTreeSet::new();
    for manifest in manifests() {
        let spec = manifest.definition.spec;
        let kind = &spec.names.kind;
        assert_eq!((spec.group.as_str(), spec.versions.len()), (GROUP, 1), "{kind}");
        assert_eq!(spec.versions[0].name, VERSION, "{kind}");
        assert_eq!(spec.names.categories, Some(vec![CATEGORY.to_owned()]), "{kind}");
        assert_eq!(spec.scope == "Cluster", kind.starts_with("Cluster"), "{kind}");
        let subresources = spec.versions[0].subresources.clone().unwrap();
        assert!(subresources.status.is_some(), "{kind}");
        let columns = spec.versions[0].additional_printer_columns.clone().unwrap();
        assert!(
            ["Ready", "Age"].iter().all(|name| columns.iter().any(|column| &column.name == name)),
            "{kind}"
        );
        assert!(short_names.insert(spec.names.short_names.unwrap()), "{kind}: its short name is another's");
    }
    assert_eq!(short_names.len(), 7);
}
