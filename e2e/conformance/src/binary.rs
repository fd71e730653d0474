//! Where the `flipt` binary is.

use std::path::PathBuf;

use crate::Error;

/// The binary that cargo built into the same target folder as the running test.
///
/// # Errors
/// [`Error::NoBinary`].
pub fn flipt() -> Result<PathBuf, Error> {
    let own = std::env::current_exe()?;
    // Tests run from `<profile>/deps`, programs from `<profile>`.
    let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap_or(&own);
    let path = folder.join(format!("flipt{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() { Ok(path) } else { Err(Error::NoBinary(path)) }
}
