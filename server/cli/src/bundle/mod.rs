//! `flipt bundle`: feature files as OCI artifacts on this machine (cli spec, section 7).

mod layout;
mod manifest;
mod reference;

use std::{path::Path, process::ExitCode};

use flipt_config::Bundles;
use flipt_model::document::feature_layers;

use crate::{arguments::BundleCommand, config::Sources, failure::Failure, usage};
use layout::Layout;
use manifest::ManifestVersion;
use reference::Reference;

/// Builds, lists or copies bundles.
pub(crate) fn run(sources: &Sources, command: Option<BundleCommand>) -> Result<ExitCode, Failure> {
    match command {
        None => print!("{}", usage::help(&["bundle"])),
        Some(BundleCommand::Build { names }) => {
            let [name] = usage::exactly(names)?;
            println!("{}", build(&sources.load_and_log(false)?.bundles, &name)?);
        }
        Some(BundleCommand::List { .. }) => {
            print!("{}", table(&layout::list(&sources.load_and_log(false)?.bundles.directory)?));
        }
        Some(BundleCommand::Push { names }) => {
            let [from, to] = usage::exactly(names)?;
            println!("{}", push(&sources.load_and_log(false)?.bundles, &from, &to)?);
        }
        Some(BundleCommand::Pull { names }) => {
            let [from] = usage::exactly(names)?;
            Reference::parse(&from)?.require_local()?;
            return Err(Failure::new(format!("{from:?} is on this machine already: name a registry")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Packs the feature files of the current directory, and gives the digest of the manifest.
fn build(bundles: &Bundles, name: &str) -> Result<String, Failure> {
    let version = ManifestVersion::parse(&bundles.manifest_version)?;
    let reference = Reference::parse(name)?;
    let repository = reference.require_local()?;
    let root = Path::new(".");
    let mut files = Vec::new();
    for name in flipt_declarative::selected_files(root).map_err(Failure::new)? {
        let text =
            std::fs::read(root.join(&name)).map_err(|error| Failure::new(format!("open {name}: {error}")))?;
        files.push((name, text));
    }
    let layers = feature_layers(&files).map_err(Failure::new)?;
    let layout = Layout::create(&bundles.directory, repository)?;
    let mut descriptors = Vec::with_capacity(layers.len());
    for layer in &layers {
        let blob = layout.put(layer.json.as_bytes())?;
        descriptors.push(manifest::layer(blob, &layer.namespace));
    }
    layout.put(manifest::EMPTY)?;
    let manifest = manifest::manifest(version, descriptors, chrono::Utc::now());
    let blob = layout.put(&manifest)?;
    layout.tag(&blob, Some(reference.tag_or_latest()?))?;
    Ok(blob.digest)
}

/// Copies a bundle of this machine, and gives its digest.
fn push(bundles: &Bundles, from: &str, to: &str) -> Result<String, Failure> {
    let (source, target) = (Reference::parse(from)?, Reference::parse(to)?);
    let name = source.name().ok_or_else(|| Failure::new("source bundle: reference required"))?;
    let tag = target.name().ok_or_else(|| Failure::new("destination bundle: reference required"))?;
    let layout = Layout::open(&bundles.directory, source.require_local()?)?;
    let manifest = layout.find(name).ok_or_else(|| Failure::new(format!("{from}: not found")))?;
    let target = Layout::create(&bundles.directory, target.require_local()?)?;
    target.copy_from(&layout, &manifest)?;
    // What is named by its digest needs no tag.
    target.tag(&manifest, Some(tag).filter(|tag| *tag != manifest.digest))?;
    Ok(manifest.digest)
}

/// A table whose columns are as wide as their widest cell and three spaces.
fn table(listed: &[layout::Listed]) -> String {
    let mut rows = vec![["DIGEST", "REPO", "TAG", "CREATED"].map(str::to_owned)];
    for bundle in listed {
        let digest = bundle.digest.trim_start_matches("sha256:").chars().take(7).collect();
        let created = bundle.created.format("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
        rows.push([digest, bundle.repository.clone(), bundle.tag.clone(), created]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(&format!("{cell:<width$}   "));
        }
        text.push('\n');
    }
    text
}
