//! Files that nobody ever reads half.

use std::{fs::Permissions, io::Write as _, path::Path};

/// Writes beside the target and renames. A link is followed: its target is replaced, not the link.
///
/// # Errors
/// If the file cannot be written; then what was there before is untouched, and nothing is left beside it.
pub(crate) fn write(path: &Path, text: &[u8], permissions: Permissions) -> std::io::Result<()> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.exists() && !target.is_file() {
        // A terminal, a pipe, /dev/null: nothing to rename onto.
        return std::fs::OpenOptions::new().write(true).open(&target)?.write_all(text);
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Readable for everybody, writable for the owner: what a plain create gives under the usual umask.
#[cfg(unix)]
pub(crate) fn public() -> Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// For the owner alone.
#[cfg(unix)]
pub(crate) fn private() -> Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o600)
}
