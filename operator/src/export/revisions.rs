//! Revisions of the servers whose changes exports follow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flipt_client::call;
use flipt_crds::FliptServer;
use flipt_proto::ownership as pb;
use futures::{Stream, stream};
use tokio::{sync::broadcast, time::Instant};
use tokio_util::sync::CancellationToken;

use super::target::Place;
use crate::{connection::Connection, context::Context, pause::spread};

/// How long the server is asked to wait for a change.
const WAIT_SECONDS: i32 = 25;

/// Longest time of that call.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(40);

/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Pause between two calls: many changes at once are one.
const BATCH: Duration = Duration::from_millis(500);

/// A server that no export asks about is followed this long. Exports are looked at more often than that.
const UNUSED: Duration = Duration::from_secs(1_800);

/// What is known about a place.
struct Followed {
    revision: Option<String>,
    /// What its connection was made of.
    made_of: String,
    asked: Instant,
    stop: CancellationToken,
}

/// Revisions of the servers that exports with `onChange` follow.
pub(crate) struct Revisions {
    context: Arc<Context>,
    term: CancellationToken,
    followed: Mutex<HashMap<Place, Followed>>,
    moves: broadcast::Sender<Place>,
}

impl Revisions {
    /// Nothing is followed before an export asks.
    pub(crate) fn new(context: Arc<Context>, term: CancellationToken) -> Arc<Self> {
        let (moves, _) = broadcast::channel(256);
        Arc::new(Self { context, term, followed: Mutex::default(), moves })
    }

    /// Revision of a place, as last heard of. It is followed from now on.
    pub(crate) fn current(
        self: &Arc<Self>,
        place: &Place,
        server: &FliptServer,
        url: &str,
    ) -> Option<String> {
        let made_of = format!("{url} {:?} {:?}", server.spec.auth, server.spec.external);
        let mut followed = self.followed();
        if let Some(known) = followed.get_mut(place)
            && known.made_of == made_of
            && !known.stop.is_cancelled()
        {
            known.asked = Instant::now();
            return known.revision.clone();
        }
        let stop = self.term.child_token();
        let known = Followed { revision: None, made_of, asked: Instant::now(), stop: stop.clone() };
        if let Some(before) = followed.insert(place.clone(), known) {
            before.stop.cancel();
        }
        let follow = Arc::clone(self).follow(place.clone(), server.clone(), url.to_owned(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = follow => stop.cancel(),
                () = stop.cancelled() => {}
            }
        });
        None
    }

    /// Each place whose revision has moved.
    pub(crate) fn moves(&self) -> impl Stream<Item = Place> + Send + use<> {
        stream::unfold(self.moves.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(place) => return Some((place, receiver)),
                    // The next look at each export finds what was missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }

    /// Follows a place until nobody asks about it any more.
    async fn follow(
        self: Arc<Self>,
        place: Place,
        server: FliptServer,
        url: String,
        stop: CancellationToken,
    ) {
        let mut backoff = BACKOFF.0;
        let mut told = false;
        while !stop.is_cancelled() {
            let failure = match Connection::new(&self.context, &server, &url).await {
                Ok(connection) => match self.listen(&place, &connection, &mut told, &mut backoff).await {
                    Ok(()) => return,
                    Err(failure) => failure.to_string(),
                },
                Err(failure) => failure,
            };
            if !told {
                tracing::warn!(
                    server = place.server,
                    server.namespace = place.namespace,
                    environment = place.environment,
                    error = failure,
                    "changes not heard of: exports run by their schedule only, until they are"
                );
                told = true;
            }
            tokio::time::sleep(spread(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    async fn listen(
        &self,
        place: &Place,
        connection: &Connection,
        told: &mut bool,
        backoff: &mut Duration,
    ) -> Result<(), crate::connection::Failure> {
        let mut since = String::new();
        loop {
            let request = pb::ChangesRequest {
                environment_key: place.environment.clone(),
                since: since.clone(),
                wait_seconds: WAIT_SECONDS,
            };
            let answer = connection.call_within::<call::Changes>(CHANGES_TIMEOUT, &request).await?;
            *told = false;
            *backoff = BACKOFF.0;
            since = answer.revision;
            {
                let mut followed = self.followed();
                let Some(known) = followed.get_mut(place) else { return Ok(()) };
                if known.asked.elapsed() > UNUSED {
                    followed.remove(place);
                    return Ok(());
                }
                if known.revision.as_ref() != Some(&since) {
                    known.revision = Some(since.clone());
                    // Without a controller that listens there is nobody to wake.
                    let _nobody = self.moves.send(place.clone());
                }
            }
            tokio::time::sleep(BATCH).await;
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<Place, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
