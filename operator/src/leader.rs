//! One replica at a time writes: the holder of the Lease.
//!
//! The clocks of replicas are never compared. Whoever does not hold the Lease watches it for its whole duration on
//! its own clock, and takes it over only if the holder did not renew it meanwhile; whoever holds it stops before the
//! others may take it over. Every write names the version of the Lease that it replaces.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, error::Error};

/// Name of the Lease, in the operator's namespace.
pub(crate) const LEASE: &str = "flipt-operator";
/// How long others wait for a sign of the holder.
const DURATION: Duration = Duration::from_secs(15);
/// How long the holder tries to renew before it gives up; then its parts have the rest of [`DURATION`] to stop.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time of one call.
const CALL: Duration = Duration::from_secs(5);
/// How long parts have to stop.
const STOP: Duration = Duration::from_secs(5);
/// How long parts have to stop when the process ends in good order.
const DRAIN: Duration = Duration::from_secs(12);

/// A part that only the leader runs: its name, and what is started with each term and ends when its token is
/// cancelled.
pub(crate) type Part = (&'static str, fn(Arc<Context>, CancellationToken) -> BoxFuture<'static, ()>);

/// Waits for the Lease, runs the parts while it is held, and gives it back when the process ends.
///
/// # Errors
/// [`Error::DidNotStop`]: the Lease was lost and a part went on; [`Error::Ended`]: a part panicked.
pub(crate) async fn run(
    context: Arc<Context>,
    announce: watch::Sender<bool>,
    parts: &'static [Part],
) -> Result<(), Error> {
    let mut claim = Claim::new(&context);
    while claim.wait(&context.stop).await {
        let term = context.stop.child_token();
        announce.send_replace(true);
        context.metrics.leader.set(1);
        tracing::info!(holder = context.settings.pod_name, "Lease held: reconciling");

        let mut running = JoinSet::new();
        for (name, part) in parts {
            let leading = part(Arc::clone(&context), term.clone());
            running.spawn(async move {
                leading.await;
                *name
            });
        }
        // A part may have nothing to do; one that panics takes the process with it.
        let broken = tokio::select! {
            () = claim.hold() => None,
            () = context.stop.cancelled() => None,
            broken = first_broken(&mut running) => Some(broken),
        };
        let lost = broken.is_none() && !context.stop.is_cancelled();
        term.cancel();
        let patience = if lost { STOP } else { DRAIN };
        // A process that ends still renews, so that nobody else starts before its parts have stopped.
        let stopped = tokio::select! {
            stopped = tokio::time::timeout(patience, join(&mut running)) => stopped.is_ok(),
            () = claim.hold(), if !lost => false,
        };
        announce.send_replace(false);
        context.metrics.leader.set(0);
        if !stopped {
            return Err(Error::DidNotStop { part: "a controller", seconds: patience.as_secs() });
        }
        if !lost {
            claim.release().await;
        }
        if let Some(error) = broken {
            return Err(Error::Ended { part: "of the leader", detail: error.to_string() });
        }
        if lost {
            tracing::warn!("Lease lost: not reconciling");
        }
    }
    Ok(())
}

async fn join(running: &mut JoinSet<&'static str>) {
    while running.join_next().await.is_some() {}
}

/// Waits until a part panics, however many come to their end before.
async fn first_broken(running: &mut JoinSet<&'static str>) -> JoinError {
    loop {
        match running.join_next().await {
            Some(Ok(part)) => tracing::debug!(part, "nothing more to do"),
            Some(Err(error)) => return error,
            None => std::future::pending().await,
        }
    }
}

/// The Lease as this replica sees it.
struct Claim {
    leases: Api<Lease>,
    holder: String,
    /// The Lease as it was seen last, and since when it has been like that.
    seen: Option<(Lease, Instant)>,
}

/// What can be done about a Lease that somebody holds.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It is ours.
    Ours,
    /// Nobody holds it, or its holder gave no sign for its whole duration.
    Free,
    /// Somebody else holds it.
    Taken,
}

impl Claim {
    fn new(context: &Context) -> Self {
        Self {
            leases: Api::namespaced(context.client.clone(), &context.settings.namespace),
            // The name of a pod can come again, on another node: each process is a holder of its own.
            holder: format!("{}_{:x}", context.settings.pod_name, Timestamp::now().as_nanosecond()),
            seen: None,
        }
    }

    /// Waits until this replica holds the Lease; false if the process ends first.
    async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let mut told = false;
        loop {
            let tried = tokio::select! {
                tried = self.acquire() => tried,
                () = stop.cancelled() => return false,
            };
            match tried {
                Ok(true) => return true,
                Ok(false) => told = false,
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(error = %error, "Lease not read");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    async fn acquire(&mut self) -> Result<bool, Error> {
        let found = limited(self.leases.get_opt(LEASE)).await?;
        let Some(found) = found else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return self.written(limited(self.leases.create(&PostParams::default(), &lease)).await);
        };
        let since = match &self.seen {
            Some((seen, since)) if seen.metadata.resource_version == found.metadata.resource_version => {
                *since
            }
            _ => Instant::now(),
        };
        self.seen = Some((found.clone(), since));
        match standing(&found, &self.holder, since.elapsed()) {
            Standing::Taken => Ok(false),
            Standing::Ours | Standing::Free => self.replace(found).await,
        }
    }

    /// Renews until that has not been possible for [`RENEW_DEADLINE`], or somebody else holds the Lease.
    async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PAUSE).await;
            let tried = Instant::now();
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(true)) => renewed = tried,
                Ok(Ok(false)) => {
                    tracing::warn!("the Lease is another replica's, or gone");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(error = %error, "Lease not renewed"),
                Err(_) => tracing::warn!("Lease not renewed in time"),
            }
            if renewed.elapsed() + PAUSE >= RENEW_DEADLINE {
                return;
            }
        }
    }

    async fn renew(&mut self) -> Result<bool, Error> {
        let known = match &self.seen {
            Some((lease, _)) => lease.clone(),
            None => return self.acquire().await,
        };
        if self.replace(known).await? {
            return Ok(true);
        }
        // Somebody wrote it meanwhile, perhaps only a label. Whoever finds none makes one at once.
        let Some(found) = limited(self.leases.get_opt(LEASE)).await? else { return Ok(false) };
        match standing(&found, &self.holder, Duration::ZERO) {
            Standing::Ours => self.replace(found).await,
            Standing::Free | Standing::Taken => Ok(false),
        }
    }

    /// Writes the Lease with this replica as its holder, unless it has changed since it was read.
    async fn replace(&mut self, found: Lease) -> Result<bool, Error> {
        let lease = self.taken(found);
        self.written(limited(self.leases.replace(LEASE, &PostParams::default(), &lease)).await)
    }

    /// A Lease as this replica holds it.
    fn taken(&self, mut lease: Lease) -> Lease {
        // A removal that was broken off left it to go with the operators of then.
        lease.metadata.owner_references = None;
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        lease
    }

    fn written(&mut self, written: Result<Lease, Error>) -> Result<bool, Error> {
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(Error::Kubernetes(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.holder));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: ours.map_or_else(|| Some(now.clone()), |spec| spec.acquire_time.clone()),
            renew_time: Some(now),
            lease_transitions: Some(if ours.is_some() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    /// Gives the Lease back, so that another replica need not wait.
    async fn release(&mut self) {
        match self.give_back().await {
            Ok(true) => tracing::info!("Lease released"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = %error, "Lease not released; it ends by itself"),
        }
    }

    async fn give_back(&mut self) -> Result<bool, Error> {
        // A renewal may have been cut off after it was made: what is known of the Lease may be old.
        let mut lease = limited(self.leases.get(LEASE)).await?;
        let Some(spec) = &mut lease.spec else { return Ok(false) };
        if spec.holder_identity.as_deref() != Some(&self.holder) {
            return Ok(false);
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        self.seen = None;
        limited(self.leases.replace(LEASE, &PostParams::default(), &lease)).await?;
        Ok(true)
    }
}

async fn limited<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::setup("Lease", format!("no answer within {} s", CALL.as_secs()))),
    }
}

/// What can be done about a Lease that has not changed for this long.
fn standing(lease: &Lease, holder: &str, unchanged: Duration) -> Standing {
    let spec = lease.spec.as_ref();
    let duration = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs);
    match spec.and_then(|spec| spec.holder_identity.as_deref()) {
        None | Some("") => Standing::Free,
        Some(identity) if identity == holder => Standing::Ours,
        Some(_) if unchanged > duration => Standing::Free,
        Some(_) => Standing::Taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_taken_over_only_after_its_whole_duration_without_a_sign() {
        let seconds = Duration::from_secs;
        for (holder, unchanged, expected) in [
            (None, seconds(0), Standing::Free),
            (Some(""), seconds(0), Standing::Free),
            (Some("me"), seconds(60), Standing::Ours),
            (Some("you"), seconds(15), Standing::Taken),
            (Some("you"), seconds(16), Standing::Free),
        ] {
            assert_eq!(standing(&lease(holder), "me", unchanged), expected, "{holder:?} {unchanged:?}");
        }
    }

    #[test]
    fn the_holder_stops_before_others_may_start() {
        assert!(RENEW_DEADLINE + STOP <= DURATION);
        assert!(PAUSE + CALL < RENEW_DEADLINE);
    }
}
