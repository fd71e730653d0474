//! `helm`, as a person uses it.

use std::time::Duration;

use flipt_e2e::Result;

use crate::program::run;

/// Longer than helm itself waits.
const LONGEST: Duration = Duration::from_secs(360);

/// What `helm` prints.
///
/// # Errors
/// If it is not there, does not end in time, or fails; then with what it says.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    run("helm", arguments, "", LONGEST).await
}
