//! Where the built programs are.

use std::path::{Path, PathBuf};

use crate::{Failure, Result};

/// Paths of the programs that were built with the running test or demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The server with its command line.
    pub flipt: PathBuf,
    /// The sidecar.
    pub sidecar: PathBuf,
    /// The S3 server over a folder.
    pub dev_s3: PathBuf,
}

impl Binaries {
    /// Finds the programs in the build folder that the running program stands in.
    ///
    /// # Errors
    /// If one is missing; the text says which command builds it.
    pub fn find() -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|error| Failure::new(format!("the running program has no path: {error}")))?;
        let folder = build_folder(&own)
            .ok_or_else(|| Failure::new(format!("{} stands in no build folder", own.display())))?;
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                return Ok(path);
            }
            let release = if folder.ends_with("release") { " --release" } else { "" };
            Err(Failure::new(format!(
                "{} does not exist; build it with: cargo build{release} -p flipt -p flipt-sidecar -p flipt-dev-s3",
                path.display()
            )))
        };
        Ok(Self { flipt: find("flipt")?, sidecar: find("flipt-sidecar")?, dev_s3: find("dev-s3")? })
    }
}

/// Tests and examples stand one folder below the programs.
fn build_folder(program: &Path) -> Option<&Path> {
    let folder = program.parent()?;
    if folder.ends_with("deps") || folder.ends_with("examples") { folder.parent() } else { Some(folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_programs_find_the_same_folder() {
        for program in ["/t/debug/deps/reaches-1", "/t/debug/demo", "/t/debug/examples/x"] {
            assert_eq!(build_folder(Path::new(program)), Some(Path::new("/t/debug")));
        }
    }
}
