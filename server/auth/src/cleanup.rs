//! Removal of credentials that have expired (auth spec, section 13).

use std::{future::Future, time::Duration};

use flipt_config::Cleanup;
use flipt_proto::auth as pb;
use flipt_store::StoreError;

use crate::{Authentications, authentications::now};

/// Pause before the first removal: whoever starts a server on a copy can still look at what is there.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// Pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(5 * 60);

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Authentications {
    /// Removes expired credentials now and then until the server ends. Of several servers on one database one
    /// does it in each interval.
    pub async fn clean_up(&self, shutdown: impl Future<Output = ()>) {
        let Some(token) = &self.config().token else { return shutdown.await };
        let mut shutdown = std::pin::pin!(shutdown);
        let mut pause = FIRST_PAUSE.min(token.cleanup.interval);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.clean_up_once(pb::Method::Token, token.cleanup).await {
                Ok(pause) => pause,
                // Servers that may write to the database remove them.
                Err(StoreError::ReadOnly) => FAILURE_PAUSE,
                Err(error) => {
                    tracing::error!(error = %error, "expired credentials not removed");
                    FAILURE_PAUSE
                }
            };
        }
    }

    /// Removes the expired credentials of a method, unless another server does in this interval; tells when
    /// the next one begins.
    async fn clean_up_once(&self, method: pb::Method, cleanup: Cleanup) -> Result<Duration, StoreError> {
        let started = now();
        let until = started.saturating_add(micros(cleanup.interval));
        let operation = format!("cleanup_auth_{}", method.as_str_name());
        let (acquired, until) = self.store.acquire_operation(&operation, started, until).await?;
        if acquired {
            let before = started.saturating_sub(micros(cleanup.grace_period));
            let removed = self.store.delete_expired_authentications(method, before).await?;
            if removed > 0 {
                tracing::info!(method = method.as_str_name(), removed, "expired credentials removed");
            }
        }
        Ok(Duration::from_micros(u64::try_from(until - now()).unwrap_or(0)).max(Duration::from_millis(100)))
    }
}
