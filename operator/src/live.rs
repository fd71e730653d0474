//! Servers that can be called: a connection each, and a feed for each of their environments that is in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    connection::Connection,
    feed::Feed,
    wake::{ObjectId, Wakes},
};

/// A server that can be called.
pub(crate) struct LiveServer {
    /// Its connection.
    pub(crate) connection: Arc<Connection>,
    /// What the connection was made of: it is made anew when this changes.
    pub(crate) made_of: String,
    id: ObjectId,
    resync: Duration,
    wakes: Wakes,
    feeds: Mutex<HashMap<String, Arc<Feed>>>,
    stop: CancellationToken,
    since: Instant,
}

impl LiveServer {
    /// How long ago its connection was made.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// What objects own in an environment; followed from now on.
    pub(crate) fn feed(&self, environment: &str) -> Arc<Feed> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(environment) {
            return Arc::clone(feed);
        }
        let feed = Arc::new(Feed::new(
            environment,
            Arc::clone(&self.connection),
            self.resync,
            self.id.clone(),
            self.wakes.clone(),
        ));
        feeds.insert(environment.to_owned(), Arc::clone(&feed));
        let (running, stop) = (Arc::clone(&feed), self.stop.clone());
        tokio::spawn(async move { running.run(stop).await });
        feed
    }

    /// The feeds in use.
    pub(crate) fn feeds(&self) -> Vec<Arc<Feed>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Servers that can be called, by namespace and name.
pub(crate) struct LiveServers {
    servers: RwLock<HashMap<ObjectId, Arc<LiveServer>>>,
    wakes: Wakes,
    term: CancellationToken,
}

impl LiveServers {
    /// None yet. Their feeds end with the term.
    pub(crate) fn new(wakes: Wakes, term: CancellationToken) -> Self {
        Self { servers: RwLock::default(), wakes, term }
    }

    /// A server, if it can be called.
    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<LiveServer>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// A server can be called from now on, in this way.
    pub(crate) fn insert(
        &self,
        id: ObjectId,
        connection: Connection,
        made_of: String,
        resync: Duration,
    ) -> Arc<LiveServer> {
        let server = Arc::new(LiveServer {
            connection: Arc::new(connection),
            made_of,
            id: id.clone(),
            resync,
            wakes: self.wakes.clone(),
            feeds: Mutex::default(),
            stop: self.term.child_token(),
            since: Instant::now(),
        });
        let before =
            self.servers.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&server));
        if let Some(before) = before {
            before.stop.cancel();
        }
        server
    }

    /// Nobody has to be told about this object any more.
    pub(crate) fn forget(&self, id: &ObjectId) {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        for feed in servers.values().flat_map(|server| server.feeds()) {
            feed.forget(id);
        }
    }

    /// A server can be called no more.
    pub(crate) fn remove(&self, id: &ObjectId) {
        if let Some(server) = self.servers.write().unwrap_or_else(PoisonError::into_inner).remove(id) {
            server.stop.cancel();
        }
    }
}
