//! `kubectl`, as a person uses it.

use std::time::Duration;

use flipt_e2e::Result;

use crate::program::{run, run_loudly};

/// Longer than `kubectl` waits for anything by itself.
const LONGEST: Duration = Duration::from_secs(300);

/// What `kubectl` prints.
///
/// # Errors
/// If it is not there, does not end in time, or fails; then with what it says.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    run("kubectl", arguments, "", LONGEST).await
}

/// Applies manifests in YAML by server-side apply, as people with a folder of manifests do.
///
/// # Errors
/// As [`kubectl`].
pub async fn kubectl_apply(namespace: &str, manifests: &str) -> Result<String> {
    let arguments = ["apply", "--server-side", "--namespace", namespace, "--filename", "-"];
    run("kubectl", &arguments, manifests, LONGEST).await
}

/// What `kubectl` prints, and what it says beside it, such as warnings; with this input.
///
/// # Errors
/// As [`kubectl`].
pub async fn kubectl_with(arguments: &[&str], input: &str) -> Result<(String, String)> {
    run_loudly("kubectl", arguments, input, LONGEST).await
}
