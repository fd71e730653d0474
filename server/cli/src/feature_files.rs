//! The feature files of a folder, as the local storage of a server finds them (documents spec, section 10).

use std::path::{Path, PathBuf};

use flipt_model::document::{INDEX_FILE, Index};

use crate::failure::Failure;

/// The files below the root that the index file, or the default, selects; in lexical order.
pub(crate) fn discover(root: &Path) -> Result<Vec<String>, Failure> {
    let index = match std::fs::read(root.join(INDEX_FILE)) {
        Ok(text) => Index::read(&text).map_err(Failure::new)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Index::default(),
        Err(error) => return Err(Failure::new(format!("open {}: {error}", root.join(INDEX_FILE).display()))),
    };
    let mut names = Vec::new();
    walk(root, &PathBuf::new(), &index, &mut names)?;
    Ok(names)
}

fn walk(root: &Path, below: &Path, index: &Index, names: &mut Vec<String>) -> Result<(), Failure> {
    let folder = root.join(below);
    let failed = |error: std::io::Error| Failure::new(format!("open {}: {error}", folder.display()));
    let mut entries =
        std::fs::read_dir(&folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = below.join(entry.file_name());
        // Links to folders are not followed; a ConfigMap's own `..data` folders would show every file twice.
        if entry.file_type().map_err(failed)?.is_dir() {
            if !entry.file_name().to_string_lossy().starts_with("..") {
                walk(root, &name, index, names)?;
            }
            continue;
        }
        let name = name.to_string_lossy().into_owned();
        if index.selects(&name) {
            names.push(name);
        }
    }
    Ok(())
}
