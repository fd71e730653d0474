//! Waiting for something to become true, with an end.

use std::time::{Duration, Instant};

use crate::{Failure, Result};

/// How long most things may take: much longer than they do, because machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a process may take to end that was asked to: the kubelet kills it after 30 seconds.
pub const BEFORE_THE_KUBELET: Duration = Duration::from_secs(25);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Waits until the condition holds.
///
/// # Errors
/// After `patience`; the text names `what`.
pub async fn until<F: Future<Output = bool>>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<()> {
    until_some(what, patience, || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
    .await
}

/// Waits until there is a value, and answers it.
///
/// # Errors
/// As [`until`].
pub async fn until_some<T, F: Future<Output = Option<T>>>(
    what: &str,
    patience: Duration,
    look: impl FnMut() -> F,
) -> Result<T> {
    look_until(what, patience, PAUSE, look).await
}

/// Looks again and again, with a pause between two looks, until there is a value, and answers it.
///
/// # Errors
/// As [`until`].
pub async fn look_until<T, F: Future<Output = Option<T>>>(
    what: &str,
    patience: Duration,
    pause: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look().await {
            return Ok(value);
        }
        if start.elapsed() > patience {
            return Err(Failure::new(format!("waited {} s in vain until {what}", patience.as_secs())));
        }
        tokio::time::sleep(pause).await;
    }
}
