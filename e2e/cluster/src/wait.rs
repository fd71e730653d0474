//! Waiting for what a cluster does in its own time.

use std::time::Duration;

use flipt_e2e::{Result, look_until};

/// How long most things may take: much longer than they do, because machines are busy. Pods, images, leases and back-offs
/// of a minute take their time even where nothing is wrong.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The same for `kubectl --timeout`.
pub const TIMEOUT: &str = "240s";

/// Pause between two looks. Most looks start a program, which a busy machine should not do without a pause.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until the condition holds.
///
/// # Errors
/// After [`PATIENCE`]; the text names `what`.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl FnMut() -> F) -> Result<()> {
    until_within(what, PATIENCE, condition).await
}

/// Waits until the condition holds, so long.
///
/// # Errors
/// After `patience`; the text names `what`.
pub async fn until_within<F: Future<Output = bool>>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<()> {
    look_until(what, patience, PAUSE, || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
    .await
}

/// Waits until there is a value, and answers it.
///
/// # Errors
/// As [`until`].
pub async fn until_some<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> Result<T> {
    look_until(what, PATIENCE, PAUSE, look).await
}
