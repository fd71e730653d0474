//! Writes the definitions of all custom resources into a folder, a file per kind.
//!
//! `crdgen [FOLDER]`; without a folder, into that of the repository.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        env::args().nth(1).unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/generated").to_owned());
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for manifest in flipt_crds::manifests() {
        // Whoever reads in between sees a whole file, the old one or the new one.
        let unfinished = folder.join(format!(".{}.new", manifest.file_name));
        fs::write(&unfinished, manifest.to_yaml()?)?;
        fs::rename(unfinished, folder.join(&manifest.file_name))?;
    }
    Ok(())
}
