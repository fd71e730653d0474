//! An open connection to one server or to a cluster, and the three commands that it carries.

use std::time::Duration;

use bytes::Bytes;
use redis::{
    AsyncCommands as _, RedisError, SetExpiry, SetOptions, aio::MultiplexedConnection,
    cluster_async::ClusterConnection,
};

/// A connection that any number of requests share; a clone is the same one.
#[derive(Clone)]
pub(super) enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Asks whether anybody is there.
    pub(super) async fn ping(&self) -> Result<(), RedisError> {
        match self.clone() {
            Self::Single(mut connection) => connection.ping().await,
            Self::Cluster(mut connection) => connection.ping().await,
        }
    }

    /// The value under a key.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, RedisError> {
        match self.clone() {
            Self::Single(mut connection) => connection.get(key).await,
            Self::Cluster(mut connection) => connection.get(key).await,
        }
    }

    /// Stores a value for a while.
    pub(super) async fn set(&self, key: &str, value: &[u8], expiry: Duration) -> Result<(), RedisError> {
        let millis = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX).min(LONGEST_EXPIRY);
        let options = SetOptions::default().with_expiration(SetExpiry::PX(millis));
        match self.clone() {
            Self::Single(mut connection) => connection.set_options(key, value, options).await,
            Self::Cluster(mut connection) => connection.set_options(key, value, options).await,
        }
    }
}

/// A hundred years in milliseconds: Redis refuses what takes it beyond what it counts with.
const LONGEST_EXPIRY: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;
